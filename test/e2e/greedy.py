#!/usr/bin/env python3
"""Checks that the bundled model says what transformers says (models/nano/greedy.json).

All prompts run as one batch, as text, so the tokenizer is part of the check.
Token ids must be identical. Exit 0 when they are, 1 when not.
"""

import argparse
import json
import pathlib
import sys
import tempfile

from saddle_e2e import Failure, compile_engine, run_engine


def check(args, tp, golden):
    rows = golden["variants"][args.variant]
    folder = args.nano / args.variant
    with tempfile.TemporaryDirectory() as tmp:
        engine = pathlib.Path(tmp) / "nano.saddle"
        compile_engine(args.compile, folder, engine, tp, args.compute_dtype, 128,
                       len(rows))
        results = run_engine(args.run, engine, folder, [r["prompt"] for r in rows],
                             golden["max_new_tokens"],
                             pathlib.Path(tmp) / "logits.safetensors")
    failures = 0
    for row, (tokens, _) in zip(rows, results):
        expected = row["prompt_ids"] + row["new_ids"]
        if tokens != expected:
            failures += 1
            at = next((i for i, (a, b) in enumerate(zip(tokens, expected))
                       if a != b), min(len(tokens), len(expected)))
            print(f"tp={tp} {row['prompt']!r} FAILED: differs from token {at} on: "
                  f"{tokens[at:at + 8]}, expected {expected[at:at + 8]}")
    print(f"{args.variant} tp={tp} {args.compute_dtype}: "
          f"{len(rows) - failures} of {len(rows)} prompts agree")
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", required=True, help="saddle-compile")
    parser.add_argument("--run", required=True, help="saddle-run")
    parser.add_argument("--nano", required=True, type=pathlib.Path)
    parser.add_argument("--variant", default="bf16", choices=["bf16", "fp8"])
    parser.add_argument("--tp", default="1", help="a list: 1,2,4,8")
    parser.add_argument("--compute-dtype", default="f32")
    args = parser.parse_args()
    golden = json.loads((args.nano / "greedy.json").read_text())
    failures = 0
    for tp in map(int, args.tp.split(",")):
        try:
            failures += check(args, tp, golden)
        except Failure as failure:
            failures += 1
            print(f"tp={tp} FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
