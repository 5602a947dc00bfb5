"""Each lint finds what it is there for: run over the bad example in
Inputs/<lint>, it exits 1 and prints exactly Inputs/<lint>/expected.txt. The
examples hold good lines too, which must not be reported."""

import argparse
import os
import subprocess
import sys

import common

HERE = os.path.dirname(os.path.abspath(__file__))
# Arguments of each lint, from inside its folder of Inputs.
CASES = {
    "constraint_ids": ["--root", "tree"],
    "diagnostics": ["--root", "tree"],
    "doc_paths": ["--root", "tree"],
    "docs_drift": [
        f"generated/{name}.md=committed/{name}.md" for name in ("Same", "Differs", "Uncommitted", "Ungenerated")
    ],
    "filecheck_typos": ["--root", "tree"],
    "format": ["--root", "tree"],
    "include_directions": ["--root", "tree"],
    "op_names": ["--root", "tree"],
    "runtime_links": ["--ldd", "./ldd", "clean", "dynamic", "static", "unreadable"],
    "schema_evolution": ["--root", "tree"],
    "target_names": ["--root", "tree"],
    "test_names": ["--root", "tree", "--ctest", "./ctest", "--build", "build"],
    "top_level": ["--root", "tree"],
}


def check(lint, arguments):
    folder = os.path.join(HERE, "Inputs", lint)
    command = [sys.executable, "-B", os.path.join(HERE, lint + ".py")] + arguments
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    with open(os.path.join(folder, "expected.txt"), encoding="utf-8") as file:
        expected = file.read()
    problems = []
    if run.returncode != 1:
        problems.append(f"{lint}: expected exit status 1, but got {run.returncode}: {run.stderr}")
    if run.stdout != expected:
        problems.append(f"{lint}: expected\n{expected}but got\n{run.stdout}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clang-format", required=True)
    parser.add_argument("--flatc", required=True)
    args = parser.parse_args()
    scripts = {name[:-3] for name in os.listdir(HERE) if name.endswith(".py")}
    problems = [f"{name}: has no case here" for name in sorted(scripts - set(CASES) - {"common", "self_test"})]
    for lint, arguments in CASES.items():
        extra = {"format": ["--clang-format", args.clang_format],
                 "schema_evolution": ["--flatc", args.flatc]}.get(lint, [])
        problems += check(lint, arguments + extra)
    common.finish(problems)


if __name__ == "__main__":
    main()
