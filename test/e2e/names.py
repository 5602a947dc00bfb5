#!/usr/bin/env python3
"""A checkpoint means the same under every spelling of its names.

Rewrites golden cases into each form of spellings.py; transformers' logits must come
out. An engine made from one spelling runs the weights of another, and what cannot
be cut is refused.

Standard library only.
"""

import argparse
import math
import pathlib
import random
import shutil
import struct
import sys
import tempfile

import parity
import spellings
import storages
from saddle_e2e import Failure, compile_engine, run_engine

CASES = {"base": ("gate-up", "up-gate", "stacks", "dotted-stacks", "joined", "qkv",
                  "language-model", "everything"), "fp8-published": ("w13", "stacks")}
# Of storages.py: packed along rows and columns, one scale for all and for each.
STORED = ("awq", "packed-int4-zeros", "nvfp4", "modelopt-nvfp4")


def logits(args, engine, weights, case, tmp):
    (length, tokens, golden, _), = parity.load_sequences(case, "f32")
    (got, values), = run_engine(args.run, engine, weights, [tokens], 1,
                                tmp / "logits.safetensors")
    return parity.compare(got, values, tokens, golden, len(tokens), 1e-4)


def check(args, tmp, case, form, topology):
    folder, engine = tmp / "folder", tmp / "engine.saddle"
    spellings.respell(case, form, folder)
    compile_engine(args.compile, folder, engine, topology, "f32", 64)
    rows, error = logits(args, engine, folder, case, tmp)
    if form == "everything":  # the same tensors, whatever they are called
        logits(args, engine, case, case, tmp)
    return f"{rows} rows, error {error:.1e}"


def check_stored(args, tmp, format, form):
    """The same bits from fused tensors as from single ones."""
    storages.Maker(random.Random(1), format, tmp).make()
    spellings.respell(tmp / "stored", form, tmp / "folder")
    results = []
    for folder in (tmp / "stored", tmp / "folder"):
        engine = tmp / "engine.saddle"
        compile_engine(args.compile, folder, engine, "tp=2", "f32", 32)
        results.append(run_engine(args.run, engine, folder, [storages.PROMPT], 4,
                                  tmp / "logits.safetensors", ["--ignore-eos"])[0])
    (tokens, logits), (other_tokens, other) = results
    if tokens != other_tokens or logits.data != other.data:
        raise Failure("the logits differ")
    return "the same bits"


def check_refused(args, tmp, case, form, words):
    folder = tmp / "folder"
    spellings.respell(case, form, folder)
    try:
        compile_engine(args.compile, folder, tmp / "engine.saddle", "tp=1", "f32", 64)
    except Failure as failure:
        if words in str(failure):
            return "refused"
        raise
    raise Failure("was not refused")


def check_values(args, tmp, case, tensor, number, words):
    """A number of a tensor that cannot be meant is found when weights are loaded."""
    folder, engine = tmp / "folder", tmp / "engine.saddle"
    shutil.copytree(case, folder)
    compile_engine(args.compile, folder, engine, "tp=1", "f32", 64,
                   options=["--kv-dtype", "fp8"])
    tensors = spellings.read(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith(tensor))
    dtype, shape, blob = tensors[name]
    tensors[name] = dtype, shape, struct.pack("<f", number) + blob[4:]
    spellings.write(folder / "model.safetensors", tensors)
    try:
        run_engine(args.run, engine, folder, [[1]], 1, tmp / "logits.safetensors")
    except Failure as failure:
        if name in str(failure) and words in str(failure):
            return "refused"
        raise
    raise Failure("was not refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", required=True, help="saddle-compile")
    parser.add_argument("--run", required=True, help="saddle-run")
    parser.add_argument("--goldens", type=pathlib.Path, required=True)
    args = parser.parse_args()
    failures = 0

    def run(what, function, *arguments):
        nonlocal failures
        with tempfile.TemporaryDirectory() as tmp:
            try:
                print(f"{what:32} {function(args, pathlib.Path(tmp), *arguments)}")
            except Failure as failure:
                failures += 1
                print(f"{what:32} FAILED: {failure}")

    for name, forms in CASES.items():
        for form in forms:
            run(f"{name} {form}", check, args.goldens / name, form, "tp=2")
    for format in STORED:
        run(f"{format} fused", check_stored, format, "fused")
    run("base everything tp=4,ep=2", check, args.goldens / "base", "everything",
        "tp=4,ep=2")
    run("fp8-odd w13", check_refused, args.goldens / "fp8-odd", "w13",
        "has 96 rows of one weight before those of the next, expected a multiple "
        "of 128")
    stored = args.goldens / "storage"
    for number in (0.0, math.nan, -1.0):
        run(f"k_scale {number}", check_values, stored / "kv-scales", "k_scale", number,
            "expected a positive finite number")
    run("weight_offset 1", check_values, stored / "modelslim", "weight_offset", 1.0,
        "weights with zero points are not implemented")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
