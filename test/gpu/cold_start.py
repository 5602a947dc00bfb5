#!/usr/bin/env python3
"""From nothing to the first token, by the size of what must be read.

For each ENGINE: packs weights of a seed in FOLDER, unless it holds them already, and
starts saddle-run on them, with the folder in the page cache and after it was dropped
from there. The time is from the start of the process to the first byte of its
output, the first token. Of that, saddle-run says what loading took (engine file,
devices, code, weights and their hashes) and what the prompt took; the rest is the
process, its end not counted. Beside it, in processes of their own: the start of a
process that does nothing, of one that opens the device, and a plain read of the same
bytes into pinned memory, by one thread and, from the page cache, by four. With two
engines or more, a line through the times says what a byte costs, what stays without
any, and what `--share` bytes would take. `--states cached` leaves the disk out, which
takes most of the time.

usage: cold_start.py --bin BIN --folder FOLDER [--share 60e9] [--states cached] ENGINE...
"""

import argparse
import concurrent.futures
import ctypes
import json
import os
import pathlib
import re
import subprocess
import sys
import time

STATS = re.compile(r"loaded in ([0-9.]+) s \(devices ([0-9.]+), memory ([0-9.]+), "
                   r"weights ([0-9.]+)\); prefill \d+ tokens in ([0-9.]+) s")
PIECE = 16 << 20


STATES = ("cached", "dropped")  # where the files are


def states_of(result):
    return [state for state in STATES if state in result]


def weight_files(folder):
    return sorted(folder.glob("*.weights"))


def drop(folder):
    """Takes the folder's files out of the page cache."""
    for path in weight_files(folder):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Device:
    """The first one, as a process that opens it has it; none without a driver."""

    def __init__(self):
        try:
            self.driver = ctypes.CDLL("libcuda.so.1")
        except OSError:
            self.driver = None
            return
        context = ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxSetCurrent", context)

    def call(self, name, *arguments):
        error = getattr(self.driver, name)(*arguments)
        if error:
            raise SystemExit(f"{name}: error {error}")

    def buffer(self, size):
        """Pinned memory, ordinary where there is no driver."""
        if not self.driver:
            return memoryview(bytearray(size))
        address = ctypes.c_void_p()
        self.call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), 0)
        return memoryview((ctypes.c_char * size).from_address(address.value)).cast("B")


def read_plainly(files, threads):
    """{"open", "read": seconds}: of the device and buffers, of the files."""
    start = time.monotonic()
    device = Device()
    buffers = [device.buffer(PIECE) for _ in range(threads)]
    opened = time.monotonic()
    pieces = [(path, offset) for path in files
              for offset in range(0, path.stat().st_size, PIECE)]

    def read(thread):
        at, file = None, -1
        for path, offset in pieces[thread::threads]:
            if path != at:
                if file >= 0:
                    os.close(file)
                at, file = path, os.open(path, os.O_RDONLY)
            view = buffers[thread]
            while view and (count := os.preadv(file, [view], offset)):
                view, offset = view[count:], offset + count
        if file >= 0:
            os.close(file)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, range(threads)))
    return {"open": opened - start, "read": time.monotonic() - opened}


def plain_read(folder, threads):
    """read_plainly of a folder, in a process of its own."""
    result = subprocess.run(
        [sys.executable, __file__, "--read", str(threads), "--bin", ".", "--folder",
         str(folder)], stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def process_start(run):
    """Seconds of a saddle-run that does nothing: the loader and libraries."""
    start = time.monotonic()
    subprocess.run([str(run), "--version"], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - start


def first_token(run, engine, folder, options):
    """{"first", "load", its parts, "prompt", "rest": seconds}"""
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
    load, devices, memory, weights, prompt = map(float, stats.groups())
    return {"first": first, "load": load, "devices": devices, "memory": memory,
            "weights": weights, "prompt": prompt, "rest": first - load - prompt}


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
    for state in args.states:
        if state == "dropped":
            drop(folder)
        else:  # what was written is not wholly there on a machine with little memory
            plain_read(folder, 4)
        result[state] = {"process": process_start(run),
                         **first_token(run, engine, folder, args.options)}
        if state == "dropped":
            drop(folder)
        else:
            result[state]["plain by four"] = plain_read(folder, 4)["read"]
        plain = plain_read(folder, 1)
        result[state] |= {"plain": plain["read"], "open": plain["open"]}
    return result


def report(results, share):
    lines = []
    for result in results:
        size = result["bytes"]

        def rate(seconds):
            return f"{size / 1e9 / max(seconds, 1e-9):.2f} GB/s"

        lines.append(f"{result['engine']}: {size / 1e9:.2f} GB")
        for state in states_of(result):
            times = result[state]
            lines.append(
                f"  {state:8} first token after {times['first']:.2f} s: loading "
                f"{times['load']:.2f} ({rate(times['load'])}; devices and code "
                f"{times['devices']:.2f}, memory and graphs {times['memory']:.2f}, "
                f"weights {times['weights']:.2f}), prompt "
                f"{times['prompt']:.3f}, rest {times['rest']:.2f}, of which a process "
                f"{times['process']:.3f}; the device alone {times['open']:.2f}")
            by_four = (f", by four threads {times['plain by four']:.2f} "
                       f"({rate(times['plain by four'])})"
                       if "plain by four" in times else "")
            lines.append(
                f"  {'':8} plain read into pinned memory {times['plain']:.2f} s "
                f"({rate(times['plain'])}){by_four}; loading is at "
                f"{times['plain'] / max(times['load'], 1e-9):.2f} of it, less the "
                f"device "
                f"{times['plain'] / max(times['load'] - times['open'], 1e-9):.2f}")
    if len({result["bytes"] for result in results}) > 1:
        for state in states_of(results[0]):
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
    parser.add_argument("--states", nargs="+", choices=STATES, default=STATES)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--options", type=str.split, default=[],
                        help="of saddle-run, besides")
    parser.add_argument("--read", type=int, help=argparse.SUPPRESS)
    parser.add_argument("engines", type=pathlib.Path, nargs="*")
    args = parser.parse_args()
    if args.read:
        print(json.dumps(read_plainly(weight_files(args.folder), args.read)))
        return 0
    results = [measure(args, engine) for engine in args.engines]
    print(report(results, args.share))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
