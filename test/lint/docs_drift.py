"""The reference pages under docs/ are copies of what TableGen generates. Each
pair GENERATED=COMMITTED must be equal; the target `update-docs` copies."""

import argparse
import os

import common


def read(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return file.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", metavar="GENERATED=COMMITTED")
    args = parser.parse_args()
    problems = []
    for pair in args.pairs:
        generated, committed = pair.split("=")
        expected, found = read(generated), read(committed)
        if expected is None:
            problems.append(f"{generated}: is not there; build the dialects and passes first")
        elif found is None:
            problems.append(f"{committed}: is not there; build the target update-docs")
        elif expected != found:
            problems.append(f"{committed}: differs from {generated}; build the target update-docs")
    common.finish(problems)


if __name__ == "__main__":
    main()
