"""Prints the mlir blocks of Markdown files, ready for -split-input-file."""

import re
import sys

for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        for block in re.findall(r"^```mlir\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL):
            print(block + "\n// -----\n")
