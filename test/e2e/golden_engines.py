"""Engines that older versions built run as they did.

goldens/engines/CASE-MAJOR.MINOR.saddle is an engine of the CPU target for
goldens/CASE, in fp32, as the compiler wrote it when that format version was current.
Each must load and give the logits of the case. A new format version adds files (README.md
there); no file is ever made anew.

Standard library only.
"""

import argparse
import pathlib
import re
import sys
import tempfile

import parity
from saddle_e2e import Failure, run_engine

GOLDENS = pathlib.Path(__file__).resolve().parent / "goldens"


def check(run, engine, case, tmp):
    """Rows compared and the largest error; raises Failure."""
    sequences = parity.load_sequences(GOLDENS / case, "f32")
    inputs = [tokens[:length] for length, tokens, _, _ in sequences]
    count = len(sequences[0][1]) - sequences[0][0]
    results = run_engine(run, engine, GOLDENS / case, inputs, count,
                         tmp / "logits.safetensors", ["--ignore-eos"])
    rows, worst = 0, 0.0
    for (tokens, logits), (length, golden_tokens, golden, _) in zip(results, sequences):
        compared, error = parity.compare(tokens, logits, golden_tokens, golden, length,
                                         parity.BOUNDS["f32"])
        rows += compared
        worst = max(worst, error)
    return rows, worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", help="not used")
    parser.add_argument("--run", type=pathlib.Path, required=True)
    args = parser.parse_args()
    folder = GOLDENS / "engines"
    engines = sorted(folder.rglob("*.saddle"))
    failures = not engines
    for engine in engines:
        case = re.fullmatch(r"(.*)-\d+\.\d+\.saddle", str(engine.relative_to(folder)))[1]
        with tempfile.TemporaryDirectory() as tmp:
            try:
                rows, error = check(args.run, engine, case, pathlib.Path(tmp))
            except Failure as failure:
                print(f"FAILED {engine.name}: {failure}")
                failures += 1
                continue
        print(f"ok {engine.name}: {rows} rows, error {error:.2e}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
