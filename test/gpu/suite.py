#!/usr/bin/env python3
"""CUDA engines against transformers and against the CPU target.

`pack` compiles every engine of the list, and the CPU engines that they are
compared with, into a folder beside the runtime's tools. `run` executes the folder
on a machine with GPUs: all prompt positions and greedy continuations of the golden
cases, random checkpoints of other storage formats, and the bundled model's text. One line per comparison; exit 1 when one fails.

Python's standard library only.
"""

import argparse
import concurrent.futures
import contextlib
import json
import pathlib
import random
import re
import shutil
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "e2e"))

import parity  # noqa: E402
import storages  # noqa: E402
from saddle_e2e import Failure, compile_engine, run_engine, run_text  # noqa: E402

GOLDENS = ROOT / "test" / "e2e" / "goldens"
NANO = ROOT / "models" / "nano"

OUT_OF_TIME = "not run: out of time"

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
fp8-channels    | f32 bf16 | tp=1 tp=2 tp=4 tp=2,ep=2
storage/awq               | f32 | tp=1 tp=2
storage/gptq              | f32 | tp=1 tp=2,ep=2
storage/gptq-int8         | f32 | tp=1 tp=2
storage/packed-int4-zeros | f32 | tp=1 tp=2
storage/mixed             | f32 | tp=1 tp=2
storage/mxfp4             | f32 | tp=1 tp=2
storage/mxfp8-nvfp4       | f32 | tp=1 tp=2,ep=2
storage/fp8-tensor        | f32 | tp=1 tp=2
storage/fp8-block         | f32 | tp=1 tp=2
storage/int8              | f32 | tp=1 tp=2
storage/modelopt-nvfp4    | f32 | tp=1 tp=2
storage/modelopt-mixed    | f32 | tp=1 tp=2
storage/quark             | f32 | tp=1 tp=2
storage/modelslim         | f32 | tp=1
storage/saved-stacks      | f32 | tp=1 tp=2
storage/fastdeploy-w4a8   | f32 | tp=1 tp=2 tp=2,ep=2
storage/fastdeploy-w4afp8 | f32 | tp=1
storage/fastdeploy-w4afp8-dynamic | f32 | tp=1 tp=2
storage/fastdeploy-fp8-tensor     | f32 | tp=1 tp=2 tp=2,ep=2
m1-base         | f32      | tp=1 tp=2 tp=4 tp=2,ep=2 tp=2,pp=2 tp=2,dp=2 tp=4,dp=2,ep=2
m1-published    | f32      | tp=1 tp=2 tp=8 tp=8,ep=2 tp=2,dp=2 tp=1,pp=3
m1-twelve-heads | f32      | tp=1 tp=4 tp=4,dp=2 tp=2,pp=2
m1-all-linear   | f32      | tp=1 tp=2 tp=2,dp=2
m1-all-full     | f32      | tp=1 tp=2 tp=2,dp=2
m1-prenorm      | f32      | tp=1 tp=2 tp=2,ep=2 tp=1,pp=2
m1-one-layer    | f32      | tp=1 tp=3
m1-many-experts | f32      | tp=1 tp=4 tp=4,dp=4 tp=8,ep=8 tp=2,pp=2
m1-epsilon      | f32      | tp=1 tp=2 tp=2,dp=2
m1-shared       | f32      | tp=1 tp=2 tp=4,ep=2 tp=2,dp=2
m1-long         | f32      | tp=1 tp=2 tp=1,pp=2
"""

# bf16 activations against transformers in fp32, where no rounding can turn a choice
# of experts: all are chosen.
AGAINST_F32 = """
m1-epsilon      | bf16     | tp=1 tp=2 tp=4 tp=2,dp=2 tp=2,ep=2
m1-long         | bf16     | tp=1 tp=2 tp=1,pp=2 tp=2,dp=2
"""
AGAINST_F32_BOUND = 3e-2

# Root mean squares of norms behind the product that follows, in decodes.
SUNK = """
m1-base         | f32      | tp=1 tp=2 tp=4 tp=2,dp=2
m1-published    | f32      | tp=2 tp=4 tp=8
m1-twelve-heads | f32      | tp=4
m1-epsilon      | bf16     | tp=1 tp=2 tp=4
m1-long         | bf16     | tp=2
"""

# Rows that ranks share out, and experts chosen by the rank that has the rows, as in
# long prompts of large models; on the CPU likewise.
SHARES = """
base            | f32 bf16 | tp=2 tp=4 tp=8
batch           | f32      | tp=4
fp8-odd         | bf16     | tp=2
fp8-published   | bf16     | tp=2 tp=4
m1-published    | f32      | tp=2
"""

# An fp8 KV cache: transformers has none, so only the CPU target is asked.
FP8_CACHE = """
base            | f32 bf16 | tp=1 tp=4 tp=8
batch           | f32 bf16 | tp=1 tp=4,pp=2 tp=4,dp=2,ep=4,pp=2
fp8-published   | bf16     | tp=1 tp=8
storage/kv-scales | f32  | tp=1 tp=2
"""

# An element of a cache that differs in its last bit may be rounded to the next of
# three mantissa bits: in fp32 few are, in bf16 as many as with quantised activations.
FP8_CACHE_BOUNDS = {"f32": 2e-2, "bf16": 8e-2}

# variant | compute dtypes | topologies
GREEDY = """
bf16 | f32  | tp=1 tp=2 tp=4 tp=8 tp=8,ep=8 tp=8,dp=8,ep=8 tp=4,pp=2
fp8  | f32  | tp=1 tp=2 tp=4 tp=8 tp=8,ep=8 tp=8,dp=8,ep=8 tp=4,pp=2
bf16 | bf16 | tp=2
fp8  | bf16 | tp=2
"""

# The same text from candidates, without rows of logits.
CANDIDATES = """
bf16 | f32 | tp=1 tp=2 tp=4 tp=8 tp=8,dp=8,ep=8 tp=4,pp=2
fp8  | f32 | tp=1 tp=8
"""

# Storage formats with random codes, harsher than a golden's; only the CPU target is
# asked, with the same topology. Where a row of activations is split over ranks, each
# rank's share has a scale, so in bf16 topologies differ among themselves. Where rows are
# quantised, routing turns with the last bit of bf16: of the models of seeds 1 to 24
# (storages.Maker) none has the same logits on the CPU in bf16 and fp32, as saddle-run
# --logits-out gives them for engines of either --compute-dtype. The golden fp8-channels
# and the kernel check stand for them.
STORED = """
fp8-channels           | f32      | tp=1 tp=2 tp=4 tp=2,ep=2
fp8-tensors            | f32      | tp=1 tp=2
int8-channels          | f32 bf16 | tp=1 tp=2
mxfp8                  | f32 bf16 | tp=1 tp=2
mxfp4                  | f32 bf16 | tp=1 tp=2 tp=2,ep=2
nvfp4                  | f32 bf16 | tp=1 tp=2 tp=2,ep=2
modelopt-fp8           | f32 bf16 | tp=1
modelopt-fp8-channels  | f32      | tp=1 tp=2
modelopt-nvfp4         | f32 bf16 | tp=1 tp=2
packed-int4            | f32 bf16 | tp=1 tp=2 tp=2,ep=2
packed-int4-zeros      | f32 bf16 | tp=1 tp=2
packed-int8            | f32 bf16 | tp=1 tp=2
gptq-int4              | f32 bf16 | tp=1 tp=2
gptq-int4-v2           | f32 bf16 | tp=1
gptq-int8              | f32 bf16 | tp=1
awq                    | f32 bf16 | tp=1 tp=2 tp=2,ep=2
awq-mixed              | f32 bf16 | tp=1 tp=2
wide-awq               | bf16     | tp=1 tp=2 tp=4 tp=2,ep=2
wide-gptq-int4         | bf16     | tp=1 tp=2
wide-packed-int4       | bf16     | tp=1 tp=4
wide-packed-int4-zeros | bf16     | tp=1 tp=4
wide-nvfp4             | bf16     | tp=1 tp=2 tp=4 tp=2,ep=2
wide-modelopt-nvfp4    | bf16     | tp=1 tp=2
wide-mxfp4             | bf16     | tp=1 tp=2 tp=4
"""

# kind -> its list, and what saddle-compile is told besides
KINDS = {"parity": (PARITY, []),
         "against_f32": (AGAINST_F32, []),
         "sunk": (SUNK, ["--rms-factors", "sunk"]),
         "shares": (SHARES, ["--reduction", "reduce_scatter"]),
         "fp8_cache": (FP8_CACHE, ["--kv-dtype", "fp8"]),
         "greedy": (GREEDY, []),
         "candidates": (CANDIDATES, ["--candidates", 64]),
         "stored": (STORED, [])}
OF_NANO = ("greedy", "candidates")
STORED_TOKENS = 8  # decoded after storages.PROMPT


def rows(table):
    for line in table.strip().splitlines():
        yield [field.strip() for field in line.split("|")]


def tests():
    """[(kind, name, dtype, topology)]"""
    for kind, (table, _) in KINDS.items():
        for name, dtypes, topologies in rows(table):
            for dtype in dtypes.split():
                for topology in topologies.split():
                    yield kind, name, dtype, topology


def file_name(kind, name, dtype, topology):
    name = name.replace("/", "-")
    return f"{kind}.{name}.{dtype}.{topology.replace('=', '').replace(',', '-')}"


def model_of(kind, name, pack):
    if kind == "stored":
        return pack / f"stored.{name}" / "stored"
    return (NANO if kind in OF_NANO else GOLDENS) / name


def make_stored(name, pack):
    folder = pack / f"stored.{name}"
    if not folder.exists():
        folder.mkdir()
        storages.Maker(random.Random(1), name, folder).make()


def sequences_of(test_kind, name, dtype):
    case = json.loads((GOLDENS / name / "case.json").read_text())
    against_f32 = test_kind in ("against_f32", "sunk")
    kind = parity.reference_kind(case, "f32" if against_f32 else dtype)
    return kind, parity.load_sequences(GOLDENS / name, kind)


def greedy_rows(variant):
    golden = json.loads((NANO / "greedy.json").read_text())
    return golden["variants"][variant], golden["max_new_tokens"]


def cpu_topology(kind, topology):
    """Of the CPU engine that a CUDA engine is compared with."""
    return topology if kind in ("stored", "shares") else "tp=1"


def world(topology):
    sizes = dict(part.split("=") for part in topology.split(","))
    return int(sizes["tp"]) * int(sizes.get("pp", 1))


# -- Packing -----------------------------------------------------------------


def limits_of(kind, name, dtype):
    """(max sequence length, max batch)."""
    if kind in OF_NANO:
        return 128, len(greedy_rows(name)[0])
    if kind == "stored":
        return len(storages.PROMPT) + STORED_TOKENS, 1
    _, sequences = sequences_of(kind, name, dtype)
    return max(len(s[1]) for s in sequences) + 1, len(sequences)


def pack(args):
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = [t for t in tests() if re.search(args.only, file_name(*t))]
    jobs = [(*test, "sm_90a") for test in chosen]
    jobs += sorted({(kind, name, dtype, cpu_topology(kind, topology), "cpu")
                    for kind, name, dtype, topology in chosen
                    if kind not in OF_NANO})
    for name in sorted({name for kind, name, *_ in chosen if kind == "stored"}):
        make_stored(name, args.out)
    cache = ["--kernel-cache", args.kernel_cache] if args.kernel_cache else []
    start = time.time()
    for index, (*test, target) in enumerate(jobs):
        kind, name, dtype, topology = test
        if (args.out / f"{file_name(*test)}.{target}.saddle").exists():
            continue
        length, batch = limits_of(kind, name, dtype)
        # One decode bucket and one prefill bucket: fewer kernels to build.
        extra = ["--buckets", batch, *KINDS[kind][1],
                 *(cache if target != "cpu" else [])]
        compile_engine(args.bin / "saddle-compile", model_of(kind, name, args.out),
                       args.out / f"{file_name(*test)}.{target}.saddle", topology,
                       dtype, length, batch, min(length, 32), target, extra)
        print(f"{index + 1}/{len(jobs)} {time.time() - start:.0f} s "
              f"{file_name(*test)} {target}", file=sys.stderr)
    for tool in ("saddle-run", "saddle-bench"):
        shutil.copy2(args.bin / tool, args.out / tool)
    return 0


# -- Running -----------------------------------------------------------------


class Gpus:
    """Hands out GPUs, so that engines of several ranks run on GPUs of their own.

    Processes that share a GPU take turns of milliseconds on it. Ranks of one GPU
    have their turns together, but ranks of several wait for each other in every
    exchange while their turns do not meet. So a GPU takes several engines that need
    no other, or two that do: one loads while the other runs.
    """

    def __init__(self, count, engines_per_gpu):
        self.free = [engines_per_gpu] * count
        self.engines_per_gpu = engines_per_gpu
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, ranks):
        """The numbers of min(ranks, all) GPUs, as a list."""
        count = min(ranks, len(self.free))
        share = 1 if count == 1 else max(1, self.engines_per_gpu // 2)
        with self.changed:
            self.changed.wait_for(lambda: len(self.with_room(share)) >= count)
            mine = self.with_room(share)[:count]
            for gpu in mine:
                self.free[gpu] -= share
        try:
            yield mine
        finally:
            with self.changed:
                for gpu in mine:
                    self.free[gpu] += share
                self.changed.notify_all()

    def with_room(self, share):
        """GPUs with room for that many engines, the emptiest first."""
        return sorted((gpu for gpu, room in enumerate(self.free)
                       if room >= share), key=lambda gpu: -self.free[gpu])


def compare_texts(expected, found):
    """[(what, error, bound)]; raises Failure. found: new tokens of each prompt."""
    for row, tokens in zip(expected, found):
        wanted = row["new_ids"]
        if tokens != wanted:
            at = next((i for i, (a, b) in enumerate(zip(tokens, wanted))
                       if a != b), min(len(tokens), len(wanted)))
            raise Failure(f"{row['prompt']!r} differs from new token {at} on: "
                          f"{tokens[at:at + 8]}, expected {wanted[at:at + 8]}")
    return [(f"text of {len(expected)} prompts", 0.0, 0.0)]


class Runner:
    def __init__(self, args):
        self.pack = args.pack
        self.tmp = args.tmp
        self.end = time.time() + args.limit
        self.gpus = Gpus(args.gpus, args.engines_per_gpu)
        self.cpu_lock = threading.Lock()
        self.cpu = {}

    def engine(self, test, target):
        return self.pack / f"{file_name(*test)}.{target}.saddle"

    def execute(self, test, target, inputs, count, options, environment,
                with_logits=True, weights=None):
        """Of each sequence tokens and logits, or its new tokens only."""
        kind, name, _, _ = test
        first = (self.pack / "saddle-run", self.engine(test, target),
                 weights or model_of(kind, name, self.pack), inputs, count)
        last = ["--timeout", 20, *options], environment
        if not with_logits:
            return run_text(*first, *last)
        with tempfile.TemporaryDirectory(dir=self.tmp) as tmp:
            return run_engine(*first, pathlib.Path(tmp) / "logits.safetensors",
                              *last)

    def on_gpus(self, test, inputs, count, options=(), with_logits=True,
                weights=None):
        with self.gpus.take(world(test[3])) as gpus:
            if time.time() > self.end:
                raise Failure(OUT_OF_TIME)
            if len(gpus) < world(test[3]):
                options = [*options, "--share-devices"]
            return self.execute(
                test, "sm_90a", inputs, count, options,
                {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}, with_logits,
                weights)

    def on_cpu(self, test, mode, inputs, count):
        """Once for all topologies of a case that the same CPU engine stands for."""
        topology = cpu_topology(test[0], test[3])
        key = (*test[:3], topology, mode)
        with self.cpu_lock:
            is_first = key not in self.cpu
            if is_first:
                self.cpu[key] = concurrent.futures.Future()
            result = self.cpu[key]
        if is_first:
            try:
                result.set_result(self.execute((*test[:3], topology), "cpu", inputs,
                                               count, [], {}))
            except Failure as failure:
                result.set_exception(failure)
        return result.result()

    def parity(self, test, with_transformers=True):
        """[(what, error, bound)]; raises Failure."""
        test_kind, name, dtype, _ = test
        kind, sequences = sequences_of(test_kind, name, dtype)
        bound = parity.BOUNDS[kind] if with_transformers else FP8_CACHE_BOUNDS[dtype]
        if test_kind in ("against_f32", "sunk") and dtype == "bf16":
            bound = AGAINST_F32_BOUND
        done = []
        for mode in ("decode", "prefill"):
            decode = mode == "decode"
            inputs = [t[:n] if decode else t for n, t, _, _ in sequences]
            count = (len(sequences[0][1]) - sequences[0][0]) if decode else 1
            results = self.on_gpus(test, inputs, count)
            on_cpu = self.on_cpu(test, mode, inputs, count)
            for (tokens, logits), (cpu_tokens, cpu_logits), (
                    length, golden_tokens, golden, fp32) in zip(results, on_cpu,
                                                              sequences):
                start = length if decode else len(golden_tokens)
                lead = None if dtype == "f32" else fp32
                if with_transformers:
                    _, error = parity.compare(tokens, logits, golden_tokens,
                                              golden, start, bound, lead)
                    done.append((f"{mode}, transformers", error, bound))
                _, error = parity.compare(
                    tokens, logits, cpu_tokens[:len(golden_tokens)], cpu_logits,
                    start, bound, None if dtype == "f32" else cpu_logits)
                done.append((f"{mode}, CPU", error, bound))
        return done

    def stored(self, test):
        inputs, options = [storages.PROMPT], ["--ignore-eos"]
        exact = test[2] == "f32"
        bound = parity.BOUNDS["f32" if exact else "bf16_act"]
        done = []
        # Codes from a seed are made on the device, by other code than the host's.
        for what, weights in (("decode, CPU", None),
                              *([("synthetic, CPU", "synthetic:7")] if exact else [])):
            (tokens, logits), = self.on_gpus(test, inputs, STORED_TOKENS, options,
                                             weights=weights)
            (expected, reference), = self.execute(
                (*test[:3], cpu_topology(*test[::3])), "cpu", inputs,
                STORED_TOKENS, options, {}, weights=weights)
            _, error = parity.compare(tokens, logits, expected, reference,
                                      len(storages.PROMPT), bound,
                                      None if exact else reference)
            done.append((what, error, bound))
        return done

    def fp8_cache(self, test):
        return self.parity(test, with_transformers=False)

    def against_f32(self, test):
        return self.parity(test)

    def sunk(self, test):
        return self.parity(test)

    def shares(self, test):
        return self.parity(test)

    def greedy(self, test):
        expected, count = greedy_rows(test[1])
        results = self.on_gpus(test, [r["prompt"] for r in expected], count)
        return compare_texts(
            expected, [tokens[len(row["prompt_ids"]):]
                       for row, (tokens, _) in zip(expected, results)])

    def candidates(self, test):
        expected, count = greedy_rows(test[1])
        inputs = [row["prompt"] for row in expected]
        return compare_texts(expected, self.on_gpus(test, inputs, count,
                                                    with_logits=False))

    def run(self, test):
        """(comparisons, failure or None, seconds)."""
        start = time.time()
        try:
            done, failure = getattr(self, test[0])(test), None
        except Failure as error:
            done, failure = [], str(error)
        return done, failure, time.time() - start


def run(args):
    runner = Runner(args)
    chosen = [t for t in tests() if re.search(args.only, file_name(*t))
              and runner.engine(t, "sm_90a").exists()]
    # Engines that need many GPUs first: the others fill the gaps.
    chosen.sort(key=lambda test: -min(world(test[3]), args.gpus))
    if not chosen:
        print(f"{args.pack}: no engine of the list is here", file=sys.stderr)
        return 1
    report, failures = [], 0
    start = time.time()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        jobs = {pool.submit(runner.run, test): test for test in chosen}
        for job in concurrent.futures.as_completed(jobs):
            name = file_name(*jobs[job])
            done, failure, seconds = job.result()
            failures += failure is not None
            worst = {}
            for what, error, bound in done:
                worst[what] = (max(error, worst.get(what, (0, 0))[0]), bound)
            text = failure or "; ".join(f"{what} {error:.1e} <= {bound:g}"
                                        for what, (error, bound) in worst.items())
            print(f"{'FAILED' if failure else 'ok':6} {name}, {seconds:.1f} s: "
                  f"{text}", flush=True)
            errors = {what: {"error": error, "bound": bound}
                      for what, (error, bound) in worst.items()}
            report.append({"name": name, "failure": failure,
                           "seconds": round(seconds, 2), "errors": errors})
    late = sum(row["failure"] == OUT_OF_TIME for row in report)
    print(f"{len(chosen) - failures} of {len(chosen)} pass"
          f"{f', {late} did not run' if late else ''}, {time.time() - start:.0f} s")
    if args.json:
        report.sort(key=lambda row: row["name"])
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
    runner.add_argument("pack", type=lambda path: pathlib.Path(path).resolve())
    runner.add_argument("--gpus", type=int, default=1,
                        help="how many there are")
    runner.add_argument("--engines-per-gpu", type=int, default=4,
                        help="that run at once, if they need one GPU only")
    runner.add_argument("--jobs", type=int, default=16,
                        help="engines in work at once, on GPUs or in the queue")
    runner.add_argument("--limit", type=float, default=3600,
                        help="seconds; what has not begun by then fails")
    runner.add_argument("--json", type=pathlib.Path)
    runner.add_argument("--tmp", type=pathlib.Path)
    runner.set_defaults(command=run)
    for command in (packer, runner):
        command.add_argument("--only", default="",
                             help="tests whose name this regular expression finds")
    args = parser.parse_args()
    return args.command(args)


if __name__ == "__main__":
    sys.exit(main())
