"""Whether a command's error is the one of docs/Diagnostics.md that it says.

    identified.py PAGE COMMAND...

The command must fail, and its last line on standard error end with an identifier; the fixed parts of
that message on the page must stand in the line in their order. Prints the line."""

import re
import subprocess
import sys


def main():
    page, *command = sys.argv[1:]
    messages = {}
    for line in open(page, encoding="utf-8"):
        row = re.match(r"\| (D[0-9a-f]{6}) \| \w+ \| (.*) \| \S+ \| .* \|$", line)
        if row:
            messages[row[1]] = row[2].replace("\\|", "|")
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = done.stderr.rstrip("\n")
    print(said)
    label = re.search(r"error: .* \[(D[0-9a-f]{6})\]$", said)
    if done.returncode == 0 or not label:
        sys.exit(f"exit status {done.returncode}; expected an error that ends with its identifier")
    if label[1] not in messages:
        sys.exit(f"{label[1]} is not on {page}")
    parts = messages[label[1]].split(" / ")[0].split("...")
    if not re.search(".*".join(re.escape(part.strip()) for part in parts), said):
        sys.exit(f"{label[1]} is of: {messages[label[1]]}")


if __name__ == "__main__":
    main()
