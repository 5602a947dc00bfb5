#!/usr/bin/env python3
"""Speculation on GPUs: texts with and without a draft, and what a round takes.

`pack` compiles engines of the bundled model and of M2.5's shape, layers cut and weights
synthetic, beside the runtime's tools; `run` executes the folder on a machine with GPUs.
Texts of the bundled model, greedy and sampled, must be those of the engine without a
draft, with the host between steps and in chains of steps, and those of the CPU target in
fp32; what is drafted must not depend on chains. Of M2.5 the time of a decode step stands
beside that of a round, its parts, and the time of a token at fixed acceptances, each with
the host between steps and in chains. Python's standard library only.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
NANO = ROOT / "models/nano"
# Sizes of TorchSpec's draft for M2.5 (minimax_m25_eagle3.json): 48 KV heads. Its vocabulary
# is the shape's: whole there, 32,000 tokens in the draft that is published for M2.7.
M25_DRAFT = {
    "architectures": ["LlamaForCausalLMEagle3"], "dtype": "bfloat16",
    "hidden_size": 3072, "intermediate_size": 9216, "num_hidden_layers": 1,
    "num_attention_heads": 48, "num_key_value_heads": 48, "head_dim": 128,
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 5e6,
    "vocab_size": 200064,
    "eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 2, 3]},
}
PROMPTS = ["One day Mia the baker", "10 + 8 =", "Tom has three red apples.",
           "In summer the sun"]
TEXTS = [("f32", "tp=1"), ("bf16", "tp=1"), ("f32", "tp=2"), ("f32", "tp=1,pp=2"),
         ("f32", "tp=2,dp=2")]
SHAPES = {"tp1": ("tp=1", 4, 32000), "tp2": ("tp=2", 4, 32000),  # topology, layers, draft
          "tp1-whole": ("tp=1", 4, 200064)}
CHAINS = (1, 8, 32)  # steps without the host between them


def call(command, limit=600):
    result = subprocess.run([str(word) for word in command], text=True, timeout=limit,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {result.returncode}\n"
                           f"{result.stderr.strip()}")
    return result.stdout


def engine_name(dtype, topology, draft):
    return f"nano.{dtype}.{topology.replace('=', '').replace(',', '-')}" + (
        ".draft" if draft else "") + ".saddle"


def pack(args):
    args.out.mkdir(parents=True)
    for tool in ("saddle-run", "saddle-bench"):
        shutil.copy(args.bin / tool, args.out)
    if (args.bin / "SaddleKernelCheck").exists():
        shutil.copy(args.bin / "SaddleKernelCheck", args.out)
    shutil.copytree(NANO / "bf16", args.out / "bf16")
    shutil.copytree(args.draft, args.out / "draft")
    compiler = args.bin / "saddle-compile"
    for dtype, topology in TEXTS:
        if topology not in args.topologies:
            continue
        for draft in ([], ["--draft", args.draft, "--spec-tokens", 3]):
            call([compiler, NANO / "bf16", "--target", "sm_90a", "--compute-dtype", dtype,
                  "--topology", topology, "--max-batch", 4, "--candidates", 8, *draft,
                  "-o", args.out / engine_name(dtype, topology, draft)])
            print(engine_name(dtype, topology, draft), flush=True)
    # Without a GPU, and without a draft.
    call([compiler, NANO / "bf16", "--compute-dtype", "f32", "--max-batch", 4, "-o",
          args.out / "cpu.saddle"])
    for name, (topology, layers, vocab) in SHAPES.items():
        if name not in args.shapes:
            continue
        config = args.out / f"m25-draft.{vocab}.json"
        config.write_text(json.dumps({**M25_DRAFT, "draft_vocab_size": vocab}))
        layers = args.layers or layers
        call([compiler, ROOT / "models/configs/MiniMax-M2.5/config.json", "--target",
              "sm_90a", "--topology", topology, "--layers", layers, "--max-batch", 8,
              "--max-seq-len", 4096, "--prefill-chunk", 512, "--candidates", 8, "--draft",
              config, "--spec-tokens", 3, "-o", args.out / f"m25.{name}.saddle"])
        print(f"m25.{name}", flush=True)


def texts(args, engine, options):
    given = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    out = call([args.pack / "saddle-run", args.pack / engine, "--weights",
                args.pack / "bf16", "--json", "--max-new-tokens", 48, "--share-devices",
                "--timeout", 60, *given, *options])
    return json.loads(out)


def check_texts(args, dtype, topology, options, expected):
    """Texts with and without a draft, in chains of all lengths; raises or says how many."""
    drafts, count = None, 0
    with_draft = ["--draft-weights", args.pack / "draft"]
    for chain in CHAINS:
        for draft in (False, True):
            found = texts(args, engine_name(dtype, topology, draft),
                          [*options, "--chain", chain, *(with_draft if draft else [])])
            tokens = [each["tokens"] for each in found["prompts"]]
            expected = expected or tokens
            same = [a == b for a, b in zip(tokens, expected)]
            if not all(same):
                raise RuntimeError(f"chains of {chain}, draft {draft}: {sum(same)} of "
                                   f"{len(same)} texts identical")
            count += len(same)
            if draft:
                drafted = [each["drafts"] for each in found["prompts"]]
                if drafted != (drafts or drafted):
                    raise RuntimeError(f"chains of {chain} draft other tokens")
                drafts, rate = drafted, found["speculation"]["accepted_length"]
    return f"{count} texts identical, {rate:.2f} tokens a verification"


def run_texts(args):
    failures = 0
    on_cpu = texts(args, "cpu.saddle", [])
    for dtype, topology in TEXTS:
        if "2" in topology and args.gpus < 2 and not args.share:
            continue
        if not (args.pack / engine_name(dtype, topology, True)).exists():
            continue
        for options in ([], ["--temperature", 0.9, "--top-k", 8, "--seed", 3]):
            name = f"text {dtype} {topology} {'sampled' if options else 'greedy'}"
            expected = ([each["tokens"] for each in on_cpu["prompts"]]
                        if dtype == "f32" and not options else None)
            try:
                print(f"PASS {name}: "
                      f"{check_texts(args, dtype, topology, options, expected)}",
                      flush=True)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                failures += 1
                print(f"FAIL {name}: {error}", flush=True)
    return failures


def run_shapes(args):
    failures = 0
    for name, (topology, _, vocab) in SHAPES.items():
        if (name not in args.shapes or "2" in topology and args.gpus < 2
                or not (args.pack / f"m25.{name}.saddle").exists()):
            continue
        for acceptance, chain in ((0.6, 1), (0.6, 8), (0.8, 8)):
            try:
                out = call([args.pack / "saddle-bench", args.pack / f"m25.{name}.saddle",
                            "--weights", "synthetic:1", "--batch", "1,8", "--context",
                            "1024", "--prefill", "512", "--steps", 48, "--timeout", 60,
                            "--spec-acceptance", acceptance, "--chain", chain],
                           limit=args.limit)
                if args.json:
                    path = args.json.with_suffix(f".{name}.{acceptance}.{chain}.txt")
                    path.write_text(out)
                print(f"PASS M2.5, {topology}, draft of {vocab} tokens, acceptance "
                      f"{acceptance}, chains of {chain}:")
                for line in out.splitlines():
                    if line.startswith(("decode", "speculation", "        accepted",
                                        "        on the device", "        in chains")):
                        print("  " + line, flush=True)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                failures += 1
                print(f"FAIL M2.5 {topology} {acceptance}: {error}", flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("pack", help="compile, no GPU")
    one.add_argument("--bin", type=pathlib.Path, required=True)
    one.add_argument("--out", type=pathlib.Path, required=True)
    one.add_argument("--draft", type=pathlib.Path, default=NANO / "draft")
    topologies = sorted({topology for _, topology in TEXTS})
    one.add_argument("--topologies", nargs="*", default=topologies, choices=topologies,
                     help="of the bundled model")
    one.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    one.add_argument("--layers", type=int, help="of M2.5's shape")
    two = commands.add_parser("run", help="on a GPU machine")
    two.add_argument("pack", type=lambda path: pathlib.Path(path).resolve())
    two.add_argument("--gpus", type=int, default=1)
    two.add_argument("--share", action="store_true",
                     help="texts of several ranks also on one GPU")
    two.add_argument("--only", choices=("texts", "shapes"))
    two.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    two.add_argument("--limit", type=int, default=300, help="seconds of a measurement")
    two.add_argument("--json", type=pathlib.Path, help="beside it, whole reports")
    args = parser.parse_args()
    if args.command == "pack":
        return pack(args)
    failures = 0
    if args.only != "shapes":
        failures += run_texts(args)
    if args.only != "texts":
        failures += run_shapes(args)
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
