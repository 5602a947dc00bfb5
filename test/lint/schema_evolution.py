"""An engine that was built stays readable as long as its major version lives. The
schema of each released version lies in runtime/schema/released/engine-MAJOR.MINOR.fbs
and never changes. A newer schema of the same major adds to it (flatc --conform), and
one that differs from the newest release, comments apart, has a version above it
(EngineFile.h). After a release, its schema goes there."""

import os
import re
import subprocess
import tempfile

import common

SCHEMA = "runtime/schema/engine.fbs"
RELEASED = "runtime/schema/released"
VERSION = "runtime/src/engine/EngineFile.h"


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def without_comments(text):
    return "\n".join(line for raw in text.splitlines() if (line := raw.split("//")[0].rstrip()))


def conforms(flatc, older, newer):
    """What flatc has against it; empty when nothing."""
    with tempfile.TemporaryDirectory() as folder:
        # Enough of an output to make flatc read the schema.
        run = subprocess.run([flatc, "--conform", older, "-o", folder, "--cpp", newer], capture_output=True,
                             text=True)
    return "" if run.returncode == 0 else (run.stdout + run.stderr).strip().splitlines()[-1].strip()


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--flatc", required=True)
    args = parser.parse_args()
    header = read(args.root, VERSION)
    current = tuple(int(re.search(rf"kEngine{part} = (\d+);", header)[1]) for part in ("Major", "Minor"))
    released = sorted(tuple(map(int, found.groups())) for name in os.listdir(os.path.join(args.root, RELEASED))
                      if (found := re.fullmatch(r"engine-(\d+)\.(\d+)\.fbs", name)))
    problems = []
    if not released:
        problems.append(f"{RELEASED}: has no engine-MAJOR.MINOR.fbs")
    for version in released:
        path = f"{RELEASED}/engine-{version[0]}.{version[1]}.fbs"
        if version[0] != current[0]:
            continue
        why = conforms(args.flatc, os.path.join(args.root, path), os.path.join(args.root, SCHEMA))
        if why:
            problems.append(f"{SCHEMA}: is no evolution of {path}: {why}; add to the end, or begin a new major")
        if version > current:
            problems.append(f"{VERSION}: version {current[0]}.{current[1]} is below that of {path}")
    if released and released[-1] == current:
        path = f"{RELEASED}/engine-{current[0]}.{current[1]}.fbs"
        if without_comments(read(args.root, path)) != without_comments(read(args.root, SCHEMA)):
            problems.append(f"{SCHEMA}: differs from {path}; raise kEngineMinor in {VERSION}")
    common.finish(problems)


if __name__ == "__main__":
    main()
