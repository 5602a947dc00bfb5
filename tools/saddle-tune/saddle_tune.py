#!/usr/bin/env python3
"""saddle-tune: measures how products are divided best, and writes the table that
saddle-compile divides them by (passes/Target/Sm90a/Tuned.json).

    saddle_tune.py pack --bin build/bin --out PACK CONFIG -- --topology tp=2 ...
    saddle_tune.py run PACK --table passes/Target/Sm90a/Tuned.json    # on a GPU
    saddle_tune.py check PACK                                         # on a GPU

`pack` needs no GPU: it compiles the model once for each candidate, of every product the
planner's choice, then each of its alternatives. `run` steps through every engine with
saddle-bench --budget and takes each launch's time in steps whose launches run one by one,
with the weights of other layers between, so that none comes from the cache; engines with
more ranks than GPUs run rank 0 alone. A candidate is taken when it was faster than the
planner's choice by more than --margin in every pass; products that the table holds and
that were not measured stay. `check` times whole steps, as graphs, of an engine compiled
with the table beside the planner's, in turn; exit status 1 when one is slower.

Python's standard library only.
"""

import argparse
import datetime
import json
import pathlib
import re
import shutil
import subprocess
import sys

MULTIPROCESSORS = 132
REMARK = re.compile(r"kernel (\S+), (.+?): ((?:stream|tile)[ 0-9]+), "
                    r"(?:candidate (\d+) of (\d+)|(measured .*))$")


class Failure(Exception):
    pass


def execute(command, timeout=900):
    """(stdout, stderr) of a command that must succeed."""
    command = [str(part) for part in command]
    try:
        result = subprocess.run(command, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{command[0]}: {error}") from error
    if result.returncode:
        raise Failure(f"{' '.join(command)}: exit {result.returncode}: "
                      f"{result.stderr.strip()[-800:]}")
    return result.stdout, result.stderr


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
    _, remarks = execute([args.bin / "saddle-compile", args.model, "--target", "sm_90a",
                          "--explain", "-o", output, *flags, *args.flags])
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
    shutil.copy2(args.bin / "saddle-bench", args.out)
    shutil.copy2(__file__, args.out)
    return 0


def machine():
    """(GPUs, name, driver)."""
    try:
        lines = execute(["nvidia-smi", "--query-gpu=name,driver_version",
                         "--format=csv,noheader"], 60)[0].strip().splitlines()
    except Failure:
        return 0, "no GPU", "none"
    name, driver = (part.strip() for part in lines[0].split(","))
    return len(lines), name, driver


def bench(args, engine, extra=()):
    command = [args.pack / "saddle-bench", args.pack / engine, "--weights", args.weights,
               "--batch", args.batch, "--context", args.context, "--steps", args.steps,
               "--prefill", args.prefill, "--kv-tokens", args.kv_tokens, "--json", *extra]
    if args.alone:
        command += ["--alone", 0]
    return json.loads(execute(command, args.timeout)[0])


def measurements(result):
    """(name, entry) of every measurement."""
    for entry in result["decode"]:
        yield f"decode {entry['batch']}", entry
    for entry in result["prefill"]:
        yield f"prefill {entry['tokens']}", entry


def times_of(engine, result):
    """{(product, measurement): (division, microseconds of a launch)}."""
    sums = {}
    for name, entry in measurements(result):
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
    """Rows of the table. `passes`: of each pass over the engines {candidate: times_of}."""
    rows = []
    products = sorted({product for product, _ in passes[0][0]})
    for product in products:
        names = [name for known, name in passes[0][0] if known == product]

        def total(candidate, times):
            """Summed over the measurements; None when another product ran."""
            found = times.get(candidate, {})
            if any((product, name) not in found for name in names):
                return None
            return sum(found[product, name][1] for name in names)

        planned = [total(0, times) for times in passes]
        best = None
        for candidate in sorted(passes[0]):
            taken = [total(candidate, times) for times in passes]
            if candidate == 0 or None in taken:
                continue
            division = passes[0][candidate][product, names[0]][0]
            if division == passes[0][0][product, names[0]][0]:
                continue  # fewer candidates than other products have
            if all(us < (1 - margin) * base for us, base in zip(taken, planned)) and \
                    (best is None or min(taken) < best[0]):
                best = (min(taken), division)
        if best:
            rows.append({"product": product, "division": best[1],
                         "us": round(best[0] / len(names), 2),
                         "planned_us": round(min(planned) / len(names), 2)})
    return rows


def merge(table, rows, measured):
    """The rows of a table with new ones in place of those that were measured again."""
    kept = [row for row in table.get("products", []) if row["product"] not in measured]
    return sorted(kept + rows, key=lambda row: row["product"])


def run(args):
    manifest = json.loads((args.pack / "tune.json").read_text())
    _, name, driver = machine()
    passes = []
    for _ in range(args.passes):
        times = {}
        for engine in manifest["engines"]:
            result = bench(args, engine["file"], ["--budget", args.pack / "budget.md"])
            times[engine["candidate"]] = times_of(engine, result)
        passes.append(times)
    rows = best_divisions(passes, args.margin)
    measured = {product for product, _ in passes[0][0]}
    table = json.loads(args.table.read_text()) if args.table.exists() else {}
    version, _ = execute([args.pack / "saddle-bench", "--version"], 60)
    table = {"machine": name, "driver": driver,
             "date": datetime.date.today().isoformat(),
             "multiprocessors": MULTIPROCESSORS, "version": version.strip(),
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
            for name, entry in measurements(bench(args, engine)):
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
        runner.add_argument("--weights", default="synthetic:7")
        runner.add_argument("--batch", default="1,8,64")
        runner.add_argument("--context", default="512")
        runner.add_argument("--prefill", default="2048,8192")
        runner.add_argument("--kv-tokens", type=int, default=65536)
        runner.add_argument("--steps", type=int, default=10)
        runner.add_argument("--passes", type=int, default=2)
        runner.add_argument("--margin", type=float, default=margin)
        runner.add_argument("--alone", action="store_true", help="rank 0 of several")
        runner.add_argument("--timeout", type=int, default=120, help="seconds of an engine")
        runner.set_defaults(command=action)
        if name == "run":
            runner.add_argument("--table", type=pathlib.Path, default=pathlib.Path("Tuned.json"))
            runner.add_argument("--times", type=pathlib.Path, help="file for every time")
    args = parser.parse_args()
    return args.command(args)


if __name__ == "__main__":
    sys.exit(main())
