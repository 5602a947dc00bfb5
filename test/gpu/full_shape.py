#!/usr/bin/env python3
"""The published model's shape on real GPUs, with weights made from a seed.

For each engine of a folder: decodes many tokens twice (no hang, finite logits,
which the sampler insists on, and the same tokens both times), then measures decode
steps and prefill with saddle-bench. One line per result; exit 1 when one fails.

`pack` compiles the engines on a machine with nvcc. Python's standard library only.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = ROOT / "models" / "configs" / "MiniMax-M2.5" / "config.json"
TOPOLOGIES = ("tp=8", "tp=8,ep=8", "tp=8,dp=8,ep=8", "tp=4")
PROMPT = "1,17,4711,99,20000,5,123456,42"
SEED = "synthetic:7"


def name_of(topology):
    return "m25." + topology.replace("=", "").replace(",", "-")


def execute(command, timeout):
    """(stdout, seconds); None for stdout when it fails, with a line that says how."""
    start = time.time()
    command = [str(part) for part in command]
    try:
        result = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=timeout)
    except subprocess.TimeoutExpired:
        print(f"FAILED {' '.join(command)}: no end within {timeout} s", flush=True)
        return None, time.time() - start
    if result.returncode:
        print(f"FAILED {' '.join(command)}: exit {result.returncode}: "
              f"{result.stderr.strip()[-1500:]}", flush=True)
        return None, time.time() - start
    return result.stdout, time.time() - start


def pack(args):
    args.out.mkdir(parents=True, exist_ok=True)
    for topology in args.topologies:
        engine = args.out / f"{name_of(topology)}.saddle"
        # Limits of an engine hold for each attention replica.
        sizes = dict(part.split("=") for part in topology.split(","))
        batch = max(1, args.max_batch // int(sizes.get("dp", 1)))
        buckets = [n for n in args.buckets.split(",") if int(n) < batch]
        buckets.append(str(batch))  # a step of all sequences needs an entry
        command = [args.bin / "saddle-compile", CONFIG, "--topology", topology,
                   "--target", "sm_90a", "--compute-dtype", "bf16", "--max-batch",
                   batch, "--max-seq-len", args.max_seq_len, "--buckets",
                   ",".join(buckets), "--candidates", args.candidates, "-o",
                   engine]
        if args.layers:
            command += ["--layers", args.layers]
        if args.kernel_cache:
            command += ["--kernel-cache", args.kernel_cache]
        stdout, seconds = execute(command, 900)
        if stdout is None:
            return 1
        print(f"{engine.name}: {engine.stat().st_size / 2**20:.1f} MiB, "
              f"{seconds:.1f} s", flush=True)
    for tool in ("saddle-run", "saddle-bench"):
        shutil.copy2(args.bin / tool, args.out / tool)
    return 0


def decode_twice(args, engine, result):
    command = [args.pack / "saddle-run", engine, "--weights", SEED, "--tokens",
               PROMPT, "--max-new-tokens", args.steps, "--temperature", 0,
               "--ignore-eos", "--timeout", 10, "--share-devices", "--json"]
    runs = []
    for _ in range(args.runs):
        stdout, seconds = execute(command, args.timeout)
        if stdout is None:
            return False
        runs.append(json.loads(stdout))
        stats = runs[-1]["stats"]
        print(f"       {engine.name}: {stats['decode_tokens']} tokens in "
              f"{stats['decode_seconds']:.2f} s, loaded in "
              f"{stats['load_seconds']:.1f} s, {seconds:.1f} s in all", flush=True)
    texts = [json.dumps(run["prompts"]) for run in runs]
    result["stats"] = [run["stats"] for run in runs]
    result["tokens"] = args.steps
    result["same_tokens"] = len(set(texts)) == 1
    if not result["same_tokens"]:
        print(f"FAILED {engine.name}: two runs gave different tokens", flush=True)
    return result["same_tokens"]


def measure(args, engine, result):
    command = [args.pack / "saddle-bench", engine, "--weights", SEED, "--batch",
               args.batch, "--context", args.context, "--steps", 50, "--prefill",
               args.prefill, "--timeout", 20, "--share-devices", "--json"]
    stdout, _ = execute(command, args.timeout)
    if stdout is None:
        return False
    result["bench"] = json.loads(stdout)
    for row in result["bench"]["decode"]:
        print(f"       {engine.name}: decode batch {row['batch']} context "
              f"{row['context']}: {row['step_seconds']['median'] * 1e3:.3f} ms, "
              f"{row['tokens_per_second']:.0f} tokens/s", flush=True)
    for row in result["bench"]["prefill"]:
        print(f"       {engine.name}: prefill {row['tokens']}: "
              f"{row['seconds']['median'] * 1e3:.2f} ms", flush=True)
    return True


def run(args):
    failures, report = 0, {}
    for topology in args.topologies:
        engine = args.pack / f"{name_of(topology)}.saddle"
        if not engine.exists():
            print(f"FAILED {engine}: not in the pack")
            failures += 1
            continue
        result = report[topology] = {}
        good = (args.steps == 0 or decode_twice(args, engine, result)) and \
            measure(args, engine, result)
        failures += not good
        print(f"{'ok' if good else 'FAILED':6} {engine.name}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    packer = commands.add_parser("pack")
    packer.add_argument("--bin", type=pathlib.Path, required=True)
    packer.add_argument("--out", type=pathlib.Path, required=True)
    packer.add_argument("--kernel-cache", type=pathlib.Path)
    packer.add_argument("--max-batch", type=int, default=64,
                        help="of all attention replicas together")
    packer.add_argument("--max-seq-len", type=int, default=4096)
    packer.add_argument("--buckets", default="1,8,64",
                        help="those up to a replica's batch are taken")
    packer.add_argument("--candidates", type=int, default=64,
                        help="0: whole rows of logits go to the host")
    packer.add_argument("--layers", type=int, help="fewer than the model has")
    packer.set_defaults(command=pack)
    runner = commands.add_parser("run")
    runner.add_argument("pack", type=lambda path: pathlib.Path(path).resolve())
    runner.add_argument("--steps", type=int, default=2000,
                        help="tokens to decode; 0: measure only")
    runner.add_argument("--runs", type=int, default=2)
    runner.add_argument("--batch", default="1,8,64")
    runner.add_argument("--context", default="1024")
    runner.add_argument("--prefill", default="2048")
    runner.add_argument("--timeout", type=int, default=200)
    runner.add_argument("--json", type=pathlib.Path)
    runner.set_defaults(command=run)
    for command in (packer, runner):
        command.add_argument("--topologies", nargs="+", default=TOPOLOGIES)
    args = parser.parse_args()
    return args.command(args)


if __name__ == "__main__":
    sys.exit(main())
