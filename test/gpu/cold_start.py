#!/usr/bin/env python3
"""From nothing to the first token, by the size of what must be read.

For each ENGINE: packs weights of a seed in FOLDER, unless it holds them already, and
starts saddle-run on them, with the folder in the page cache and after it was dropped
from there. The time is from the start of the process to the first byte of its
output, the first token. Of that, saddle-run says what loading took (engine file,
devices, code, weights and their hashes) and what the prompt took; the rest is the
process, its end not counted. With two engines or more, a line through the times says
what a byte costs, what stays without any, and what `--share` bytes would take.

usage: cold_start.py --bin BIN --folder FOLDER [--share 60e9] ENGINE...
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time

STATS = re.compile(r"loaded in ([0-9.]+) s; prefill \d+ tokens in ([0-9.]+) s")


def weight_files(folder):
    return sorted(folder.glob("*.weights"))


def drop(folder):
    """Takes the folder's files out of the page cache."""
    for path in weight_files(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plain_read(folder):
    """Seconds that one thread takes to read the files, 16 MiB at a time."""
    buffer = bytearray(1 << 24)
    start = time.monotonic()
    for path in weight_files(folder):
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.monotonic() - start


def first_token(run, engine, folder, options):
    """{"first", "load", "prompt", "rest": seconds}"""
    command = [str(run), str(engine), "--weights", str(folder), "--tokens", "1,2,3,4",
               "--max-new-tokens", "2", "--ignore-eos", *options]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    byte = os.read(process.stdout.fileno(), 1)
    first = time.monotonic() - start
    _, errors = process.communicate()
    stats = STATS.search(errors.decode())
    if process.returncode or not byte or not stats:
        raise SystemExit(f"{engine.name}: saddle-run gave no token: {errors.decode()}")
    load, prompt = map(float, stats.groups())
    return {"first": first, "load": load, "prompt": prompt,
            "rest": first - load - prompt}


def line_through(points):
    """(seconds without bytes, seconds for each byte), by least squares."""
    xs, ys = zip(*points)
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = (sum((a - x) * (b - y) for a, b in points) /
             sum((a - x) ** 2 for a in xs))
    return y - slope * x, slope


def measure(args, engine):
    folder = args.folder / engine.stem
    if not weight_files(folder):
        args.folder.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        packed = subprocess.run([str(args.bin / "saddle-pack"), str(engine), "--weights",
                                 "synthetic:7", "-o", str(folder), "--no-verify"],
                                capture_output=True, text=True)
        if packed.returncode:
            raise SystemExit(f"{engine.name}: {packed.stderr.strip()}")
        print(f"{engine.stem}: packed in {time.monotonic() - start:.1f} s", flush=True)
    size = sum(path.stat().st_size for path in weight_files(folder))
    result = {"engine": engine.stem, "bytes": size}
    run = args.bin / "saddle-run"
    result["plain read"] = plain_read(folder)
    result["cached"] = first_token(run, engine, folder, args.options)
    drop(folder)
    result["dropped"] = first_token(run, engine, folder, args.options)
    return result


def report(results, share):
    lines = []
    for result in results:
        size = result["bytes"]
        lines.append(f"{result['engine']}: {size / 1e9:.2f} GB, read by one thread "
                     f"from the page cache {result['plain read']:.2f} s")
        for state in ("cached", "dropped"):
            times = result[state]
            lines.append(
                f"  {state:8} first token after {times['first']:.2f} s: loading "
                f"{times['load']:.2f} ({size / 1e9 / max(times['load'], 1e-9):.2f} "
                f"GB/s), prompt {times['prompt']:.3f}, rest {times['rest']:.2f}")
    if len({result["bytes"] for result in results}) > 1:
        for state in ("cached", "dropped"):
            without, each = line_through([(result["bytes"], result[state]["first"])
                                          for result in results])
            lines.append(f"{state}: {without:.2f} s and {each * 1e9:.3f} s/GB; "
                         f"{share / 1e9:.0f} GB by that line: "
                         f"{without + share * each:.1f} s")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--share", type=float, default=60e9)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--options", type=str.split, default=[],
                        help="of saddle-run, besides")
    parser.add_argument("engines", type=pathlib.Path, nargs="+")
    args = parser.parse_args()
    results = [measure(args, engine) for engine in args.engines]
    print(report(results, args.share))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
