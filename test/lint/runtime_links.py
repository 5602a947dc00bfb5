"""The runtime's tools carry no LLVM: neither a shared library, directly or
through another one, nor symbols of a static one."""

import argparse
import re
import subprocess

import common

LIBRARY = re.compile(r"\blib(?:LLVM|MLIR|clang)[-.\w]*\.so[.\d]*")
SYMBOLS = (b"_ZN4llvm", b"_ZN4mlir", b"_ZNK4llvm", b"_ZNK4mlir")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ldd", default="ldd")
    parser.add_argument("binaries", nargs="+")
    args = parser.parse_args()
    problems = []
    for binary in args.binaries:
        listing = subprocess.run([args.ldd, binary], capture_output=True, text=True)
        if listing.returncode != 0:
            problems.append(f"{binary}: {args.ldd} reports: {listing.stderr.strip()}")
            continue
        for library in sorted(set(LIBRARY.findall(listing.stdout))):
            problems.append(f"{binary}: links {library}")
        with open(binary, "rb") as file:
            data = file.read()
        for symbol in SYMBOLS:
            if symbol in data:
                problems.append(f"{binary}: holds symbols {symbol.decode()}...")
    common.finish(problems)


if __name__ == "__main__":
    main()
