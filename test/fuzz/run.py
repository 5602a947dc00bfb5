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
    for path in sorted((ROOT / "test/e2e/goldens/engines").rglob("*.saddle")):
        data = path.read_bytes()
        size = int.from_bytes(data[16:24], "little")
        yield data[HEADER:HEADER + size]


def checkpoints():
    for path in sorted((ROOT / "test/e2e/goldens").rglob("model*.safetensors")):
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


def topologies():
    for text in ("tp=1", "tp=8,dp=2,ep=4,pp=1", "pp=2,tp=65536", "tp=0", "tp=8,", "tp", "ep==2",
                 "tp=2,tp=2", "tp=-1", "dp= 2", "x=1", ""):
        yield text.encode()


def prompts():
    for first in b"\0\1":
        for lines in (b"one\ntwo\n", b"\xef\xbb\xbfa\r\nb c\r\n", b"a\n\nb", b"\r\n", b"\xff",
                      "w\u00f6rld \u4e2d [e~[ ]!p~[".encode(), b"a" * 100):
            yield bytes([first]) + lines
    for numbers in (b"1,2,3", b"-1", b"1,,2", b"99999999999999999999", b" 1 , 2", b"500"):
        yield b"\2" + numbers


# target -> (seeds, longest input)
TARGETS = {"FuzzEngine": (engines, 1 << 17), "FuzzCheckpoint": (checkpoints, 1 << 16),
           "FuzzConfig": (configs, 1 << 14), "FuzzTokenizer": (tokenizers, 1 << 15),
           "FuzzTopology": (topologies, 1 << 8), "FuzzPrompts": (prompts, 1 << 10)}
# Those that print notes about what they read: their standard error is closed.
NOISY = {"FuzzPrompts"}


def run(args, name, folder):
    """A line of figures; False after a crash."""
    seeds, longest = TARGETS[name]
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [args.bin / name, f"-max_total_time={args.seconds}", f"-max_len={longest}",
               "-timeout=20", "-rss_limit_mb=4096", "-malloc_limit_mb=2048",
               "-print_final_stats=1", f"-close_fd_mask={2 if name in NOISY else 0}",
               f"-artifact_prefix={args.artifacts}/", corpus]
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
    parser.add_argument("--artifacts", type=pathlib.Path, default=pathlib.Path("."),
                        help="folder for inputs that crash")
    parser.add_argument("--only", choices=TARGETS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.corpus or pathlib.Path(temporary)
        results = [run(args, name, folder) for name in TARGETS
                   if args.only in (None, name) and (args.bin / name).exists()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
