"""The top level of the repository is what the design says, nothing else."""

import os

import common

FILES = ("CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md")


def ignored(name):
    """Dot files, build trees and the files that .gitignore knows."""
    return name.startswith((".", "build")) or name in ("__pycache__", "compile_commands.json")


def main():
    args = common.arguments(__doc__).parse_args()
    found = {name for name in os.listdir(args.root) if not ignored(name)}
    expected = set(common.FOLDERS) | set(FILES)
    problems = [f"{name}: is not part of the top level" for name in sorted(found - expected)]
    problems += [f"{name}: is missing from the top level" for name in sorted(expected - found)]
    common.finish(problems)


if __name__ == "__main__":
    main()
