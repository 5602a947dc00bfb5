"""All our C and C++ is formatted by clang-format 22."""

import os
import re
import subprocess

import common


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--clang-format", required=True)
    args = parser.parse_args()
    if not os.path.exists(args.clang_format):
        common.finish(["clang-format-22 is not installed; tools/setup.sh installs it"])
    paths = common.walk(args.root, common.CXX_SUFFIXES)
    run = subprocess.run(
        [args.clang_format, "--dry-run", "-Werror"] + paths, cwd=args.root, capture_output=True, text=True
    )
    bad = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", run.stderr, re.MULTILINE)))
    if run.returncode != 0 and not bad:
        common.finish([run.stderr.strip()])
    common.finish([f"{path}: is not formatted; run clang-format-22 -i on it" for path in bad])


if __name__ == "__main__":
    main()
