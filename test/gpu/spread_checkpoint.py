#!/usr/bin/env python3
"""A checkpoint of normal values whose router spreads tokens over the experts.

    saddle-inspect ENGINE --json > engine.json              # where the engine was built
    spread_checkpoint.py engine.json config.json FOLDER     # on the GPU machine

Draws every tensor that the engine reads, in the order and with the types of its
recipes, on the GPU: independent normal values, so that tokens of a batch choose
experts independently, as they do with `--weights synthetic:SEED`. Made by other code
than those, so that one is a check of the other; and it times loading from files.
Needs PyTorch. A layer of M2.5 has 4 GB.
"""

import argparse
import json
import pathlib
import shutil

import torch

SAFETENSORS = {"bf16": "BF16", "f16": "F16", "f32": "F32", "f8e4m3": "F8_E4M3"}
TORCH = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32,
         "f8e4m3": torch.float8_e4m3fn}
WEIGHT = 0.02  # deviation of a projection's elements
CODE = 100     # of e4m3 codes, which reach 448; beyond, a cast gives NaN
ROUTER = 0.036  # logits of deviation 2 after a norm of 3072 columns


def draw(source, generator):
    name, shape, dtype = source["name"], source["shape"], source["dtype"]
    normal = lambda deviation: torch.randn(
        shape, generator=generator, device="cuda") * deviation
    if source["companion"] == "SCALE":
        return torch.full(shape, WEIGHT / CODE, device="cuda")
    if dtype == "f8e4m3":
        return normal(CODE).clamp(-440, 440)
    if name.endswith("norm.weight"):
        return torch.ones(shape, device="cuda")
    if name.endswith("e_score_correction_bias"):
        return torch.zeros(shape, device="cuda")
    if name.endswith("embed_tokens.weight"):
        return normal(1)
    return normal(ROUTER if name.endswith("gate.weight") else WEIGHT)


def members(sources):
    """The checkpoint's tensors: a stack stands for one of each number."""
    for source in sources:
        if source["ignored_reason"] is None:
            for i in range(source["stack"] or 1):
                yield {**source, "name": source["name"].replace("{}", str(i))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engine", type=pathlib.Path, help="saddle-inspect's JSON")
    parser.add_argument("config", type=pathlib.Path, help="the model's config.json")
    parser.add_argument("folder", type=pathlib.Path, help="is made")
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    tensors = list(members(json.loads(args.engine.read_text())["sources"]))
    header, offset = {}, 0
    for tensor in tensors:
        size = TORCH[tensor["dtype"]].itemsize * torch.Size(tensor["shape"]).numel()
        header[tensor["name"]] = {
            "dtype": SAFETENSORS[tensor["dtype"]], "shape": tensor["shape"],
            "data_offsets": [offset, offset + size]}
        offset += size
    args.folder.mkdir(parents=True)
    shutil.copy(args.config, args.folder / "config.json")
    text = json.dumps(header).encode()
    generator = torch.Generator("cuda").manual_seed(args.seed)
    with open(args.folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            values = draw(tensor, generator).to(TORCH[tensor["dtype"]])
            file.write(values.contiguous().view(torch.uint8).cpu().numpy().tobytes())


if __name__ == "__main__":
    main()
