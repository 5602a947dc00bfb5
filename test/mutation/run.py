#!/usr/bin/env python3
"""Puts errors into the product's C++, one at a time, and looks which tests fall.

    test/mutation/run.py --build build [--minutes 60] [--only runtime/src/session] [--report FILE]

mutants.txt holds the errors, suites.txt the tests of each folder, the quickest first. For each error
the file is changed, what the tests need is built, and tests run until one falls. What no test of the
folder's suites catches survives, unless --all is given and some test of the whole tree does. Files
are put back afterwards, also after Ctrl-C. The tree must be clean where mutants are, and the build
up to date; a build of the preset "runtime" serves for what lies in runtime/ and tools/.

Exit 1 when an error survives that mutants.txt does not explain, or one does not compile.
Python's standard library only.
"""

import argparse
import dataclasses
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclasses.dataclass
class Mutant:
    number: int
    file: str
    old: str = ""
    new: str = ""
    why: str = ""
    excuse: str = ""  # why no test can see it

    def name(self):
        return f"#{self.number} {self.file}: {self.why}"


def read_mutants(path):
    """Blocks of lines: "file PATH", then for each mutant "- old", "+ new" (one or more lines each),
    "# what it stands for" and perhaps "= why it survives"."""
    mutants, file, current = [], None, None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        mark, text = line[:2], line[2:]
        if line.startswith("file "):
            file, current = line[5:], None
        elif not line or line.startswith("//"):
            current = None
        elif mark == "- " or line == "-":
            if current is None or current.new or current.why:
                current = Mutant(len(mutants) + 1, file)
                mutants.append(current)
            current.old += text + "\n"
        elif mark == "+ " or line == "+":
            current.new += text + "\n"
        elif mark == "# ":
            current.why += (" " if current.why else "") + text
        elif mark == "= ":
            current.excuse += (" " if current.excuse else "") + text
        else:
            sys.exit(f"{path}:{number}: cannot be read: {line}")
    return mutants


def read_suites(path):
    """Lines "FOLDER: suite suite ...". A suite is TARGET, a binary of GoogleTest, or what runs some
    targets: lit:FOLDER:TARGET,TARGET, a folder of lit tests, or ctest:REGEX:TARGET,TARGET."""
    suites = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            folder, names = line.split(":", 1)
            suites[folder.strip()] = names.split()
    return suites


def suites_of(suites, file):
    """Those of the longest folder (or file) that holds the file."""
    found = [folder for folder in suites if file == folder or file.startswith(folder + "/")]
    return suites[max(found, key=len)] if found else []


class Build:
    def __init__(self, folder):
        self.folder = folder
        known = subprocess.run(["ninja", "-C", folder, "-t", "targets", "all"], text=True,
                               capture_output=True).stdout
        self.targets = set(re.findall(r"^(?:bin/)?(\S+?):", known, re.M))

    def has(self, suite):
        return all(target in self.targets for target in self.needs(suite))

    @staticmethod
    def needs(suite):
        return suite.split(":")[2].split(",") if ":" in suite else [suite]

    def make(self, targets):
        return subprocess.run(["ninja", "-C", self.folder, *targets], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def passes(self, suite, seconds):
        """None when it does; what fell otherwise."""
        if suite.startswith("lit:"):
            command = ["lit-22", "-q", f"{self.folder}/test/{suite.split(':')[1]}"]
        elif suite.startswith("ctest:"):
            command = ["ctest", "--stop-on-failure", "-R", suite.split(":")[1]]
        else:
            command = [f"{self.folder}/bin/{suite}", "--gtest_brief=1", "--gtest_fail_fast"]
        try:
            done = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=seconds, errors="replace",
                                  cwd=self.folder)
        except subprocess.TimeoutExpired:
            return f"{suite} (does not end)"
        if done.returncode == 0:
            return None
        fallen = re.search(r"\[  FAILED  \] (\S+)|^FAIL: (.*?)(?: \(|$)|^\s*\d+ - (\S+)", done.stdout, re.M)
        name = next((group for group in fallen.groups() if group), "") if fallen else "it crashed"
        return f"{suite}: {name}"

    def whole(self):
        if self.make(["all"]).returncode:
            return "the build"
        done = subprocess.run(["ctest", "--test-dir", self.folder, "--stop-on-failure", "-j2"],
                              text=True, capture_output=True)
        fallen = re.search(r"^\s*\d+ - (\S+)", done.stdout, re.M)
        return (fallen[1] if fallen else "ctest") if done.returncode else None


def try_mutant(build, mutant, suites, args):
    """"caught by ...", "survives", or why it is no mutant."""
    path = ROOT / mutant.file
    text = path.read_text()
    if text.count(mutant.old) != 1:
        return f"INVALID: its text is {text.count(mutant.old)} times in the file"
    usable = [suite for suite in suites_of(suites, mutant.file) if build.has(suite)]
    if not usable:
        return "skipped: this build has none of its tests"
    try:
        path.write_text(text.replace(mutant.old, mutant.new))
        for suite in usable:
            made = build.make(build.needs(suite))
            if made.returncode:
                error = re.search(r"error: .*", made.stdout)
                return f"INVALID: does not compile: {error[0] if error else made.stdout[-300:]}"
            fallen = build.passes(suite, args.seconds)
            if fallen:
                return f"caught by {fallen}"
        fallen = build.whole() if args.all else None
        return f"caught by {fallen} (of all tests)" if fallen else "survives"
    finally:
        path.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", default="", help="files that begin so")
    parser.add_argument("--numbers", help="these mutants only: 3,7,21")
    parser.add_argument("--seed", type=int, help="another order than the table's")
    parser.add_argument("--seconds", type=int, default=120, help="that a suite may take")
    parser.add_argument("--all", action="store_true", help="all tests for those that survive")
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true", help="only that each error still has its place and tests")
    args = parser.parse_args()
    args.build = args.build.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    mutants = [mutant for mutant in read_mutants(HERE / "mutants.txt")
               if mutant.file.startswith(args.only)]
    if args.numbers:
        wanted = {int(number) for number in args.numbers.split(",")}
        mutants = [mutant for mutant in mutants if mutant.number in wanted]
    if args.seed is not None:
        random.Random(args.seed).shuffle(mutants)
    if args.list:
        for mutant in mutants:
            print(mutant.name())
        return 0
    suites = read_suites(HERE / "suites.txt")
    if args.check:
        stale = [f"{mutant.name()}: its text is not once in the file, or no suite tests it" for mutant in mutants
                 if (ROOT / mutant.file).read_text().count(mutant.old) != 1 or
                 not suites_of(suites, mutant.file)]
        print("\n".join(stale))
        return 1 if stale else 0
    build = Build(args.build)
    end = time.monotonic() + 60 * args.minutes
    results = []
    report = args.report.open("w") if args.report else None
    for mutant in mutants:
        if time.monotonic() > end:
            break
        begin = time.monotonic()
        result = try_mutant(build, mutant, suites, args)
        results.append((mutant, result))
        line = f"{mutant.name()}: {result} [{time.monotonic() - begin:.0f} s]"
        print(line, flush=True)
        if report:
            print(line, file=report, flush=True)
    ran = [pair for pair in results if not pair[1].startswith(("INVALID", "skipped"))]
    invalid = [pair for pair in results if pair[1].startswith("INVALID")]
    survivors = [mutant for mutant, result in ran if result == "survives"]
    caught = len(ran) - len(survivors)
    summary = (f"{len(ran)} of {len(mutants)} ran: {caught} caught "
               f"({100 * caught / max(1, len(ran)):.1f} %), {len(survivors)} survive, of which "
               f"{sum(bool(m.excuse) for m in survivors)} are explained; {len(invalid)} invalid")
    print(summary)
    for mutant in survivors:
        print(f"  {mutant.name()}: {mutant.excuse or 'NO TEST SEES IT'}")
    if report:
        print(summary, file=report)
    return 1 if invalid or any(not mutant.excuse for mutant in survivors) else 0


if __name__ == "__main__":
    sys.exit(main())
