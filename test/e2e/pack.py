#!/usr/bin/env python3
"""Packed weights are the checkpoint's, and belong to one engine.

Packs the bundled model, runs it, kills a packing half-way and goes on, and offers
packed folders to engines that they are not of. Standard library only.
"""

import argparse
import json
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time

from saddle_e2e import Failure, call, compile_engine, run_engine

PROMPT = [5, 17, 3, 90, 44, 8, 61]
BOUND = 2 << 20  # kB of memory that packing may take


def run(args, engine, weights, tmp):
    return run_engine(args.run, engine, weights, [PROMPT], 8,
                      tmp / "logits.safetensors", ["--ignore-eos"])[0]


def refused(command, words):
    try:
        call(command)
    except Failure as failure:
        if words in str(failure):
            return
        raise
    raise Failure(f"was not refused: {' '.join(map(str, command))}")


def check(args, topology, tmp):
    engine, packed = tmp / "a.saddle", tmp / "packed"
    compile_engine(args.compile, args.nano / "fp8", engine, topology, "bf16", 32)
    call([args.pack, engine, "--weights", args.nano / "fp8", "-o", packed])
    tokens, logits = run(args, engine, packed, tmp)
    expected_tokens, expected = run(args, engine, args.nano / "fp8", tmp)
    if tokens != expected_tokens or logits.data != expected.data:
        raise Failure("logits of packed weights are others")
    # The tokenizer has come along.
    call([args.run, engine, "--weights", packed, "--prompt", "the",
          "--max-new-tokens", 2])


def check_another(args, tmp):
    first, second, packed = tmp / "a.saddle", tmp / "b.saddle", tmp / "packed"
    for engine, topology in ((first, "tp=2"), (second, "tp=4")):
        compile_engine(args.compile, args.nano / "bf16", engine, topology, "bf16", 32)
    pack = [args.pack, first, "--weights", args.nano / "bf16", "-o", packed]
    call(pack)
    refused([args.run, second, "--weights", packed, "--tokens", "1"],
            "was packed for another engine")
    refused([args.pack, second, "--weights", args.nano / "bf16", "-o", packed],
            "holds weights that were packed for another engine")
    refused([args.pack, first, "--weights", packed, "-o", tmp / "again"],
            "is packed already")
    # More sequences, the same weights.
    compile_engine(args.compile, args.nano / "bf16", second, "tp=2", "bf16", 64, 4)
    run(args, second, packed, tmp)


def check_killed(args, tmp):
    """KILL leaves what a second run goes on with."""
    engine, packed, whole = tmp / "a.saddle", tmp / "packed", tmp / "whole"
    config = json.loads((args.nano / "bf16" / "config.json").read_text())
    config |= {"hidden_size": 1024, "intermediate_size": 512, "vocab_size": 8192,
               "num_local_experts": 16}
    (tmp / "config.json").write_text(json.dumps(config))
    compile_engine(args.compile, tmp / "config.json", engine, "tp=2", "bf16", 32)
    pack = [str(part) for part in
            (args.pack, engine, "--weights", "synthetic:3", "-o")]
    call([*pack, whole, "--no-verify"])
    child = subprocess.Popen([*pack, str(packed)], stderr=subprocess.DEVNULL)
    # Not by the clock, a second run may be faster: one file is whole, the other
    # half written.
    name = "rank-00001.weights"
    half, part = (whole / name).stat().st_size // 2, packed / f"{name}.part"
    while child.poll() is None and not (
            part.exists() and part.stat().st_size >= half):
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = sorted(file.name for file in packed.iterdir())
    if not any(name.endswith(".part") for name in left):
        raise Failure(f"nothing is half written: {left}")
    refused([args.run, engine, "--weights", packed, "--tokens", "1"], "run saddle-pack")
    call([*pack, packed])
    for file in whole.iterdir():
        if file.read_bytes() != (packed / file.name).read_bytes():
            raise Failure(f"{file.name} is another one")
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if used > BOUND:
        raise Failure(f"took {used} kB of memory, expected {BOUND} at most")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("compile", "run", "pack", "nano"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    args = parser.parse_args()
    failures = 0
    for what, function, *arguments in (
            ("tp=2", check, "tp=2"), ("tp=2,pp=2", check, "tp=2,pp=2"),
            ("another engine", check_another), ("killed", check_killed)):
        with tempfile.TemporaryDirectory() as tmp:
            try:
                function(args, *arguments, pathlib.Path(tmp))
                print(f"{what:16} fine")
            except Failure as failure:
                failures += 1
                print(f"{what:16} FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
