"""A page that names a file or a folder of this repository names one that is
there. Paths stand in backticks and begin at the top level:

    `runtime/ops/Ops.cpp`, `passes/Target/`, `runtime/ops/Relations.{h,cpp}`

Patterns are none (`impls/*.cuh`, `passes/Target/<Name>/`). Decisions tell what
was, so they are left out."""

import os
import re

import common

PATH = re.compile(rf"(?:{'|'.join(common.FOLDERS)})/[\w./+-]*(?:\{{[\w,]+\}})?[\w./+-]*$")
CHOICE = re.compile(r"\{([\w,]+)\}")


def spellings(path):
    """`Relations.{h,cpp}` names two files."""
    found = CHOICE.search(path)
    if not found:
        return [path]
    return [path[: found.start()] + choice + path[found.end() :] for choice in found[1].split(",")]


def main():
    args = common.arguments(__doc__).parse_args()
    problems = []
    for page, number, word in common.words_of_pages(args.root):
        if not PATH.match(word):
            continue
        # A header and its source may be named without their suffixes.
        for path in spellings(word):
            bases = (path, path + ".h", path + ".cpp")
            if not any(os.path.exists(os.path.join(args.root, base)) for base in bases):
                problems.append(f"{page}:{number}: names {path}, which is not there")
    common.finish(problems)


if __name__ == "__main__":
    main()
