"""Ops that no importer emits yet, or not in such shapes, from the model level to
logits, on synthetic weights.

The module is written by hand; what its ops compute is the reference kernels'
business and tested there. Here: logits do not depend on how a prompt is cut, on
what else is in the batch, on who used the slot before, or on the topology; a
compile for sm_90a succeeds.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from saddle_e2e import Failure, call, run_engine

PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [8, 9, 7], [30],
           [9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3, 3, 8, 3, 2, 7, 9, 5, 0, 2, 8],
           [2, 7, 1, 8], [1, 6, 1, 8, 0, 3, 3]]
TOPOLOGIES = ["tp=2", "tp=4", "tp=2,dp=2", "tp=4,dp=2", "pp=2", "pp=3",
              "tp=4,dp=2,pp=3"]
NEW_TOKENS = 4


def compile_module(binary, module, engine, topology):
    call([binary, module, "--compile-from", "start", "--topology", topology,
          "-o", engine])


def expect_equal(what, found, expected):
    for i, ((tokens, logits), (others, reference)) in enumerate(zip(found, expected)):
        if tokens != others or logits.data != reference.data:
            raise Failure(f"{what}: prompt {i} differs")


def expect_close(what, found, expected):
    for i, ((tokens, logits), (others, reference)) in enumerate(zip(found, expected)):
        worst = max(abs(a - b) for a, b in zip(logits.data, reference.data))
        if tokens != others or not worst <= 1e-4 * reference.largest():
            raise Failure(f"{what}: prompt {i} differs by {worst}, and its "
                          f"largest logit is {reference.largest()}")


def check(args, folder):
    def run(engine, prompts, *options):
        return run_engine(args.run, engine, "synthetic:5", prompts, NEW_TOKENS,
                          folder / "logits", ["--ignore-eos", *options])

    one = folder / "one.saddle"
    compile_module(args.compile, args.module, one, "tp=1")
    alone = [run(one, [prompt])[0] for prompt in PROMPTS]
    for chunk in (1, 3, 16):
        cut = [run(one, [prompt], "--prefill-chunk", chunk)[0] for prompt in PROMPTS]
        expect_equal(f"chunks of {chunk}", cut, alone)
    # Six prompts share four slots, so two begin where others were; then with so
    # few pages that two run at a time.
    expect_equal("a batch", run(one, PROMPTS), alone)
    expect_equal("few pages", run(one, PROMPTS, "--kv-tokens", 40), alone)
    for topology in TOPOLOGIES:
        engine = folder / "many.saddle"
        compile_module(args.compile, args.module, engine, topology)
        many = [run(engine, [prompt])[0] for prompt in PROMPTS]
        expect_close(topology, many, alone)
        expect_equal(f"{topology}, a batch", run(engine, PROMPTS), many)

    result = subprocess.run(
        [args.compile, args.module, "--compile-from", "start", "--target",
         "sm_90a", "--compile-to", "engine", "-o", folder / "gpu.mlir"],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if result.returncode:
        raise Failure(f"--target sm_90a: exit {result.returncode}\n{result.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--module", required=True, type=pathlib.Path)
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            check(args, pathlib.Path(folder))
    except Failure as failure:
        print(f"FAIL: {failure}", file=sys.stderr)
        return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
