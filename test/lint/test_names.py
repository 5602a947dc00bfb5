"""A test that a page names is there. Names stand in backticks, and may be patterns:

    `Load.refusesEveryFlippedBit`, `Json.*`, `DamageTest`    cases and suites of GoogleTest, from the sources of test/
    `e2e.storages.*`, `lit-tools`, `unit.Base.Json`          entries of ctest, as a build knows them; a beginning up to a dot will do

What looks like a case and is none may be a field of the engine's schema (`Weight.layout`) or a file (`Ops.cpp`). Decisions tell what was, so they are left out."""

import fnmatch
import os
import re
import subprocess

import common

CASE = re.compile(r"(?:\w+/)?[A-Z]\w*\.[\w*]+(?:/[\w*]+)?$")
SUITE = re.compile(r"(?:\w+/)?[A-Z]\w*Test$")
ENTRY = re.compile(r"(?:(?:e2e|unit)\.|(?:lit|lint)-)[\w.*/-]+$")
FILES = tuple(".c .cpp .cu .cuh .fbs .h .json .md .mlir .py .td .test .txt".split())
MACRO = re.compile(r"^(?:TYPED_)?TEST(_[FP])?\(\s*(\w+),\s*(\w+)\)", re.M)
INSTANCE = re.compile(r"^INSTANTIATE_(?:TYPED_)?TEST_SUITE_P\(\s*(\w*)\s*,\s*(\w+)", re.M)
SCHEMA = "runtime/schema/engine.fbs"


def cases_in(root):
    """Names as --gtest_list_tests has them, without indices of parameters."""
    found, of_suite, prefixes = set(), {}, {}
    for path in common.walk(root, (".cpp",), ("test",)):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        for kind, suite, case in MACRO.findall(text):
            of_suite.setdefault(suite, set()).add(case)
            if kind != "_P":
                found.add(f"{suite}.{case}")
        for prefix, suite in INSTANCE.findall(text):
            prefixes.setdefault(suite, set()).add(prefix)
    for suite, cases in of_suite.items():
        for prefix in prefixes.get(suite, ()):
            found |= {f"{prefix}/{suite}.{case}" for case in cases if prefix}
        if suite in prefixes:  # may be named without its prefix
            found |= {f"{suite}.{case}" for case in cases}
    return found


def tables_in(root):
    path = os.path.join(root, SCHEMA)
    if not os.path.exists(path):
        return set()
    with open(path, encoding="utf-8") as file:
        return set(re.findall(r"^(?:table|struct)\s+(\w+)", file.read(), re.M))


def entries_of(ctest, build):
    listed = subprocess.run([ctest, "--test-dir", build, "-N"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^ *Test +#\d+: (.+)$", listed, re.M))


def is_there(name, names):
    return any(fnmatch.fnmatchcase(each, name) for each in names) or any(each.startswith(name + ".") for each in names)


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--ctest", required=True)
    parser.add_argument("--build", required=True)
    args = parser.parse_args()
    cases = cases_in(args.root)
    tables = tables_in(args.root)
    entries = entries_of(args.ctest, args.build)
    problems = []
    for page, number, word in common.words_of_pages(args.root):
        if CASE.match(word) and not word.endswith(FILES):
            plain = re.sub(r"/(\d+|\*)$", "", word)
            known = is_there(plain, cases) or word.split(".")[0] in tables
        elif SUITE.match(word):
            known = is_there(word + ".*", cases)
        elif ENTRY.match(word):
            known = is_there(word.removesuffix(".*"), entries)
        else:
            continue
        if not known:
            problems.append(f"{page}:{number}: names the test {word}, which is not there")
    common.finish(problems)


if __name__ == "__main__":
    main()
