#!/usr/bin/env python3
"""Time of linear against full attention: M1's published shape in FP8 blocks.

`pack` compiles engines of some layers in the published pattern on a machine with
nvcc, `run` measures them with weights from a seed: decodes by batch and context, and
prompts by length. For each measurement one line with the step, and one with the
microseconds of a layer by kind, from a step whose kernels run one by one. Python's
standard library only.
"""

import argparse
import collections
import json
import pathlib
import re
import shutil
import sys
import tempfile

from full_shape import ROOT, SEED, execute

CONFIG = ROOT / "models" / "configs" / "MiniMax-M1-80k" / "config.json"
FP8_OF = ROOT / "models" / "configs" / "MiniMax-M2.5" / "config.json"

# name | GPUs | layers, one of full attention at the end of each group | limits
ENGINES = """
one   | 1 | 8  | --max-batch 64 --buckets 1,8,64 --max-seq-len 66560
two   | 2 | 16 | --max-batch 64 --buckets 1,8,64 --max-seq-len 66560
sunk  | 2 | 16 | --max-batch 64 --buckets 1,8,64 --max-seq-len 8192 --rms-factors sunk
pair  | 1 | 2  | --max-batch 8 --buckets 1,8 --max-seq-len 66560
pair2 | 2 | 2  | --max-batch 8 --buckets 1,8 --max-seq-len 66560
long  | 1 | 2  | --max-batch 8 --buckets 1,8 --max-seq-len 528384
wide  | 1 | 2  | --max-batch 64 --buckets 1,8,64 --max-seq-len 66560
"""
# engine | what saddle-bench is told. Contexts are computed, not claimed, so long
# ones are measured with two layers, and as many sequences as a minute allows.
MEASUREMENTS = """
one  | --batch 1,8,64 --context 1024 --prefill 2048,8192,65536
one  | --batch 1 --context 65536 --prefill 2048
two  | --batch 1,8,64 --context 1024 --prefill 2048,8192,65536
two  | --batch 1 --context 65536 --prefill 2048
sunk | --batch 1,8,64 --context 1024 --prefill 2048
pair | --batch 1,8 --context 64 --prefill 2048,8192,16384,65536
pair2 | --batch 1,8 --context 64 --prefill 2048,8192,16384,65536
long | --batch 1,8 --context 1024,65536 --prefill 16384,65536
long | --batch 1 --context 524288 --prefill 2048
wide | --batch 64 --context 65536 --prefill 64
"""
GROUP = 8  # layers of the published pattern: seven linear ones, then a full one
CHUNK = 8192  # tokens that a launch of a prompt takes
# Of a layer, by the place of a launch. The first that is found.
PARTS = (("experts", r"\.(post_attention_norm|router|experts)"),
         ("core", r"\.(decay_scan|self_attn$|self_attn\+)"),
         ("rest", r""))


def table(text):
    return [[part.strip() for part in line.split("|")]
            for line in text.strip().splitlines()]


def write_config(layers, folder):
    """M1 in blocks of FP8, as M2.5 is published. Two layers are one of each kind."""
    config = json.loads(CONFIG.read_text())
    config["quantization_config"] = json.loads(FP8_OF.read_text())[
        "quantization_config"]
    if layers < GROUP:
        config["attn_type_list"][layers - 1] = 1
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def pack(args):
    args.out.mkdir(parents=True, exist_ok=True)
    for name, gpus, layers, limits in table(ENGINES):
        with tempfile.TemporaryDirectory() as folder:
            stdout, seconds = execute(
                [args.bin / "saddle-compile",
                 write_config(int(layers), pathlib.Path(folder)), "--topology",
                 f"tp={gpus}", "--target", "sm_90a", "--compute-dtype", "bf16",
                 "--candidates", 64, "--layers", layers, *limits.split(), "-o",
                 args.out / f"{name}.saddle"], 900)
        if stdout is None:
            return 1
        print(f"{name}.saddle: {seconds:.1f} s", flush=True)
    shutil.copy2(args.bin / "saddle-bench", args.out / "saddle-bench")
    return 0


def launches_of(trace):
    """Rank 0's events of each launch of all ranks: an embedding begins one."""
    result = []
    for event in json.loads(trace.read_text())["traceEvents"]:
        if event.get("ph") != "X" or event["tid"] != 0:
            continue
        if event["name"] == "embedding":
            result.append([])
        result[-1].append(event)
    return result


def by_layer(launches, is_linear):
    """Microseconds of a layer by (kind, part), on average."""
    sums, layers = collections.Counter(), collections.defaultdict(set)
    for event in (event for launch in launches for event in launch):
        place = event["args"]["location"]
        found = re.match(r"layers\.(\d+)", place)
        if not found:
            continue
        layer = int(found[1])
        kind = "linear" if is_linear(layer) else "full"
        part = next(part for part, where in PARTS if re.search(where, place))
        sums[kind, part] += event["dur"]
        layers[kind].add(layer)
    return {(kind, part): sums[kind, part] / len(layers[kind])
            for kind in layers for part, _ in PARTS}


def parts_line(times, tokens):
    return "".join(f" {kind} {part} {time / tokens:.3f}"
                   for (kind, part), time in sorted(times.items()))


def kernels_line(row, count):
    """The kernels that take longest: launches, microseconds each, share of floor."""
    kernels = sorted(row["kernels"], key=lambda each: -each["seconds"])[:count]
    return "; ".join(
        f"{each['op']} {each['launches']} x "
        f"{each['seconds'] / each['launches'] * 1e6:.1f} us "
        f"{each['bytes'] / 1e6:.1f} MB {each['memory_share'] * 100:.0f} %"
        for each in kernels)


def report(name, layers, bench, trace):
    launches = launches_of(trace)
    is_linear = (lambda layer: layer % GROUP != GROUP - 1) if layers >= GROUP \
        else (lambda layer: layer == 0)
    for row in bench["decode"] + bench["prefill"]:
        if "batch" in row:
            tokens, count = row["batch"], 1
            what, seconds = f"decode {tokens} at {row['context']}", "step_seconds"
        else:
            tokens, count = row["tokens"], -(-row["tokens"] // CHUNK)
            what, seconds = f"prefill {tokens}", "seconds"
        mine, launches = launches[:count], launches[count:]
        print(f"{name}: {what}: {row[seconds]['median'] * 1e3:.3f} ms, on device "
              f"{row['device_seconds']['median'] * 1e3:.3f}; us of a layer and token:"
              f"{parts_line(by_layer(mine, is_linear), tokens)}")
        for chunk in sorted({1, count - 1} & set(range(1, count))):
            first, last = chunk * CHUNK, min((chunk + 1) * CHUNK, tokens)
            times = by_layer(mine[chunk:chunk + 1], is_linear)
            print(f"  tokens {first} to {last - 1}:{parts_line(times, last - first)}")
        print(f"  {kernels_line(row, 8)}", flush=True)


def run(args):
    engines = {name: (int(gpus), int(layers))
               for name, gpus, layers, _ in table(ENGINES)}
    failures = 0
    for number, (name, options) in enumerate(table(MEASUREMENTS)):
        gpus, layers = engines[name]
        if name not in args.engines or gpus > args.gpus:
            continue
        trace = args.out / f"{number}-{name}.trace.json"
        stdout, seconds = execute(
            [args.pack / "saddle-bench", args.pack / f"{name}.saddle", "--weights",
             SEED, *options.split(), "--steps", 20, "--timeout", 60, "--trace",
             trace, "--json"], args.timeout)
        if stdout is None:
            failures += 1
            continue
        (args.out / f"{number}-{name}.json").write_text(stdout)
        bench = json.loads(stdout)
        print(f"ok {name} {options}: loaded in {bench['load_seconds']:.1f} s, "
              f"{seconds:.1f} s in all", flush=True)
        report(name, layers, bench, trace)
        if not args.keep_traces:
            trace.unlink()
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    packer = commands.add_parser("pack")
    packer.add_argument("--bin", type=pathlib.Path, required=True)
    packer.add_argument("--out", type=pathlib.Path, required=True)
    packer.set_defaults(command=pack)
    runner = commands.add_parser("run")
    runner.add_argument("pack", type=lambda path: pathlib.Path(path).resolve())
    runner.add_argument("--out", type=pathlib.Path, required=True,
                        help="folder for the JSON of saddle-bench")
    runner.add_argument("--engines", nargs="+", default=[name for name, *_ in table(ENGINES)])
    runner.add_argument("--gpus", type=int, default=1)
    runner.add_argument("--timeout", type=float, default=300)
    runner.add_argument("--keep-traces", action="store_true")
    runner.set_defaults(command=run)
    args = parser.parse_args()
    return args.command(args)


if __name__ == "__main__":
    sys.exit(main())
