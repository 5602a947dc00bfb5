#!/usr/bin/env python3
"""The table of exchange times that saddle-bench --alone and --budget use.

From what SaddleExchangeCheck --bench wrote with links (docs/benchmarks/exchange-N.json)
and with one rank whose peers are itself (exchange-looped-N.json): of every op, group
and size the fastest way with the links, and the same way looped. Writes
tools/saddle-bench/LinkTimes.inc; with --check it only compares.
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
KINDS = {"all_reduce_sum": "SADDLE_EXCHANGE_SUM", "all_gather": "SADDLE_EXCHANGE_GATHER",
         "reduce_scatter": "SADDLE_EXCHANGE_SCATTER"}
HEADER = """// Made by test/gpu/link_times.py from docs/benchmarks/exchange-*.json; not edited.
// kind, ranks, bytes, microseconds linked, looped
"""


def best(results, way=None):
    """{(op, bytes): (us, way)}: the fewest microseconds over grids and ways."""
    fastest = {}
    for row in results:
        if row["way"] == "nccl" or (way and way.get((row["op"], row["bytes"])) != row["way"]):
            continue
        key = (row["op"], row["bytes"])
        if key not in fastest or row["us"] < fastest[key][0]:
            fastest[key] = (row["us"], row["way"])
    return fastest


def table(folder):
    lines = []
    for op, kind in KINDS.items():
        for linked_file in sorted(folder.glob("exchange-[0-9]*.json"),
                                  key=lambda path: int(path.stem.split("-")[1])):
            linked_run = json.loads(linked_file.read_text())
            ranks = linked_run["ranks"]
            looped_run = json.loads((folder / f"exchange-looped-{ranks}.json").read_text())
            linked = best(linked_run["results"])
            looped = best(looped_run["results"], {key: way for key, (_, way) in linked.items()})
            for key in sorted(linked):
                if key[0] == op and key in looped:
                    lines.append(f"{{{kind}, {ranks}, {key[1]}, {linked[key][0]:.3f}, "
                                 f"{looped[key][0]:.3f}}},\n")
    return HEADER + "".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    target = ROOT / "tools" / "saddle-bench" / "LinkTimes.inc"
    text = table(ROOT / "docs" / "benchmarks")
    if not args.check:
        target.write_text(text)
        return 0
    if target.read_text() == text:
        return 0
    print(f"{target} is not what docs/benchmarks/exchange-*.json give; run {__file__}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
