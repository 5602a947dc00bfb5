#!/usr/bin/env python3
"""Rewrites a bf16 MiniMax-M2 folder as the published FP8 form.

Every linear of attention and experts becomes e4m3 with one fp32 multiplier per
128x128 block (`weight_scale_inv`, grid ceil(rows/128) x ceil(cols/128)); gate,
correction bias, norms, embedding and lm_head stay as they are.

usage: quantize.py BF16_DIR FP8_DIR
"""

import argparse
import json
import pathlib
import re

import torch
from safetensors.torch import load_file, save_file

BLOCK = 128
QUANTISED = re.compile(r"(self_attn\.[qkvo]_proj|experts\.\d+\.w[123])\.weight$")
CONFIG = {
    "quant_method": "fp8", "fmt": "float8_e4m3fn", "activation_scheme": "dynamic",
    "weight_block_size": [BLOCK, BLOCK],
    "modules_to_not_convert": ["gate", "e_score_correction_bias", "lm_head"],
}


def blocks(shape):
    rows, cols = (-(-n // BLOCK) for n in shape)
    return [(i, j, slice(i * BLOCK, (i + 1) * BLOCK), slice(j * BLOCK, (j + 1) * BLOCK))
            for i in range(rows) for j in range(cols)]


def quantise(weight):
    """(e4m3 tensor, fp32 multipliers) of a matrix; a zero block has scale 1."""
    weight = weight.float()
    grid = [-(-n // BLOCK) for n in weight.shape]
    scale = torch.ones(grid)
    out = torch.empty(weight.shape, dtype=torch.float8_e4m3fn)
    for i, j, rows, cols in blocks(weight.shape):
        top = weight[rows, cols].abs().max()
        if top > 0:
            scale[i, j] = top / 448.0
        out[rows, cols] = (weight[rows, cols] / scale[i, j]).to(torch.float8_e4m3fn)
    return out, scale


def dequantise(weight, scale):
    """fp32 matrix: every e4m3 value times its block's multiplier, one rounding."""
    out = weight.float()
    for i, j, rows, cols in blocks(weight.shape):
        out[rows, cols] *= scale[i, j]
    return out


def quantise_state(state):
    out = {}
    for name, tensor in state.items():
        if QUANTISED.search(name):
            out[name], out[name + "_scale_inv"] = quantise(tensor)
        else:
            out[name] = tensor
    return out


def dequantise_state(state):
    out = {}
    for name, tensor in state.items():
        if name.endswith(("_scale_inv", "_scale")):
            continue
        scale = state.get(name + "_scale_inv")
        channels = state.get(name + "_scale")
        if scale is not None:
            out[name] = dequantise(tensor, scale)
        elif channels is not None:
            out[name] = tensor.float() * channels.float()
        else:
            out[name] = tensor.float()
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    args = parser.parse_args()
    args.target.mkdir(parents=True, exist_ok=True)
    state = load_file(args.source / "model.safetensors")
    save_file(quantise_state(state), args.target / "model.safetensors",
              metadata={"format": "pt"})
    config = json.loads((args.source / "config.json").read_text())
    config["quantization_config"] = CONFIG
    (args.target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        (args.target / name).write_text((args.source / name).read_text())


if __name__ == "__main__":
    main()
