"""One id leads from the rule to its code and its test. For each dialect:

  - ids of one op in the .td files, "(linear_c2)", count from 1 without gaps;
  - each id stands in a comment next to the code that checks it: "// linear_c2"
    in a .cpp file, or in the .td file beside the trait that guarantees it;
  - each id names a function or module of test/dialects/<Dialect>/invalid.mlir,
    "@linear_c2", and no test names an id that does not exist."""

import os
import re

import common

STATED = re.compile(r"\(([a-z0-9_]+)_c(\d+)\)")
TESTED = re.compile(r"(?:func\.func|module) @([a-z0-9_]+_c\d+)((?:_[a-z0-9_]+)?)\b")
ID = re.compile(r"\b[a-z0-9_]+_c\d+\b")


def comments(root, path):
    """Ids in the // and /// comments of a file."""
    found = set()
    for _, line in common.lines(root, path):
        if "//" in line:
            found.update(ID.findall(line[line.index("//") :]))
    return found


def check(root, dialect):
    problems = []
    folder = f"dialects/{dialect}"
    stated, checked = {}, set()
    for path in common.walk(root, (".td",), (folder,)):
        for number, line in common.lines(root, path):
            for op, index in STATED.findall(line):
                numbers = stated.setdefault(op, [])
                numbers.append(int(index))
                if int(index) != len(numbers):
                    problems.append(f"{path}:{number}: expected ({op}_c{len(numbers)}), but got ({op}_c{index})")
    for path in common.walk(root, (".td", ".cpp"), (folder,)):
        checked |= comments(root, path)

    tests = f"test/dialects/{dialect}/invalid.mlir"
    tested, variants = set(), set()
    if os.path.exists(os.path.join(root, tests)):
        for _, line in common.lines(root, tests):
            for name, variant in TESTED.findall(line):
                (variants if variant else tested).add(name)
    known = {f"{op}_c{index}" for op, numbers in stated.items() for index in numbers}
    for name in sorted(known - checked):
        problems.append(f"{folder}: no comment {name} beside a check or a trait")
    for name in sorted(checked - known):
        problems.append(f"{folder}: a comment names {name}, which no .td file states")
    for name in sorted(known - tested):
        problems.append(f"{tests}: no function or module @{name}")
    for name in sorted((tested | variants) - known):
        problems.append(f"{tests}: @{name} is tested, but no .td file of the dialect states it")
    return problems


def main():
    args = common.arguments(__doc__).parse_args()
    problems = []
    for dialect in sorted(os.listdir(os.path.join(args.root, "dialects"))):
        if os.path.isdir(os.path.join(args.root, "dialects", dialect)):
            problems += check(args.root, dialect)
    common.finish(problems)


if __name__ == "__main__":
    main()
