#!/usr/bin/env python3
"""Microseconds of an all-reduce in NCCL and in PyTorch's symmetric memory.

The yardstick for our own exchange kernels, measured the same way: bf16 sums over
all GPUs of the machine, many calls in one CUDA graph, median of replays, slowest
rank. NVLink multicast is off in both. Needs PyTorch with CUDA.
"""

import argparse
import json
import os
import statistics
import sys

# Read when the libraries start, so before the import.
os.environ["NCCL_NVLS_ENABLE"] = "0"
os.environ["TORCH_SYMM_MEM_DISABLE_MULTICAST"] = "1"

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import torch.distributed._symmetric_memory as symm_mem  # noqa: E402
import torch.multiprocessing as mp  # noqa: E402

SIZES = [8, 64, 1 << 10, 6 << 10, 16 << 10, 48 << 10, 96 << 10, 192 << 10,
         384 << 10, 1 << 20, 3 << 20, 12 << 20, 48 << 20, 64 << 20]
REPLAYS = 20


def graph_microseconds(call, calls):
    """Median time of one call, in a graph of `calls`."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(calls):
            call()
    times = []
    for _ in range(REPLAYS):
        dist.barrier()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) * 1000 / calls)
    return statistics.median(times)


def slowest(value):
    tensor = torch.tensor([value], device="cuda")
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return tensor.item()


def methods(size):
    """name -> a call that reduces `size` bytes in place."""
    group = dist.group.WORLD.group_name
    count = max(size // 2, 1)
    plain = torch.zeros(count, dtype=torch.bfloat16, device="cuda")
    shared = symm_mem.empty(max(count, 8), dtype=torch.bfloat16, device="cuda")
    symm_mem.rendezvous(shared, dist.group.WORLD)
    shared.zero_()
    part = shared[:count]
    found = {"nccl": lambda: dist.all_reduce(plain)}
    if size % 16 == 0:
        found["symm_mem_one_shot"] = \
            lambda: torch.ops.symm_mem.one_shot_all_reduce(part, "sum", group)
    if size % (16 * dist.get_world_size()) == 0:
        found["symm_mem_two_shot"] = \
            lambda: torch.ops.symm_mem.two_shot_all_reduce_(part, "sum", group)
    return found


def measure(rank, world, port, path):
    torch.cuda.set_device(rank)
    dist.init_process_group("nccl", init_method=f"tcp://127.0.0.1:{port}",
                            rank=rank, world_size=world,
                            device_id=torch.device("cuda", rank))
    table = []
    for size in SIZES:
        row = {"bytes": size}
        for name, call in methods(size).items():
            if "one_shot" in name and size > 12 << 20:
                continue
            try:
                time = graph_microseconds(call, 50 if size <= 1 << 20 else 5)
                row[name] = round(slowest(time), 2)
            except RuntimeError as error:
                row[name] = None
                if rank == 0:
                    print(f"{name}, {size} bytes: {error}", file=sys.stderr)
        table.append(row)
        if rank == 0:
            print(row, flush=True)
    if rank == 0:
        result = {"gpus": world, "torch": torch.__version__,
                  "nccl": ".".join(map(str, torch.cuda.nccl.version())),
                  "dtype": "bf16", "unit": "us", "all_reduce": table}
        with open(path, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", required=True)
    parser.add_argument("--gpus", type=int, default=torch.cuda.device_count())
    parser.add_argument("--port", type=int, default=29511)
    args = parser.parse_args()
    mp.spawn(measure, args=(args.gpus, args.port, args.json), nprocs=args.gpus)
    return 0


if __name__ == "__main__":
    sys.exit(main())
