#!/usr/bin/env python3
"""Every kernel of the published models' shapes against the CPU reference.

`pack` compiles engines of a few layers on a machine with nvcc, one for each way in
which kernels differ, and puts SaddleKernelCheck beside them. `run` runs it over all
of them on a machine with a GPU, whatever it finds in one, and prints a line for each
engine; exit 1 when one fails. Python's standard library only.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = ROOT / "models" / "configs" / "MiniMax-M2.5" / "config.json"
M1_CONFIG = ROOT / "models" / "configs" / "MiniMax-M1-80k" / "config.json"

# name | topology | weights | limits. Limits of an engine hold for each attention
# replica. Prefill chunks are of 128 unless a row says otherwise: the default is so
# long that operands of experts would not fit the check. `verify` has few rows, but
# several of a sequence, as a step that verifies drafts.
DECODE = "--max-batch 64 --max-seq-len 4096 --buckets 1,8,64"
REPLICA = "--max-batch 8 --max-seq-len 4096 --buckets 1,8"
LONG = "--max-batch 4 --max-seq-len 65536 --buckets 1,4"
ENGINES = f"""
tp8          | tp=8           | fp8  | {DECODE}
ep8          | tp=8,ep=8      | fp8  | {DECODE}
dp8          | tp=8,dp=8,ep=8 | fp8  | {REPLICA}
candidates   | tp=8           | fp8  | {DECODE} --candidates 64
chunk        | tp=8           | fp8  | {DECODE} --prefill-chunk 2048
verify       | tp=8           | fp8  | {REPLICA} --prefill-chunk 16
long         | tp=8           | fp8  | {LONG}
long-fp8     | tp=8           | fp8  | {LONG} --kv-dtype fp8
long-dp8-fp8 | tp=8,dp=8,ep=8 | fp8  | --max-batch 2 --max-seq-len 65536 --buckets 1,2 --kv-dtype fp8
bf16         | tp=8           | bf16 | {DECODE}
bf16-ep8     | tp=8,ep=8      | bf16 | {DECODE}
awq-tp2      | tp=2           | awq  | {DECODE}
gptq-tp2     | tp=2           | gptq | {DECODE}
nvfp4-tp4    | tp=4           | nvfp4 | {DECODE}
mxfp4-tp2    | tp=2           | mxfp4 | {DECODE}
int8-tp2     | tp=2           | int8 | {DECODE}
mxfp8-tp4    | tp=4           | mxfp8 | {DECODE}
fp8-rows-tp2 | tp=2           | fp8-rows | {DECODE}
m1-tp8       | tp=8           | m1   | {REPLICA} --prefill-chunk 512
m1-tp4       | tp=4           | m1   | --max-batch 2 --max-seq-len 4096 --buckets 1,2 --prefill-chunk 256
m1-fp8       | tp=1           | m1-fp8 | {REPLICA} --prefill-chunk 2176
"""

# A line of SaddleKernelCheck's summary: one op.
SUMMARY = re.compile(r"(?:ok|FAILED) +(\w+) +(\d+) kernels, +(\d+) runs, (\d+) failures, "
                     r"(\d+) skipped, worst error (\S+),")


def engines():
    """name -> (topology, weights, arguments)"""
    rows = [[part.strip() for part in line.split("|")]
            for line in ENGINES.strip().splitlines()]
    return {name: (topology, weights, limits.split() +
                   ([] if "--prefill-chunk" in limits else ["--prefill-chunk", "128"]))
            for name, topology, weights, limits in rows}


KEPT = ["lm_head", "re:.*block_sparse_moe.gate$"]
STORED = {
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True,
            "version": "gemm", "modules_to_not_convert": ["block_sparse_moe.gate"]},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 64, "sym": True,
             "desc_act": False, "modules_in_block_to_quantize": None},
    "nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4",
              "ignore": ["lm_head", "*.block_sparse_moe.gate"],
              "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                  "num_bits": 4, "type": "float", "group_size": 16,
                  "dynamic": False}}}},
    "mxfp4": {"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized",
              "quantization_status": "compressed", "ignore": KEPT,
              "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                  "num_bits": 4, "type": "float", "strategy": "group",
                  "group_size": 32, "symmetric": True, "dynamic": False},
                  "input_activations": None}}},
}


def channels(kind):
    """compressed-tensors: eight bits, a scale for each row, tokens by rows."""
    return {"quant_method": "compressed-tensors", "ignore": KEPT,
            "format": f"{kind}-quantized", "quantization_status": "compressed",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                "num_bits": 8, "type": kind, "strategy": "channel",
                "symmetric": True, "dynamic": False}, "input_activations": {
                "num_bits": 8, "type": kind, "strategy": "token",
                "symmetric": True, "dynamic": True}}}}


STORED |= {
    "int8": channels("int"), "fp8-rows": channels("float"),
    "mxfp8": {"quant_method": "mxfp8", "weight_block_size": [1, 32],
              "activation_scheme": "dynamic", "fmt": "float8_e4m3fn",
              "scale_fmt": "ue8m0",
              "modules_to_not_convert": ["lm_head", "block_sparse_moe.gate"]},
}


def write_config(weights, folder):
    """The published config, the same without quantisation, or stored otherwise; M1,
    also in M2.5's blocks of FP8, with linear attention in the first layer and full
    attention in the second."""
    if weights == "fp8":
        return CONFIG
    if weights.startswith("m1"):
        config = json.loads(M1_CONFIG.read_text())
        config["attn_type_list"][1] = 1
        if weights == "m1-fp8":
            config["quantization_config"] = json.loads(CONFIG.read_text())[
                "quantization_config"]
    else:
        config = json.loads(CONFIG.read_text())
        del config["quantization_config"]
    if weights in STORED:
        config["quantization_config"] = STORED[weights]
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def pack(args):
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.engines:
        topology, weights, limits = engines()[name]
        engine = args.out / f"{name}.saddle"
        start = time.time()
        with tempfile.TemporaryDirectory() as folder:
            command = [args.bin / "saddle-compile",
                       write_config(weights, pathlib.Path(folder)), "--target", "sm_90a",
                       "--compute-dtype", "bf16", "--layers", args.layers,
                       "--topology", topology, *limits, "-o", engine]
            if args.kernel_cache:
                command += ["--kernel-cache", args.kernel_cache]
            result = subprocess.run([str(part) for part in command], text=True,
                                    capture_output=True)
        if result.returncode:
            print(f"FAILED {name}: {result.stderr.strip()}")
            return 1
        print(f"{engine.name}: {engine.stat().st_size / 2**20:.1f} MiB, "
              f"{time.time() - start:.1f} s", flush=True)
    shutil.copy2(args.bin / "SaddleKernelCheck", args.out)
    return 0


def check(args, engine, seconds):
    """Prints the engine's line and what was wrong; whether all was well."""
    command = [args.pack / "SaddleKernelCheck", engine, "--sample-rows",
               args.sample_rows, *args.options]
    start = time.time()
    try:
        result = subprocess.run([str(part) for part in command], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                timeout=max(seconds, 1))
        output, ending = result.stdout, f"exit {result.returncode}"
        good = result.returncode == 0
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or ""
        if isinstance(output, bytes):  # even where text was asked for
            output = output.decode(errors="replace")
        ending, good = f"no end within {seconds:.0f} s", False
    ops = [SUMMARY.match(line) for line in output.splitlines()]
    ops = [match for match in ops if match]
    kernels, runs, failures, skipped = (
        sum(int(match[i]) for match in ops) for i in range(2, 6))
    good = good and not skipped
    # Runs that differ in rounding are within their op's bound; the largest by op.
    worst = " ".join(f"{match[1]} {match[6]}" for match in ops if float(match[6]) > 0)
    print(f"{'ok' if good else 'FAILED':6} {engine.stem:12} {kernels:4} kernels "
          f"{runs:5} runs {failures} failures {skipped} skipped, "
          f"{time.time() - start:5.1f} s, {ending}", flush=True)
    if worst:
        print(f"       worst: {worst}", flush=True)
    if not good:
        for line in output.splitlines():
            if not line.startswith("ok "):
                print(f"       {line}", flush=True)
    return good


def run(args):
    end = time.time() + args.limit
    failures = 0
    for name in args.engines:
        engine = args.pack / f"{name}.saddle"
        if not engine.exists():
            print(f"FAILED {name}: not in the pack")
            failures += 1
        elif time.time() >= end:
            print(f"FAILED {name}: not begun within {args.limit} s")
            failures += 1
        else:
            # One that hangs leaves time for others.
            seconds = min(end - time.time(), args.limit / 3)
            failures += not check(args, engine, seconds)
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    packer = commands.add_parser("pack")
    packer.add_argument("--bin", type=pathlib.Path, required=True)
    packer.add_argument("--out", type=pathlib.Path, required=True)
    packer.add_argument("--kernel-cache", type=pathlib.Path)
    packer.add_argument("--layers", type=int, default=2,
                        help="two have all that is between layers")
    packer.set_defaults(command=pack)
    runner = commands.add_parser("run")
    runner.add_argument("pack", type=lambda path: pathlib.Path(path).resolve())
    runner.add_argument("--sample-rows", type=int, default=32,
                        help="rows of a run that the reference computes; 0: all")
    runner.add_argument("--limit", type=float, default=300,
                        help="seconds for all engines together")
    runner.add_argument("--options", nargs="+", default=[],
                        help="for SaddleKernelCheck, such as --options=--rounds=3")
    runner.set_defaults(command=run)
    for command in (packer, runner):
        command.add_argument("--engines", nargs="+", default=list(engines()),
                             choices=list(engines()))
    args = parser.parse_args()
    return args.command(args)


if __name__ == "__main__":
    sys.exit(main())
