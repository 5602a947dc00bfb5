"""What users are promised in numbers: the published model compiles fast and small
without reading weights, equal inputs give equal bytes and equal logits, and the
bundled model is not slow. Figures of one run are printed, not only judged.
"""

import argparse
import filecmp
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
PUBLISHED = CHECKOUT / "models/configs/MiniMax-M2.5/config.json"
NANO = CHECKOUT / "models/nano/bf16"
TOPOLOGIES = ["tp=8", "tp=8,ep=8", "tp=8,ep=2", "tp=8,dp=8,ep=8", "tp=4",
              "tp=4,ep=4", "tp=16", "tp=16,ep=8", "tp=64,ep=64", "tp=8,pp=2",
              "tp=4,dp=2,ep=4,pp=2"]
MAX_SECONDS = 10
MAX_BYTES = 1 << 30
MIN_TOKENS_PER_SECOND = 100


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True,
                          text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit {done.returncode}: "
                 f"{done.stderr}")
    return done.stdout


def check(what, holds):
    print(f"{'ok  ' if holds else 'FAIL'} {what}")
    return holds


def published_model(tools, folder):
    """Every topology in time and memory; two compilations, the same bytes."""
    fine = True
    for topology in TOPOLOGIES:
        paths = [folder / f"{name}.saddle" for name in "ab"]
        begin = time.monotonic()
        run(tools.compile, PUBLISHED, "--topology", topology, "-o", paths[0])
        seconds = time.monotonic() - begin
        run(tools.compile, PUBLISHED, "--topology", topology, "-o", paths[1])
        same = filecmp.cmp(*paths, shallow=False)
        fine &= check(f"MiniMax-M2.5 {topology}: {seconds:.2f} s of "
                      f"{MAX_SECONDS}, twice the same bytes: {same}",
                      seconds <= MAX_SECONDS and same)
    # The largest of all children so far, in KiB: an upper bound for each.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return fine & check(f"peak memory {peak >> 20} MiB of {MAX_BYTES >> 20}",
                        peak < MAX_BYTES)


def repeated_runs(tools, folder):
    """Rank threads arrive in any order; the logits must not show it."""
    engine = folder / "nano8.saddle"
    run(tools.compile, NANO, "--topology", "tp=8", "--max-seq-len", "256", "-o",
        engine)
    logits = [folder / f"{name}.safetensors" for name in "ab"]
    for path in logits:
        run(tools.run, engine, "--weights", NANO, "--prompt",
            "One day Mia the baker", "--max-new-tokens", "24", "--logits-out",
            path)
    return check("tp=8 twice: the same logits to the bit",
                 filecmp.cmp(*logits, shallow=False))


def decode_speed(tools, folder):
    engine = folder / "nano1.saddle"
    run(tools.compile, NANO, "--max-seq-len", "512", "-o", engine)
    result = json.loads(run(tools.bench, engine, "--weights", NANO, "--context",
                            "64", "--steps", "50", "--prefill", "64", "--json"))
    rate = result["decode"][0]["tokens_per_second"]
    return check(f"bundled model, batch 1: {rate:.0f} tokens/s, at least "
                 f"{MIN_TOKENS_PER_SECOND}", rate >= MIN_TOKENS_PER_SECOND)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for tool in ("compile", "run", "bench"):
        parser.add_argument(f"--{tool}", required=True, help=f"saddle-{tool}")
    tools = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        results = [test(tools, folder)
                   for test in (published_model, repeated_runs, decode_speed)]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
