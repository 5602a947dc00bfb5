#!/usr/bin/env python3
"""The whole benchmark in one command: tables as Markdown and JSON.

`pack` compiles the engines on a machine with nvcc; `run`, on a GPU machine, times each
with saddle-bench beside its floors (the bytes over the memory's speed, or the operations
over the tensor cores'). Engines with more ranks than there are GPUs run rank 0 alone, its
exchanges looped back, and links are added from measured exchanges. Where PyTorch is there,
its products and attention of the same shapes run beside ours, and with two GPUs or more
NCCL's and its symmetric memory's all-reduce. Python's standard library only; the peers run
in processes of their own.
"""

import argparse
import ctypes.util
import datetime
import json
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(ROOT / "tools" / "saddle-bench"))  # in a pack it lies beside this file
import bench_runs  # noqa: E402
from bench_runs import Failure, execute  # noqa: E402

CONFIG = ROOT / "models" / "configs" / "MiniMax-M2.5" / "config.json"
# Topology, and layers where the model does not fit.
ENGINES = (("tp=1", 24), ("tp=2", 0), ("tp=4", 0), ("tp=8", 0), ("tp=8,ep=8", 0))


def pack(args):
    args.out.mkdir(parents=True, exist_ok=True)
    config = json.loads(args.config.read_text())
    engines = []
    for topology, layers in ENGINES:
        if args.topologies and topology not in args.topologies:
            continue
        layers = args.layers or layers
        name = args.config.parent.name + "." + topology.replace("=", "").replace(",", "-")
        command = [args.bin / "saddle-compile", args.config, "--target", "sm_90a",
                   "--topology", topology, "--candidates", 64, "--max-batch", 64,
                   "--buckets", "1,8,64", "--max-seq-len", args.max_seq_len,
                   "-o", args.out / f"{name}.saddle"]
        if layers:
            command += ["--layers", layers]
        if args.kernel_cache:
            command += ["--kernel-cache", args.kernel_cache]
        execute(command, 900)
        ranks = dict(part.split("=") for part in topology.split(","))
        engines.append({"name": name, "topology": topology, "ranks": int(ranks["tp"]),
                        "layers": layers or config["num_hidden_layers"]})
        print(f"{name}: compiled", flush=True)
    manifest = {"model": args.config.parent.name, "engines": engines,
                "hidden": config["hidden_size"], "heads": config["num_attention_heads"],
                "kv_heads": config["num_key_value_heads"], "head_dim": config["head_dim"]}
    (args.out / "benchmark.json").write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.copy2(args.bin / "saddle-bench", args.out)
    if (args.bin / "SaddleExchangeCheck").exists():
        shutil.copy2(args.bin / "SaddleExchangeCheck", args.out)
    for script in (__file__, bench_runs.__file__, HERE / "exchange_peers.py",
                   HERE / "product_peers.py"):
        shutil.copy2(script, args.out)
    return 0


def machine():
    """(GPUs, a line about them)."""
    gpus, name, driver = bench_runs.machine()
    return gpus, f"{gpus} x {name}, driver {driver}" if gpus else name


def has_torch():
    try:
        execute([sys.executable, "-c", "import torch; assert torch.cuda.is_available()"], 120)
        return True
    except Failure:
        return False


def nccl_library():
    """A name for dlopen, or None."""
    try:
        return execute([sys.executable, "-c", "import nvidia.nccl, pathlib; print(next("
                        "pathlib.Path(nvidia.nccl.__path__[0]).glob('lib/libnccl.so*')))"],
                       60)[0].strip()
    except Failure:
        return ctypes.util.find_library("nccl")


def measure(args, engine, gpus):
    """What saddle-bench says of an engine, with the Markdown of its budget."""
    budget = args.work / f"{engine['name']}.md"
    result = bench_runs.measure(args, f"{engine['name']}.saddle", engine["ranks"] > gpus,
                                budget)
    result["budgets"] = budget.read_text()
    return result


def product_cases(manifest, engine, result):
    """Shapes of the engine's linears and attention of prompts, with our times."""
    cases = []
    for prompt in result["prefill"]:
        tokens = prompt["tokens"]
        for row in prompt["budget"]:
            launches = row["launches"]
            case = {"name": f"{engine['name']}, {tokens} tokens, {row['place']}",
                    "ours": row["seconds"] * 1e6 / launches,
                    "floor": row["floor_seconds"] * 1e6 / launches}
            if row["op"] == "linear":
                other = row["operations"] / launches / 2 / tokens / manifest["hidden"]
                if other != int(other) or other < 64:
                    continue  # another number of rows: the head
                depth = manifest["hidden"]
                columns = int(other)
                if row["place"].endswith("o_proj"):
                    columns, depth = depth, columns
                kind = "e4m3" if row["operations_e4m3"] else "bf16"
                case.update(kind=kind, rows=tokens, columns=columns, depth=depth)
            elif row["op"] == "attention":
                ranks = engine["ranks"]
                case.update(kind="attention", tokens=tokens,
                            heads=manifest["heads"] // ranks,
                            kv_heads=max(1, manifest["kv_heads"] // ranks),
                            head_dim=manifest["head_dim"])
            else:
                continue
            cases.append(case)
    return cases


def run_peers(args, manifest, results, gpus):
    """Peers by kind; what could not run says why."""
    peers = {}
    cases = []
    for engine in manifest["engines"]:
        if engine["name"] in results:
            cases += product_cases(manifest, engine, results[engine["name"]])
    torch = has_torch()
    steps = []
    if torch and cases:
        file = args.work / "cases.json"
        file.write_text(json.dumps(cases))
        steps.append(("products", [sys.executable, args.pack / "product_peers.py", file]))
    if torch and gpus >= 2:
        steps.append(("all_reduce", [sys.executable, args.pack / "exchange_peers.py",
                                     "--gpus", gpus]))
    check = args.pack / "SaddleExchangeCheck"
    if check.exists() and gpus in (2, 4, 8):
        command = [check, "--bench", "--ranks", gpus, "--devices", gpus, "--blocks",
                   "32,64,128"]
        library = nccl_library()
        steps.append(("exchanges", command + (["--nccl", library] if library else [])))
    for name, command in steps:
        output = args.work / f"{name}.json"
        try:
            execute(command + ["--json", output], args.timeout)
            peers[name] = json.loads(output.read_text())
        except Failure as error:
            print(f"peer {name} did not run: {error}", file=sys.stderr, flush=True)
            peers[name] = {"failed": str(error)}
    if not torch:
        peers["missing"] = "PyTorch with CUDA"
    return peers


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def header(*cells):
    return [row(*cells), row(*["---"] * len(cells))]


def step_table(manifest, results, kind, label):
    lines = header("engine", label, "ms", "on the device", "of that floor", "links",
                   "predicted with links", "experts hit")
    for engine in manifest["engines"]:
        result = results.get(engine["name"])
        for entry in result[kind] if result else []:
            name = f"{engine['topology']}, {engine['layers']} layers"
            if "alone" in result:
                name += f", rank {result['alone']} alone"
            wall = entry.get("step_seconds", entry.get("seconds"))["median"]
            device = entry["device_seconds"]["median"]
            links = entry.get("link_seconds")
            lines.append(row(
                name, entry.get("batch", entry.get("tokens")),
                f"{wall * 1e3:.3f}" if links is None else "",
                f"{device * 1e3:.3f}",
                f"{entry['floor_seconds'] * 1e3:.3f} ({100 * entry['floor_seconds'] / device:.0f} %)",
                "" if links is None else f"{links * 1e3:.3f}",
                "" if links is None else f"**{entry['predicted_seconds'] * 1e3:.3f}**",
                f"{entry['routing']['hit']['mean']:.1f}" if "routing" in entry else ""))
    return lines


def exchange_table(peers):
    best = {}
    for entry in peers.get("exchanges", {}).get("results", []):
        if entry["op"] != "all_reduce_sum":
            continue
        who = "nccl" if entry["way"] == "nccl" else "ours"
        known = best.setdefault(entry["bytes"], {})
        known[who] = min(known.get(who, entry["us"]), entry["us"])
    for entry in peers.get("all_reduce", {}).get("all_reduce", []):
        times = [value for name, value in entry.items()
                 if name.startswith("symm_mem") and value is not None]
        known = best.setdefault(entry["bytes"], {})
        if times:
            known["torch"] = min(times)
        if entry.get("nccl") is not None:
            known.setdefault("nccl", entry["nccl"])
    lines = header("bytes", "ours, us", "NCCL", "PyTorch symmetric memory")
    for size in sorted(best):
        lines.append(row(size, *(f"{best[size][who]:.1f}" if who in best[size] else ""
                                 for who in ("ours", "nccl", "torch"))))
    return lines


def product_table(peers):
    lines = header("product", "shape", "floor us", "ours", "PyTorch")
    for case in peers["products"]["cases"]:
        shape = f"{case['tokens']} tokens, {case['heads']} heads" \
            if case["kind"] == "attention" else \
            f"{case['rows']} x {case['columns']} x {case['depth']} {case['kind']}"
        torch = "" if case["us"] is None else f"{case['us']:.1f}"
        lines.append(row(case["name"], shape, f"{case['floor']:.1f}", f"{case['ours']:.1f}",
                         torch))
    return lines


def markdown(report):
    manifest, results, peers = report["manifest"], report["results"], report["peers"]
    lines = [f"# {manifest['model']}: {report['machine']}, {report['date']}", "",
             f"{report['version']}; weights {report['weights']}, context {report['context']}. "
             "Floors: bytes of a launch over 4.6 TB/s or operations over 0.79 (bf16) and "
             "1.5 PFLOP/s (e4m3), launch by launch. Rows of a rank alone: its exchanges are "
             "looped back, and links are added from measured exchanges.", "",
             "## Decode", ""]
    lines += step_table(manifest, results, "decode", "batch")
    lines += ["", "## Prefill", ""]
    lines += step_table(manifest, results, "prefill", "tokens")
    if "results" in peers.get("exchanges", {}) or "all_reduce" in peers.get("all_reduce", {}):
        lines += ["", "## All-reduce of bf16", ""] + exchange_table(peers)
    if "cases" in peers.get("products", {}):
        lines += ["", "## Products and attention of prompts", "",
                  "Ours launch by launch in a traced step, with the encode of activations; "
                  "PyTorch's alone in a graph, with one scale for each row.", ""]
        lines += product_table(peers)
    missing = [f"{name}: {what['failed']}" for name, what in peers.items()
               if isinstance(what, dict) and "failed" in what]
    if "missing" in peers:
        missing.append(f"no peers but our own: this Python has no {peers['missing']}")
    failed = [f"{name}: {what}" for name, what in report["failed"].items()]
    if missing or failed:
        lines += ["", "## What did not run", ""] + [f"- {line}" for line in missing + failed]
    lines += ["", "## Budgets", ""]
    for result in results.values():
        lines.append(result["budgets"])
    return "\n".join(lines).rstrip() + "\n"


def run(args):
    manifest = json.loads((args.pack / "benchmark.json").read_text())
    gpus, name = machine()
    if args.gpus is not None:
        gpus = args.gpus
    args.work.mkdir(parents=True, exist_ok=True)
    results, failed = {}, {}
    for engine in manifest["engines"]:
        if args.only and engine["topology"] not in args.only:
            continue
        try:
            results[engine["name"]] = measure(args, engine, gpus)
            print(f"ok     {engine['name']}", flush=True)
        except Failure as error:
            failed[engine["name"]] = str(error)
            print(f"FAILED {engine['name']}: {error}", flush=True)
    report = {"machine": name, "date": datetime.date.today().isoformat(),
              "version": bench_runs.version(args.pack),
              "weights": args.weights, "context": args.context, "manifest": manifest,
              "results": results, "failed": failed,
              "peers": {} if args.no_peers else run_peers(args, manifest, results, gpus)}
    args.json.write_text(json.dumps(report, indent=1) + "\n")
    args.markdown.write_text(markdown(report))
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    packer = commands.add_parser("pack", help="compile; no GPU, needs nvcc")
    packer.add_argument("--bin", type=pathlib.Path, required=True)
    packer.add_argument("--out", type=pathlib.Path, required=True)
    packer.add_argument("--config", type=pathlib.Path, default=CONFIG)
    packer.add_argument("--topologies", nargs="+")
    packer.add_argument("--layers", type=int, help="of every engine; fewer than the model has")
    packer.add_argument("--max-seq-len", type=int, default=8448)
    packer.add_argument("--kernel-cache", type=pathlib.Path)
    packer.set_defaults(command=pack)
    runner = commands.add_parser("run", help="on a GPU machine")
    runner.add_argument("pack", type=lambda path: pathlib.Path(path).resolve())
    runner.add_argument("--markdown", type=pathlib.Path, default=pathlib.Path("benchmark.md"))
    runner.add_argument("--json", type=pathlib.Path, default=pathlib.Path("benchmark-results.json"))
    runner.add_argument("--work", type=pathlib.Path, default=pathlib.Path("benchmark-work"))
    runner.add_argument("--gpus", type=int, help="fewer than the machine has")
    runner.add_argument("--only", nargs="+", metavar="TOPOLOGY")
    runner.add_argument("--no-peers", action="store_true")
    bench_runs.add_options(runner, context="1024", kv_tokens=131072, steps=30, timeout=300)
    runner.set_defaults(command=run)
    args = parser.parse_args()
    return args.command(args)


if __name__ == "__main__":
    sys.exit(main())
