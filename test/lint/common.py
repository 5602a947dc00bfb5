"""What the lint scripts share: the list of our folders, walking them, and
reporting. A lint prints one line for each problem and exits 1 if there was
any. Files below a folder `Inputs` are no code of ours: they are test data,
among it the bad examples for these scripts."""

import argparse
import os
import re
import sys

FOLDERS = ("compiler", "dialects", "docs", "models", "passes", "runtime", "test", "tools")
CXX_SUFFIXES = (".h", ".c", ".cpp", ".cu", ".cuh")


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", required=True, help="root of the repository")
    return parser


def walk(root, suffixes, folders=FOLDERS):
    """Paths relative to `root`, with slashes, in order."""
    found = []
    for folder in folders:
        for base, names, files in os.walk(os.path.join(root, folder)):
            names[:] = [n for n in names if n not in ("Inputs", "__pycache__")]
            for file in files:
                if file.endswith(tuple(suffixes)):
                    path = os.path.relpath(os.path.join(base, file), root)
                    found.append(path.replace(os.sep, "/"))
    return sorted(found)


def lines(root, path):
    """Numbered lines of a file, from 1."""
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return list(enumerate(file.read().splitlines(), 1))


def words_of_pages(root):
    """(page, line number, word) of what stands in backticks in pages. Decisions tell
    what was, so they are left out."""
    pages = sorted(name for name in os.listdir(root) if name.endswith(".md"))
    for page in pages + walk(root, (".md",)):
        if page.startswith("docs/decisions/"):
            continue
        for number, line in lines(root, page):
            for word in re.findall(r"`([^`\s]+)`", line):
                yield page, number, word


def finish(problems):
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
