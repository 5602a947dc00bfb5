#!/usr/bin/env python3
"""Runs the fuzz targets on the seeds of the tree; prints executions and coverage.

    cmake --preset fuzz && cmake --build --preset fuzz -j2
    test/fuzz/run.py --bin build-fuzz/bin [--seconds 3600] [--corpus DIR] [--only NAME]

Each target runs so many seconds. With --corpus, what they find is kept there and is
where the next run begins. A crash leaves its input in the working folder, and its
name is printed; exit 1. Python's standard library only.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADER = 64  # bytes of an engine file before its FlatBuffer


def engines():
    for path in sorted((ROOT / "test/e2e/goldens/engines").glob("*.saddle")):
        data = path.read_bytes()
        size = int.from_bytes(data[16:24], "little")
        yield data[HEADER:HEADER + size]


def checkpoints():
    for path in sorted((ROOT / "test/e2e/goldens").glob("*/model*.safetensors")):
        data = path.read_bytes()
        header = int.from_bytes(data[:8], "little")
        if header < 1 << 13:
            yield data[:1 << 16]
    yield (b'{"weight_map": {"a": "model.safetensors"}}\0' +
           (61).to_bytes(8, "little") +
           b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}' + b"\0" * 4)


def configs():
    for path in sorted([*ROOT.glob("test/e2e/goldens/*/config.json"),
                        *ROOT.glob("models/configs/*/config.json")]):
        yield path.read_bytes()


def tokenizers():
    for path in sorted((ROOT / "test/unit/text/goldens").glob("*.json")):
        data = path.read_bytes()
        yield data[data.index(b'"tokenizer"') + 12:data.rindex(b'"cases"')].strip(b" ,:\n")


# target -> (seeds, longest input)
TARGETS = {"FuzzEngine": (engines, 1 << 17), "FuzzCheckpoint": (checkpoints, 1 << 16),
           "FuzzConfig": (configs, 1 << 14), "FuzzTokenizer": (tokenizers, 1 << 15)}


def run(args, name, folder):
    """A line of figures; False after a crash."""
    seeds, longest = TARGETS[name]
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [args.bin / name, f"-max_total_time={args.seconds}", f"-max_len={longest}",
               "-timeout=20", "-rss_limit_mb=4096", "-malloc_limit_mb=2048",
               "-print_final_stats=1", corpus]
    done = subprocess.run([str(part) for part in command], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    executions = re.search(r"number_of_executed_units: (\d+)", done.stdout)
    coverage = re.findall(r"cov: (\d+)", done.stdout)
    print(f"{'ok' if done.returncode == 0 else 'FAILED'} {name}: "
          f"{executions[1] if executions else '?'} executions, "
          f"{coverage[-1] if coverage else '?'} edges covered", flush=True)
    if done.returncode:
        print(done.stdout[-3000:])
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--corpus", type=pathlib.Path)
    parser.add_argument("--only", choices=TARGETS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.corpus or pathlib.Path(temporary)
        results = [run(args, name, folder) for name in TARGETS
                   if args.only in (None, name)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
