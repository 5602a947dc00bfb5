#!/usr/bin/env python3
"""Compares the engine's logits and tokens with transformers' on one golden case.

Two modes. `decode` feeds the prompt and lets the engine decode greedily.
`prefill` feeds prompt and continuation as one prompt. Both must give the golden
logits at every position: max |difference| <= bound * max |golden logit|.

f32 compares with the fp32 goldens and every token must match. bf16 compares with
transformers in bf16 (for FP8 checkpoints with quantised activations); there a token
may differ where the golden lead is within twice the bound, and the rest of that
sequence is then not comparable.

One line per comparison; exit 0 when all hold, 1 when one does not.
"""

import argparse
import json
import math
import pathlib
import sys
import tempfile

from saddle_e2e import Failure, compile_engine, read_tensors, run_engine

# By reference kind, of the largest |logit|. README.md of goldens/ derives them.
BOUNDS = {"f32": 1e-4, "bf16": 2e-2, "bf16_act": 8e-2}


def reference_kind(case, dtype):
    if dtype == "f32":
        return "f32"
    return "bf16_act" if case["fp8"] else "bf16"


def load_sequences(folder, kind):
    """[(prompt length, tokens, reference logits, fp32 logits)]."""
    tensors = read_tensors(folder / "goldens.safetensors")
    suffixes = [""] if "prompt" in tensors else sorted(
        name[len("prompt"):] for name in tensors if name.startswith("prompt."))
    return [(tensors["prompt" + s].shape[0], tensors["tokens" + s].data.tolist(),
             tensors[f"logits_{kind}{s}"], tensors["logits_f32" + s])
            for s in suffixes]


def lead_of_best(row):
    best, second = sorted(row)[:-3:-1]
    return best - second


def worst(logits, golden, rows):
    """(largest |difference|, position, token); a NaN counts as infinite."""
    found = (-1.0, 0, 0)
    for position in range(rows):
        for token, (x, y) in enumerate(zip(logits.row(position),
                                           golden.row(position))):
            difference = abs(x - y)
            if math.isnan(difference):
                difference = math.inf
            if difference > found[0]:
                found = (difference, position, token)
    return found


def compare(tokens, logits, golden_tokens, golden, prompt_len, bound,
            lead_golden=None):
    """(rows compared, largest relative error). Raises Failure.

    Without `lead_golden` every token must match. With it, the first different token
    ends the comparison, provided that its row of `lead_golden` is nearly a tie.
    """
    if len(logits.shape) != 2 or logits.shape[1] != golden.shape[1]:
        raise Failure(f"logits have shape {logits.shape}, expected "
                      f"[positions, {golden.shape[1]}]")
    if len(tokens) < len(golden_tokens):
        raise Failure(f"{len(tokens)} tokens, expected {len(golden_tokens)}")
    if logits.shape[0] < len(golden_tokens) - 1:
        raise Failure(f"{logits.shape[0]} rows of logits, expected at least "
                      f"{len(golden_tokens) - 1}")
    scale = golden.largest()
    same = next((i for i, (a, b) in enumerate(zip(tokens, golden_tokens))
                 if a != b), len(golden_tokens))
    if same < prompt_len:
        raise Failure(f"prompt token {same} came back as {tokens[same]}, "
                      f"expected {golden_tokens[same]}")
    rows = min(len(golden_tokens), logits.shape[0])
    if same < len(golden_tokens):
        lead = lead_of_best((lead_golden or golden).row(same - 1)) / scale
        if not lead_golden or lead > 2 * bound:
            raise Failure(
                f"token {same} is {tokens[same]}, expected {golden_tokens[same]},"
                f" which leads by {lead:.2g} of the largest logit")
        rows = same
    difference, position, token = worst(logits, golden, rows)
    error = difference / scale
    if error > bound:
        raise Failure(
            f"logits differ by {error:.3g} of the largest, bound {bound:g}; worst at "
            f"position {position}, token {token}: "
            f"{logits.row(position)[token]:.6g}, expected "
            f"{golden.row(position)[token]:.6g}")
    return rows, error


def check(args, case, topology, dtype, tmp):
    """Prints one line per mode and sequence; the number of failures."""
    kind = args.reference or reference_kind(case, dtype)
    bound = args.bound or BOUNDS[kind]
    sequences = load_sequences(args.case, kind)
    longest = max(len(tokens) for _, tokens, _, _ in sequences)
    engine = pathlib.Path(tmp) / "case.saddle"
    options = [part for flag in ("kv_dtype", "rms_factors", "reduction") if getattr(args, flag)
               for part in ("--" + flag.replace("_", "-"), getattr(args, flag))]
    compile_engine(args.compile, args.case, engine, topology, dtype, longest + 1,
                   len(sequences), args.chunk, options=options)
    failures = 0
    for mode in args.modes:
        if mode == "decode":
            inputs = [tokens[:n] for n, tokens, _, _ in sequences]
            count = len(sequences[0][1]) - sequences[0][0]
        else:
            inputs = [tokens for _, tokens, _, _ in sequences]
            count = 1
        results = run_engine(args.run, engine, args.case, inputs, count,
                             pathlib.Path(tmp) / "logits.safetensors")
        for i, (result, (prompt_len, tokens, golden, fp32)) in enumerate(
                zip(results, sequences)):
            where = args.case.name + (f".{i}" if len(sequences) > 1 else "")
            line = f"{where:18} {topology} {dtype:4} {mode:7} against {kind:8} "
            try:
                rows, error = compare(
                    *result, tokens, golden,
                    prompt_len if mode == "decode" else len(tokens), bound,
                    None if dtype == "f32" else fp32)
                print(f"{line} {rows:4} rows, error {error:.2e} <= {bound:g}")
            except Failure as failure:
                failures += 1
                print(f"{line} FAILED: {failure}")
    return failures


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="--tp, --compute-dtype and --modes take lists: 1,2,4")
    parser.add_argument("--compile", required=True, help="saddle-compile")
    parser.add_argument("--run", required=True, help="saddle-run")
    parser.add_argument("--case", required=True, type=pathlib.Path)
    parser.add_argument("--tp", default="1")
    parser.add_argument("--topology",
                        help="in place of --tp, with blanks between: tp=1 tp=2,ep=2")
    for flag in ("--kv-dtype", "--rms-factors", "--reduction"):
        parser.add_argument(flag, help="of saddle-compile; default: its own")
    parser.add_argument("--compute-dtype", default="f32")
    parser.add_argument("--modes", default="decode")
    parser.add_argument("--chunk", type=int, help="prefill chunk")
    parser.add_argument("--reference", choices=BOUNDS,
                        help="goldens to compare with; default by dtype and case")
    parser.add_argument("--bound", type=float,
                        help="of the largest |logit|; default by reference")
    args = parser.parse_args()
    args.modes = args.modes.split(",")
    case = json.loads((args.case / "case.json").read_text())
    failures = 0
    for dtype in args.compute_dtype.split(","):
        if dtype == "bf16" and not (case["bf16"] or args.reference):
            parser.error(f"{args.case}: has no bf16 goldens")
        topologies = (args.topology.split() if args.topology else
                      [f"tp={tp}" for tp in args.tp.split(",")])
        for topology in topologies:
            with tempfile.TemporaryDirectory() as tmp:
                try:
                    failures += check(args, case, topology, dtype, tmp)
                except Failure as failure:
                    failures += 1
                    print(f"{args.case.name} {topology} {dtype} FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
