#!/usr/bin/env python3
"""saddle-tune: measures how products and attention are divided best, and writes the table
that saddle-compile divides them by (passes/Target/Sm90a/Tuned.json).

    saddle_tune.py pack --bin build/bin --out PACK CONFIG -- --topology tp=2 ...
    saddle_tune.py run PACK --table passes/Target/Sm90a/Tuned.json    # on a GPU
    saddle_tune.py check PACK                                         # on a GPU

`pack` needs no GPU: it compiles the model once for each candidate, of every product the
planner's choice, then each of its alternatives, of a launch with several products one at a
time. `run` steps through every engine with saddle-bench --budget and takes each launch's
time in steps whose launches run one by one, with the weights of other layers between, so
that none comes from the cache; engines with more ranks than GPUs run rank 0 alone. Passes
behind the first take those engines again that won somewhere. A candidate is taken when it
was faster than the planner's choice by more than --margin in every pass, over all batches
and contexts with that many tokens, and slower by so much in none of these; products that
the table holds and that were not measured stay. `check` times whole steps, as graphs, of an
engine compiled with the table beside the planner's, in turn; exit status 1 when one is
slower.

Python's standard library only.
"""

import argparse
import datetime
import json
import pathlib
import re
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "saddle-bench"))  # in a pack it lies beside this file
import bench_runs  # noqa: E402

MULTIPROCESSORS = 132
MORE_TOKENS = 256  # that a sequence may take while it is timed
REMARK = re.compile(r"kernel (\S+), (.+?): ([a-z]+(?: \d+)+), "
                    r"(?:candidate (\d+) of (\d+)|(measured .*))$")


def read_remarks(text):
    """(products by kernel, most candidates of a product) of saddle-compile --explain."""
    kernels, most = {}, 0
    for line in text.splitlines():
        match = REMARK.search(line)
        if not match:
            continue
        kernel, product, division, _, ways, _ = match.groups()
        kernels.setdefault(kernel, []).append({"product": product, "division": division})
        most = max(most, int(ways or 0))
    return kernels, most


def compile_engine(args, output, flags):
    command = [args.bin / "saddle-compile", args.model, "--target", "sm_90a", "--explain",
               "-o", output, *flags, *args.flags]
    _, remarks = bench_runs.execute(command, 900)
    return read_remarks(remarks)


def pack(args):
    args.out.mkdir(parents=True, exist_ok=True)
    engines, number, most = [], 0, 1
    while number < min(most, args.most):
        name = f"candidate-{number}.saddle"
        kernels, ways = compile_engine(args, args.out / name,
                                       ["--tuning-candidate", number])
        most = max(most, ways)
        engines.append({"file": name, "candidate": number, "kernels": kernels})
        print(f"{name}: {len(kernels)} kernels with products", flush=True)
        number += 1
    kernels, _ = compile_engine(args, args.out / "tuned.saddle", [])
    manifest = {"model": str(args.model), "flags": args.flags, "engines": engines,
                "tuned": kernels}
    (args.out / "tune.json").write_text(json.dumps(manifest, indent=1) + "\n")
    for file in (args.bin / "saddle-bench", __file__, bench_runs.__file__):
        shutil.copy2(file, args.out)
    return 0


def measure(args, engine, budget=None):
    """{name: entry} of an engine's decodes, each batch at the contexts that have pages for
    it, and prompts."""
    found = {}
    for number, context in enumerate(args.context.split(",")):
        batches = [batch for batch in args.batch.split(",")
                   if int(batch) * (int(context) + MORE_TOKENS) <= args.kv_tokens]
        if not batches:
            continue
        here = argparse.Namespace(**{**vars(args), "batch": ",".join(batches),
                                     "context": context})
        if number > 0:
            here.prefill = "1"  # no prompts again
        result = bench_runs.measure(here, engine, args.alone, budget)
        for entry in result["decode"]:
            found[f"decode {entry['batch']} at {entry['context']}"] = entry
        for entry in result["prefill"] if number == 0 else []:
            found[f"prefill {entry['tokens']}"] = entry
    return found


def times_of(engine, measured):
    """{(product, measurement): (division, microseconds of a launch)}."""
    sums = {}
    for name, entry in measured.items():
        for row in entry["budget"]:
            for part in engine["kernels"].get(row["kernel"], []):
                # One product may be in several kernels, with a norm and without.
                key = (part["product"], name)
                _, seconds, launches = sums.get(key, (None, 0, 0))
                sums[key] = (part["division"], seconds + row["seconds"],
                             launches + row["launches"])
    return {key: (division, seconds * 1e6 / launches)
            for key, (division, seconds, launches) in sums.items()}


def best_divisions(passes, margin):
    """{product: (candidate, row of the table)}. `passes`: of each pass over the engines
    {candidate: times_of}; those behind the first may lack some."""
    best = {}
    for product in sorted({product for product, _ in passes[0][0]}):
        names = [name for known, name in passes[0][0] if known == product]
        planned_division = passes[0][0][product, names[0]][0]

        def times(candidate):
            """Of each pass the times of the measurements; None when another product ran."""
            every = [each.get(candidate, {}) for each in passes]
            if any((product, name) not in found for found in every for name in names):
                return None
            return [[found[product, name][1] for name in names] for found in every]

        planned = times(0)
        for candidate in sorted(passes[0]):
            taken = times(candidate)
            if not taken:
                continue
            division = passes[0][candidate][product, names[0]][0]
            if division == planned_division:
                continue  # fewer candidates than other products have
            wins = all(sum(us) < (1 - margin) * sum(base)
                       for us, base in zip(taken, planned))
            loses = any(all(us[i] > (1 + margin) * base[i]
                            for us, base in zip(taken, planned))
                        for i in range(len(names)))
            least = min(sum(us) for us in taken) / len(names)
            if wins and not loses and \
                    (product not in best or least < best[product][1]["us"]):
                best[product] = (candidate, {
                    "product": product, "division": division, "us": round(least, 2),
                    "planned_us": round(min(sum(us) for us in planned) / len(names), 2)})
    return best


def merge(table, rows, measured):
    """The rows of a table with new ones in place of those that were measured again."""
    kept = [row for row in table.get("products", []) if row["product"] not in measured]
    return sorted(kept + rows, key=lambda row: row["product"])


def run(args):
    manifest = json.loads((args.pack / "tune.json").read_text())
    _, name, driver = bench_runs.machine()
    passes, best = [], {}
    for number in range(args.passes):
        hopeful = {0} | {candidate for candidate, _ in best.values()}
        passes.append({})
        for engine in manifest["engines"]:
            if number == 0 or engine["candidate"] in hopeful:
                measured = measure(args, engine["file"], args.pack / "budget.md")
                passes[-1][engine["candidate"]] = times_of(engine, measured)
        best = best_divisions(passes, args.margin)
    rows = [row for _, row in best.values()]
    measured = {product for product, _ in passes[0][0]}
    table = json.loads(args.table.read_text()) if args.table.exists() else {}
    table = {"machine": name, "driver": driver,
             "date": datetime.date.today().isoformat(),
             "multiprocessors": MULTIPROCESSORS, "version": bench_runs.version(args.pack),
             "products": merge(table, rows, measured)}
    args.table.write_text(json.dumps(table, indent=1) + "\n")
    print(f"{len(measured)} products measured, {len(rows)} divided otherwise than planned")
    for row in rows:
        print(f"  {row['product']}: {row['division']}, {row['us']} us instead of "
              f"{row['planned_us']}")
    if args.times:
        args.times.write_text(json.dumps(
            [{str(candidate): [[*key, *value] for key, value in times.items()]
              for candidate, times in each.items()} for each in passes], indent=1) + "\n")
    return 0


def check(args):
    steps = {}
    for _ in range(args.passes):
        for engine in ("candidate-0.saddle", "tuned.saddle"):
            for name, entry in measure(args, engine).items():
                steps.setdefault(name, {}).setdefault(engine, []).append(
                    entry["device_seconds"]["median"])
    slower = 0
    for name, times in steps.items():
        planned, tuned = (min(times[engine]) * 1e3
                          for engine in ("candidate-0.saddle", "tuned.saddle"))
        is_slower = tuned > planned * (1 + args.margin)
        slower += is_slower
        print(f"{'SLOWER' if is_slower else 'ok':6} {name}: {tuned:.3f} ms, "
              f"{planned:.3f} as planned")
    return 1 if slower else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    packer = commands.add_parser("pack", help="compile the candidates; needs nvcc, no GPU")
    packer.add_argument("--bin", type=pathlib.Path, required=True)
    packer.add_argument("--out", type=pathlib.Path, required=True)
    packer.add_argument("--most", type=int, default=16, help="candidates")
    packer.add_argument("model", type=pathlib.Path)
    packer.add_argument("flags", nargs="*", help="of saddle-compile, behind --")
    packer.set_defaults(command=pack)
    for name, action, margin in (("run", run, 0.03), ("check", check, 0.01)):
        runner = commands.add_parser(name, help="on a GPU machine")
        runner.add_argument("pack", type=pathlib.Path)
        bench_runs.add_options(runner, context="1024,8192,32768", kv_tokens=320000, steps=10,
                               timeout=120)
        runner.add_argument("--passes", type=int, default=2)
        runner.add_argument("--margin", type=float, default=margin)
        runner.add_argument("--alone", action="store_true", help="rank 0 of several")
        runner.set_defaults(command=action)
        if name == "run":
            runner.add_argument("--table", type=pathlib.Path, default=pathlib.Path("Tuned.json"))
            runner.add_argument("--times", type=pathlib.Path, help="file for every time")
    args = parser.parse_args()
    try:
        return args.command(args)
    except bench_runs.Failure as error:
        print(f"saddle_tune: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
