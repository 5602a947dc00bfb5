#!/usr/bin/env python3
"""CUDA engines against transformers and against the CPU target.

`pack` compiles every engine of the list, and the CPU engines that they are
compared with, into a folder beside the runtime's tools. `run` executes the folder
on a machine with GPUs: all prompt positions and greedy continuations of the golden
cases, and the bundled model's text. One line per comparison; exit 1 when one fails.

Python's standard library only.
"""

import argparse
import concurrent.futures
import json
import pathlib
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "e2e"))

import parity  # noqa: E402
from saddle_e2e import Failure, compile_engine, run_engine  # noqa: E402

GOLDENS = ROOT / "test" / "e2e" / "goldens"
NANO = ROOT / "models" / "nano"

# case | compute dtypes | topologies. Every case on one GPU; the wider ones where
# the case's shape makes them interesting (goldens/cases.py says what each covers).
PARITY = """
base            | f32 bf16 | tp=1 tp=2 tp=4 tp=8 tp=8,ep=8 tp=8,dp=8,ep=8 tp=4,pp=2 tp=8,ep=2
batch           | f32 bf16 | tp=1 tp=2 tp=4 tp=8 tp=4,pp=2 tp=4,dp=2,ep=4,pp=2
long            | f32 bf16 | tp=1 tp=4 tp=8
one-kv-head     | f32 bf16 | tp=1 tp=8
three-kv-heads  | f32 bf16 | tp=1 tp=3
quarter-rope    | f32 bf16 | tp=1 tp=2
full-rope       | f32 bf16 | tp=1 tp=8
no-groups       | f32 bf16 | tp=1 tp=4
near-tie        | f32      | tp=1 tp=4
epsilon         | f32      | tp=1 tp=2
fp8-odd         | f32 bf16 | tp=1 tp=4 tp=8 tp=4,pp=2
fp8-published   | f32 bf16 | tp=1 tp=2 tp=8 tp=8,ep=2
fp8-half-blocks | f32 bf16 | tp=1 tp=4 tp=8
"""

# variant | compute dtype | topologies
GREEDY = """
bf16 | f32  | tp=1 tp=2 tp=4 tp=8 tp=8,ep=8 tp=8,dp=8,ep=8 tp=4,pp=2
fp8  | f32  | tp=1 tp=2 tp=4 tp=8 tp=8,ep=8 tp=8,dp=8,ep=8 tp=4,pp=2
bf16 | bf16 | tp=2
fp8  | bf16 | tp=2
"""


def rows(table):
    for line in table.strip().splitlines():
        yield [field.strip() for field in line.split("|")]


def tests():
    """[(kind, name, dtype, topology)]"""
    for case, dtypes, topologies in rows(PARITY):
        for dtype in dtypes.split():
            for topology in topologies.split():
                yield "parity", case, dtype, topology
    for variant, dtype, topologies in rows(GREEDY):
        for topology in topologies.split():
            yield "greedy", variant, dtype, topology


def file_name(kind, name, dtype, topology):
    return f"{kind}.{name}.{dtype}.{topology.replace('=', '').replace(',', '-')}"


def model_of(kind, name):
    return (GOLDENS if kind == "parity" else NANO) / name


def sequences_of(name, dtype):
    case = json.loads((GOLDENS / name / "case.json").read_text())
    kind = parity.reference_kind(case, dtype)
    return kind, parity.load_sequences(GOLDENS / name, kind)


def greedy_rows(variant):
    golden = json.loads((NANO / "greedy.json").read_text())
    return golden["variants"][variant], golden["max_new_tokens"]


def world(topology):
    sizes = dict(part.split("=") for part in topology.split(","))
    return int(sizes["tp"]) * int(sizes.get("pp", 1))


# -- Packing -----------------------------------------------------------------


def limits_of(kind, name, dtype):
    """(max sequence length, max batch)."""
    if kind == "greedy":
        return 128, len(greedy_rows(name)[0])
    _, sequences = sequences_of(name, dtype)
    return max(len(s[1]) for s in sequences) + 1, len(sequences)


def pack(args):
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = [t for t in tests() if args.only in file_name(*t)]
    jobs = [(*test, "sm_90a") for test in chosen]
    jobs += sorted({(kind, name, dtype, "tp=1", "cpu")
                    for kind, name, dtype, _ in chosen})
    options = ["--kernel-cache", args.kernel_cache] if args.kernel_cache else []
    start = time.time()
    for index, (*test, target) in enumerate(jobs):
        kind, name, dtype, topology = test
        if (args.out / f"{file_name(*test)}.{target}.saddle").exists():
            continue
        length, batch = limits_of(kind, name, dtype)
        # One decode bucket and one prefill bucket: fewer kernels to build.
        extra = ["--buckets", batch] + (options if target != "cpu" else [])
        compile_engine(args.bin / "saddle-compile", model_of(kind, name),
                       args.out / f"{file_name(*test)}.{target}.saddle", topology,
                       dtype, length, batch, min(length, 32), target, extra)
        print(f"{index + 1}/{len(jobs)} {time.time() - start:.0f} s "
              f"{file_name(*test)} {target}", file=sys.stderr)
    for tool in ("saddle-run", "saddle-bench"):
        shutil.copy2(args.bin / tool, args.out / tool)
    return 0


# -- Running -----------------------------------------------------------------


class Runner:
    def __init__(self, args):
        self.pack = args.pack
        self.tmp = args.tmp
        self.cpu = {}

    def engine(self, test, target):
        return self.pack / f"{file_name(*test)}.{target}.saddle"

    def logits(self, test, target, inputs, count):
        kind, name, _, topology = test
        options = ["--timeout", 20]
        if target != "cpu" and world(topology) > 1:
            options.append("--share-devices")
        with tempfile.TemporaryDirectory(dir=self.tmp) as tmp:
            return run_engine(self.pack / "saddle-run", self.engine(test, target),
                              model_of(kind, name), inputs, count,
                              pathlib.Path(tmp) / "logits.safetensors", options)

    def parity(self, test):
        """[(what, error, bound)]; raises Failure."""
        _, name, dtype, _ = test
        kind, sequences = sequences_of(name, dtype)
        bound = parity.BOUNDS[kind]
        done = []
        for mode in ("decode", "prefill"):
            decode = mode == "decode"
            inputs = [t[:n] if decode else t for n, t, _, _ in sequences]
            count = (len(sequences[0][1]) - sequences[0][0]) if decode else 1
            results = self.logits(test, "sm_90a", inputs, count)
            on_cpu = self.logits((*test[:3], "tp=1"), "cpu", inputs, count)
            for (tokens, logits), (cpu_tokens, cpu_logits), (
                    length, golden_tokens, golden, fp32) in zip(results, on_cpu,
                                                              sequences):
                start = length if decode else len(golden_tokens)
                lead = None if dtype == "f32" else fp32
                _, error = parity.compare(tokens, logits, golden_tokens, golden,
                                          start, bound, lead)
                done.append((f"{mode}, transformers", error, bound))
                _, error = parity.compare(
                    tokens, logits, cpu_tokens[:len(golden_tokens)], cpu_logits,
                    start, bound, None if dtype == "f32" else cpu_logits)
                done.append((f"{mode}, CPU", error, bound))
        return done

    def greedy(self, test):
        expected, count = greedy_rows(test[1])
        results = self.logits(test, "sm_90a", [r["prompt"] for r in expected],
                              count)
        for row, (tokens, _) in zip(expected, results):
            wanted = row["prompt_ids"] + row["new_ids"]
            if tokens != wanted:
                at = next((i for i, (a, b) in enumerate(zip(tokens, wanted))
                           if a != b), min(len(tokens), len(wanted)))
                raise Failure(f"{row['prompt']!r} differs from token {at} on: "
                              f"{tokens[at:at + 8]}, expected {wanted[at:at + 8]}")
        return [(f"text of {len(expected)} prompts", 0.0, 0.0)]

    def run(self, test):
        try:
            return getattr(self, test[0])(test), None
        except Failure as failure:
            return [], str(failure)


def run(args):
    runner = Runner(args)
    chosen = [t for t in tests() if args.only in file_name(*t)
              and runner.engine(t, "sm_90a").exists()]
    part, parts = map(int, args.shard.split("/"))
    chosen = chosen[part::parts]
    if not chosen:
        print(f"{args.pack}: no engine of the list is here", file=sys.stderr)
        return 1
    report, failures = [], 0
    start = time.time()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for test, (done, failure) in zip(chosen, pool.map(runner.run, chosen)):
            name = file_name(*test)
            failures += failure is not None
            worst = {}
            for what, error, bound in done:
                worst[what] = (max(error, worst.get(what, (0, 0))[0]), bound)
            text = failure or "; ".join(f"{what} {error:.1e} <= {bound:g}"
                                        for what, (error, bound) in worst.items())
            print(f"{'FAILED' if failure else 'ok':6} {name}: {text}", flush=True)
            report.append({"name": name, "failure": failure, "errors": {
                what: {"error": error, "bound": bound}
                for what, (error, bound) in worst.items()}})
    print(f"{len(chosen) - failures} of {len(chosen)} pass, "
          f"{time.time() - start:.0f} s")
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
    packer.set_defaults(command=pack)
    runner = commands.add_parser("run")
    runner.add_argument("pack", type=pathlib.Path)
    runner.add_argument("--jobs", type=int, default=4)
    runner.add_argument("--shard", default="0/1",
                        help="I/N: every N-th test from the I-th on")
    runner.add_argument("--json", type=pathlib.Path)
    runner.add_argument("--tmp", type=pathlib.Path)
    runner.set_defaults(command=run)
    for command in (packer, runner):
        command.add_argument("--only", default="",
                             help="tests whose name contains this")
    args = parser.parse_args()
    return args.command(args)


if __name__ == "__main__":
    sys.exit(main())
