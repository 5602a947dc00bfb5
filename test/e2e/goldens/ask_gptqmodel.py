#!/usr/bin/env python3
"""Whether GPTQModel packs as storage_formats.py does, bit for bit.

By hand: PYTHONPATH must have gptqmodel's sources (7.7.0, `pip download --no-deps
--no-binary :all:`, unpacked) and, each `pip install --no-deps`, logbar, accelerate,
threadpoolctl, device_smi, tokenicer, defuser, pillow, requests, urllib3 and certifi.
Its C binding `pcre` needs headers to build; packing does not use it, so Python's own
`re` stands in its place. Random matrices are quantised by storage_formats.py, and
what the codes mean is packed by the package's GPTQ and AWQ layers on a CPU: words of
codes, of zeros and scales must be equal, and so must be what GPTQModel reads back.
"""

import re
import sys
import types

import torch

pcre = types.ModuleType("pcre")
pcre.__dict__.update(vars(re))
pcre.Flag = type("Flag", (), {"MULTILINE": re.M, "CASELESS": re.I, "DOTALL": re.S})
sys.modules["pcre"] = pcre

from gptqmodel.nn_modules.qlinear.torch import TorchLinear  # noqa: E402
from gptqmodel.nn_modules.qlinear.torch_awq import AwqTorchLinear  # noqa: E402
from gptqmodel.quantization import FORMAT, QuantizeConfig  # noqa: E402
from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module  # noqa: E402

import storage_formats  # noqa: E402

GROUP = 32


def linear_of(weight):
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight
    return linear


def layer(kind, weight, bits, **more):
    return kind(bits=bits, group_size=GROUP, sym=False, desc_act=False,
                in_features=weight.shape[1], out_features=weight.shape[0],
                bias=False, **more)


def gptq(meant, scale, zero, bits):
    """What GPTQModel stores, and what it reads back from that."""
    theirs = layer(TorchLinear, meant, bits, format=FORMAT.GPTQ_V2)
    columns = torch.arange(meant.shape[1], dtype=torch.int32) // GROUP
    theirs.pack_original(linear_of(meant), scale.float(), zero, columns)
    theirs.post_init()
    back = theirs.dequantize_weight().T.float()
    # Files of the first version, with zeros less one, are what is published.
    convert_gptq_v2_to_v1_format_module(theirs,
                                        QuantizeConfig(bits=bits, group_size=GROUP))
    return {"qweight": theirs.qweight, "qzeros": theirs.qzeros,
            "scales": theirs.scales, "g_idx": theirs.g_idx}, back


def awq(meant, scale, zero, bits):
    theirs = layer(AwqTorchLinear, meant, bits)
    theirs.pack(linear_of(meant), scale, zero.float())
    back = theirs._dequantize_weight_for_inference(torch.zeros(1, 1).half(),
                                                   dtype=torch.float16)
    return {"qweight": theirs.qweight, "qzeros": theirs.qzeros,
            "scales": theirs.scales}, back.T.float()


def differences(name, weight):
    """Names of what is not equal."""
    bits, pack = {"gptq": (4, gptq), "gptq_int8": (8, gptq), "awq": (4, awq)}[name]
    ours, meant = getattr(storage_formats, name)(weight)
    _, zero, scale, _ = storage_formats.integers(weight, GROUP, bits)
    theirs, back = pack(meant, scale, zero, bits)
    found = [key for key in ours
             if not torch.equal(ours[key].contiguous(), theirs[key].contiguous())]
    # It multiplies in fp16.
    if not torch.equal(meant.half(), back.half()):
        found.append("meaning")
    return found


def main():
    failures = 0
    for seed, (rows, cols, spread) in enumerate(
            [(64, 64, 1.0), (192, 128, 0.02), (16, 3072, 30.0), (256, 1536, 1e-2)]):
        for name in ("gptq", "gptq_int8", "awq"):
            torch.manual_seed(seed)
            found = differences(name, torch.randn(rows, cols) * spread)
            failures += bool(found)
            print(f"{name}, {rows} x {cols}, spread {spread}: "
                  f"{'other ' + ', '.join(found) if found else 'equal'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
