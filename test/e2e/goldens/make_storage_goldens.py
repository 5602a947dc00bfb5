#!/usr/bin/env python3
"""Makes tiny quantised checkpoints and transformers' logits of what they mean.

Each case stores a random MiniMax-M2 model in one format, with its published names
and layout. Its weights are then worked out by hand from what is stored, in fp32, and
put into transformers, whose logits are the goldens. What compressed-tensors packs is
packed by its own PyPI package (0.20.1, on a CPU). NVFP4 of ModelOpt, GPTQ and AWQ are
quantised and packed in torch, in storage_formats.py, bit for bit as packages of their
own do (ask_modelopt.py, ask_gptqmodel.py). Quark is not asked (it wants many packages
more): its format is rounded and packed in torch, too, from its description, and those
of FastDeploy in numpy, in storage_fastdeploy.py; both share nothing with the product.
PYTHONPATH must have compressed-tensors.

Scales of caches: attention of transformers gets keys and values as a cache in e4m3
gives them back, (x / scale) rounded to e4m3 times scale.

usage: make_storage_goldens.py OUT_DIR [CASE...]
"""

import argparse
import json
import pathlib
import re
import shutil
import sys
import tempfile

import torch
from safetensors.torch import save_file
from transformers import MiniMaxM2ForCausalLM
from transformers.models.minimax_m2 import modeling_minimax_m2 as library

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "models/nano/scripts"))
import oracle  # noqa: E402

import make_goldens  # noqa: E402
import storage_fastdeploy  # noqa: E402
import storage_formats  # noqa: E402
from cases import Case  # noqa: E402

QUANTISED = re.compile(r"(self_attn\.[qkvo]_proj|experts\.\d+\.w[123])\.weight$")
PROMPT = 16
KV_CASES = {"kv-scales": ("{}_proj.{}_scale", [])}


def case_of(name):
    hidden, width, about = 64, 64, storage_formats.about(name)
    if name in storage_fastdeploy.FORMATS:
        hidden, width = storage_fastdeploy.widths(name)
        about = storage_fastdeploy.FORMATS[name][0]
    return Case(name, about, 2, hidden, 4, 2, 32, 4, 2, width, 96, theta=1e4,
                bf16=False, margin=1e-2)


def original_state(case, seed):
    model = MiniMaxM2ForCausalLM(make_goldens.make_config(case)).eval()
    make_goldens.randomise(case, model, seed)
    with tempfile.TemporaryDirectory() as tmp:
        model.save_pretrained(tmp)
        config = json.loads((pathlib.Path(tmp) / "config.json").read_text())
        return oracle.load_state(tmp), config


def quantised(name, state):
    """(what is stored, what it means): both by names of the checkpoint."""
    stored, meant = {}, {}
    if name in storage_fastdeploy.FORMATS:
        stored, meant = storage_fastdeploy.quantise(name, state)
        for tensor, value in meant.items():
            check_rounding(tensor, value, state[tensor])
    for tensor, value in state.items():
        if tensor in meant:
            continue
        router = "e_score_correction_bias" in tensor or tensor.endswith("gate.weight")
        if not QUANTISED.search(tensor) or name in storage_fastdeploy.FORMATS:
            stored[tensor] = value if router else value.to(torch.bfloat16)
            meant[tensor] = stored[tensor].float()
            continue
        module = tensor[:-len(".weight")]
        if storage_formats.keeps(name, module):
            stored[tensor] = value.to(torch.bfloat16)
            meant[tensor] = stored[tensor].float()
            continue
        parts, meant[tensor] = storage_formats.quantise(name, module, value)
        stored |= {f"{module}.{part}": data.contiguous()
                   for part, data in parts.items()}
        assert meant[tensor].dtype == torch.float32
        check_rounding(tensor, meant[tensor], value)
    return stored, meant


def check_rounding(tensor, meant, value):
    """Rounding to a few bits, and nothing else, has happened."""
    assert (meant - value).abs().max() < 0.35 * value.abs().max(), tensor


def through_cache(x, scale):
    return (x / scale).to(torch.float8_e4m3fn).float() * scale


def use_scales(model, scales):
    """Keys and values of each layer as a cache in e4m3 gives them back."""
    for layer, (k_scale, v_scale) in zip(model.model.layers, scales):
        layer.self_attn.cache_scales = (k_scale, v_scale)
    plain = library.eager_attention_forward

    def attend(module, query, key, value, *rest, **more):
        k_scale, v_scale = module.cache_scales
        return plain(module, query, through_cache(key, k_scale),
                     through_cache(value, v_scale), *rest, **more)

    library.eager_attention_forward = attend
    model.config._attn_implementation = "eager"
    return plain


def make(name, out):
    case, folder = case_of(name), out / name
    for seed in range(200):
        if folder.exists():
            shutil.rmtree(folder)
        state, config = original_state(case, seed)
        config["dtype"] = "bfloat16"
        plain = None
        if name in KV_CASES:
            stored = {key: value.to(torch.bfloat16) for key, value in state.items()}
            meant = {key: value.float() for key, value in stored.items()}
            scales = [(0.0123 + 0.004 * i, 0.0071 + 0.003 * i)
                      for i in range(case.layers)]
            pattern, shape = KV_CASES[name]
            for i, pair in enumerate(scales):
                for letter, scale in zip("kv", pair):
                    stored[f"model.layers.{i}.self_attn." +
                           pattern.format(letter, letter)] = torch.full(
                               shape, scale, dtype=torch.float32)
        else:
            stored, meant = quantised(name, state)
            of = (storage_fastdeploy if name in storage_fastdeploy.FORMATS else
                  storage_formats)
            config["quantization_config"] = of.config(name)
        folder.mkdir(parents=True)
        save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        side = storage_formats.side_file(name, stored)
        if side:
            config.pop("quantization_config")
            (folder / side[0]).write_text(json.dumps(side[1], indent=1) + "\n")
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        with tempfile.TemporaryDirectory() as tmp:
            plain_config = {k: v for k, v in config.items()
                            if k != "quantization_config"} | {"dtype": "float32"}
            save_file(meant, pathlib.Path(tmp) / "model.safetensors",
                      metadata={"format": "pt"})
            (pathlib.Path(tmp) / "config.json").write_text(json.dumps(plain_config))
            model = oracle.load(tmp)
        if name in KV_CASES:
            plain = use_scales(model, [tuple(torch.tensor(s) for s in pair)
                                       for pair in scales])
        found = make_goldens.choose(case, {"f32": model}, PROMPT, seed)
        if found:
            ids, note = found
            exact = oracle.logits(model, ids)
        if plain:
            library.eager_attention_forward = plain
        if found:
            break
    else:
        raise SystemExit(f"{name}: no seed gives a robust path")
    save_file({"prompt": ids[:PROMPT].to(torch.int32),
               "tokens": ids.to(torch.int32),
               "logits_f32": exact.contiguous()}, folder / "goldens.safetensors")
    (folder / "case.json").write_text(json.dumps(
        {"about": case.about, "tp": [1, 2, 4], "bf16": False, "fp8": False,
         "sequences": [note]}, indent=1) + "\n")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name}: {size / 1e3:.0f} kB", json.dumps(note), flush=True)


def make_transformers(out):
    """As transformers 5 saves it without the original names: all experts of a layer
    in two tensors."""
    name = "saved-stacks"
    case, folder = case_of(name), out / name
    if folder.exists():
        shutil.rmtree(folder)
    for seed in range(200):
        model = MiniMaxM2ForCausalLM(make_goldens.make_config(case)).eval()
        make_goldens.randomise(case, model, seed)
        found = make_goldens.choose(case, {"f32": model}, PROMPT, seed)
        if found:
            break
    ids, note = found
    model.save_pretrained(folder, save_original_format=False)
    (folder / "generation_config.json").unlink(missing_ok=True)
    save_file({"prompt": ids[:PROMPT].to(torch.int32),
               "tokens": ids.to(torch.int32),
               "logits_f32": oracle.logits(model, ids).contiguous()},
              folder / "goldens.safetensors")
    (folder / "case.json").write_text(json.dumps(
        {"about": "saved by transformers 5 with save_original_format=False",
         "tp": [1, 2, 4], "bf16": False, "fp8": False, "sequences": [note]},
        indent=1) + "\n")
    print(name, json.dumps(note), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("case", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)  # the same sums on every machine size
    names = [*storage_formats.FORMATS, *storage_fastdeploy.FORMATS, *KV_CASES]
    for name in names:
        if not args.case or name in args.case:
            make(name, args.out)
    if not args.case or "saved-stacks" in args.case:
        make_transformers(args.out)
    for folder in args.out.iterdir():
        for file in folder.iterdir():
            file.chmod(0o644)


if __name__ == "__main__":
    main()
