"""What the scripts that make goldens have in common: drawing weights, looking for
prompts, writing files. Changes here change no byte of what is committed, or the
goldens have to be made anew."""

import argparse
import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "models/nano/scripts"))
import oracle  # noqa: E402

NEW_TOKENS = 32
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


@torch.no_grad()
def draw_parameters(case, model, rng):
    """Norms in 0.5..1.5, matrices that keep activations near 1."""
    for name, p in model.named_parameters():
        if p.dim() == 1:
            p.copy_(torch.rand(p.shape, generator=rng) + 0.5)
            continue
        std = case.embed_std if "embed" in name else p.shape[-1] ** -0.5
        if "gate.weight" in name and "output" not in name:
            std *= case.gate_scale
        if "lm_head" in name:
            std *= 2
        p.copy_(torch.randn(p.shape, generator=rng) * std)


def find_paths(case, folder, seeds, make_models, choose):
    """(models, [(ids, note) of each prompt]) of the first seed that has a robust path
    for every prompt; make_models(seed) fills the folder."""
    for seed in range(seeds):
        if folder.exists():
            shutil.rmtree(folder)
        models = make_models(seed)
        found = []
        for length in case.prompts:
            found.append(choose(case, models, length, seed))
            if not found[-1]:
                break
        if all(found):
            return models, found
    raise SystemExit(f"{case.name}: no seed gives a robust path")


def path_tensors(case, model, found):
    """Of each prompt (suffix of its tensors, ids, note, exact logits), and the
    tensors that tell ids."""
    tensors, paths = {}, []
    for i, (length, (ids, note)) in enumerate(zip(case.prompts, found)):
        suffix = f".{i}" if len(case.prompts) > 1 else ""
        tensors["prompt" + suffix] = ids[:length].to(torch.int32)
        tensors["tokens" + suffix] = ids.to(torch.int32)
        exact = oracle.logits(model, ids)
        assert exact[length - 1:-1].argmax(-1).tolist() == ids[length:].tolist()
        paths.append((suffix, ids, note, exact))
    return tensors, paths


def write_case(case, folder, tensors, notes, bf16, fp8):
    save_file(tensors, folder / "goldens.safetensors")
    (folder / "case.json").write_text(json.dumps(
        {"about": case.about, "tp": list(case.tps), "bf16": bf16, "fp8": fp8,
         "sequences": notes}, indent=1) + "\n")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{case.name}: {size / 1e3:.0f} kB", json.dumps(notes), flush=True)


def make_all(about, cases, make):
    """The command line: OUT_DIR [CASE...]."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("case", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)  # the same sums on every machine size
    for case in cases:
        if not args.case or case.name in args.case:
            make(case, args.out)
