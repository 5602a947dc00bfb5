"""What users are promised in numbers: published models compile fast and small
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
NANO = CHECKOUT / "models/nano/bf16"
TINY_M1 = CHECKOUT / "test/e2e/goldens/m1-published"
# By published configuration: ways to compile it.
COMPILATIONS = {
    "MiniMax-M2.5": ["--topology tp=8", "--topology tp=8,ep=8",
                     "--topology tp=8,ep=2", "--topology tp=8,dp=8,ep=8",
                     "--topology tp=4", "--topology tp=4,ep=4",
                     "--topology tp=16", "--topology tp=16,ep=8",
                     "--topology tp=64,ep=64", "--topology tp=8,pp=2",
                     "--topology tp=4,dp=2,ep=4,pp=2"],
    # Those of docs/Topologies.md, and sunk factors once.
    "MiniMax-M1-80k": ["--topology tp=8", "--topology tp=8,ep=8",
                       "--topology tp=8,pp=2",
                       "--topology tp=8,dp=8,ep=8,pp=2", "--topology tp=16",
                       "--topology tp=16,ep=16",
                       "--topology tp=8 --rms-factors sunk"],
}
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


def published_models(tools, folder):
    """Each way in time and memory; two compilations, the same bytes."""
    fine = True
    for model, ways in COMPILATIONS.items():
        config = CHECKOUT / "models/configs" / model / "config.json"
        for way in ways:
            paths = [folder / f"{name}.saddle" for name in "ab"]
            begin = time.monotonic()
            run(tools.compile, config, *way.split(), "-o", paths[0])
            seconds = time.monotonic() - begin
            run(tools.compile, config, *way.split(), "-o", paths[1])
            same = filecmp.cmp(*paths, shallow=False)
            fine &= check(f"{model} {way}: {seconds:.2f} s of {MAX_SECONDS}, "
                          f"twice the same bytes: {same}",
                          seconds <= MAX_SECONDS and same)
    # The largest of all children so far, in KiB: an upper bound for each.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return fine & check(f"peak memory {peak >> 20} MiB of {MAX_BYTES >> 20}",
                        peak < MAX_BYTES)


def repeated_runs(tools, folder):
    """Rank threads arrive in any order; the logits must not show it."""
    fine = True
    prompts = {NANO: ("tp=8", "--prompt", "One day Mia the baker"),
               TINY_M1: ("tp=4", "--tokens", "5,17,3,20,2")}
    for weights, (topology, *prompt) in prompts.items():
        engine = folder / "repeated.saddle"
        run(tools.compile, weights, "--topology", topology, "--max-seq-len",
            "256", "-o", engine)
        logits = [folder / f"{name}.safetensors" for name in "ab"]
        for path in logits:
            run(tools.run, engine, "--weights", weights, *prompt,
                "--max-new-tokens", "24", "--logits-out", path)
        fine &= check(f"{weights.relative_to(CHECKOUT)} {topology} twice: the same "
                      "logits to the bit", filecmp.cmp(*logits, shallow=False))
    return fine


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
                   for test in (published_models, repeated_runs, decode_speed)]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
