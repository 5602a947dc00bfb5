#!/usr/bin/env python3
"""Checks that an engine with candidates says what one without says.

Greedy, top-k within the candidates (they are used) and beyond them (logits are), on the bundled model. Token ids must be
identical to those of the engine of the same topology without candidates. Exit 0 when they are, 1 when not.
"""

import argparse
import json
import pathlib
import sys
import tempfile

from saddle_e2e import Failure, compile_engine, run_text

TOPOLOGIES = ["tp=1", "tp=2", "tp=4", "tp=4,dp=2,ep=2"]
COUNT = 16
SAMPLING = {
    "greedy": [],
    "top-k 5": ["--temperature", 0.9, "--top-k", 5, "--seed", 3],
    "top-k 16, top-p": ["--temperature", 1.5, "--top-k", COUNT, "--top-p", 0.8, "--seed", 4],
    "top-k 40": ["--temperature", 1.5, "--top-k", 40, "--seed", 5],
}


def check(args, topology, prompts):
    failures = 0
    folder = args.nano / "bf16"
    with tempfile.TemporaryDirectory() as tmp:
        engines = {}
        for count in (0, COUNT):
            engines[count] = pathlib.Path(tmp) / f"{count}.saddle"
            compile_engine(args.compile, folder, engines[count], topology, "f32",
                           128, len(prompts), options=["--candidates", count])
        for name, options in SAMPLING.items():
            expected, found = (run_text(args.run, engines[count], folder, prompts, 24,
                                        ["--ignore-eos", *options])
                               for count in (0, COUNT))
            if found != expected:
                failures += 1
                print(f"{topology} {name}: FAILED: {found}, expected {expected}")
        print(f"{topology}: {len(SAMPLING) - failures} of {len(SAMPLING)} agree")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", required=True, help="saddle-compile")
    parser.add_argument("--run", required=True, help="saddle-run")
    parser.add_argument("--nano", required=True, type=pathlib.Path)
    args = parser.parse_args()
    golden = json.loads((args.nano / "greedy.json").read_text())
    prompts = [row["prompt"] for row in golden["variants"]["bf16"][:3]]
    failures = 0
    for topology in TOPOLOGIES:
        try:
            failures += check(args, topology, prompts)
        except Failure as failure:
            failures += 1
            print(f"{topology} FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
