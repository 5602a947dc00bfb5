#!/usr/bin/env python3
"""Microseconds of PyTorch's products and attention at given shapes.

The yardstick for our linears and attention of prompts, on one GPU: many calls in one
CUDA graph, over several sets of weights larger than the L2 cache, median of replays.
fp8 products are torch._scaled_mm with one scale for each row, which is less work than
the model's blocks of 128. Needs PyTorch with CUDA.

Reads a JSON list of {"name", "kind": "e4m3" | "bf16" | "attention", ...} with "rows",
"columns", "depth" of a product or "tokens", "heads", "kv_heads", "head_dim"; writes the
same with "us".
"""

import argparse
import json
import statistics
import sys

import torch
import torch.nn.functional as functional

REPLAYS, CALLS = 10, 10
CACHE_BYTES = 100 << 20


def product(case):
    rows, columns, depth = case["rows"], case["columns"], case["depth"]
    is_e4m3 = case["kind"] == "e4m3"
    sets = max(1, min(16, CACHE_BYTES // (columns * depth * (1 if is_e4m3 else 2))))
    x = torch.randn(rows, depth, device="cuda", dtype=torch.bfloat16)
    weights = [torch.randn(columns, depth, device="cuda", dtype=torch.bfloat16)
               for _ in range(sets)]
    if not is_e4m3:
        return [lambda w=w: functional.linear(x, w) for w in weights]
    x = x.to(torch.float8_e4m3fn)
    weights = [w.to(torch.float8_e4m3fn).t() for w in weights]
    scale_x = torch.ones(rows, 1, device="cuda")
    scale_w = torch.ones(1, columns, device="cuda")
    return [lambda w=w: torch._scaled_mm(x, w, scale_x, scale_w, out_dtype=torch.bfloat16)
            for w in weights]


def attention(case):
    tokens, dim = case["tokens"], case["head_dim"]
    q, k, v = (torch.randn(1, heads, tokens, dim, device="cuda", dtype=torch.bfloat16)
               for heads in (case["heads"], case["kv_heads"], case["kv_heads"]))
    return [lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=True,
                                                            enable_gqa=True)]


def microseconds(calls):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for call in calls:
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for i in range(CALLS):
            calls[i % len(calls)]()
    times = []
    for _ in range(REPLAYS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) * 1000 / CALLS)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases")
    parser.add_argument("--json", required=True)
    args = parser.parse_args()
    with open(args.cases) as file:
        cases = json.load(file)
    for case in cases:
        try:
            calls = attention(case) if case["kind"] == "attention" else product(case)
            case["us"] = round(microseconds(calls), 2)
        except RuntimeError as error:
            case["us"] = None
            print(f"{case['name']}: {error}", file=sys.stderr)
    with open(args.json, "w") as file:
        json.dump({"torch": torch.__version__, "cases": cases}, file, indent=1)
        file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
