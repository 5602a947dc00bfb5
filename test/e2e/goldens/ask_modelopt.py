#!/usr/bin/env python3
"""Whether ModelOpt quantises as storage_formats.py does, bit for bit.

By hand: PYTHONPATH must have nvidia-modelopt (0.47.0, `pip install --no-deps`, with
omegaconf, antlr4-python3-runtime 4.9.3, pulp, rich and pydantic); it runs on a CPU.
Random matrices of several sizes and spreads are quantised by both: codes, scales of
groups and of all must be equal, and so must be what they mean.
"""

import sys

import torch
from modelopt.torch.quantization.qtensor.nvfp4_tensor import NVFP4QTensor

import storage_formats


def differences(weight):
    """Names of what is not equal."""
    ours, meant = storage_formats.modelopt_nvfp4(weight)
    theirs, scale, whole = NVFP4QTensor.quantize(weight, 16, try_tensorrt=False)
    back = theirs.dequantize(dtype=torch.float32, scale=scale, double_scale=whole,
                             block_sizes={-1: 16})
    # Of a group of zeros the scale means nothing: it stores 1.
    used = storage_formats.groups(weight, 16).abs().amax(-1) > 0
    pairs = {"codes": (ours["weight"], theirs._quantized_data),
             "scales": (ours["weight_scale"].float()[used], scale.float()[used]),
             "scales of zeros": (torch.ones_like(scale.float())[~used],
                                 scale.float()[~used]),
             "scale of all": (ours["weight_scale_2"], whole.reshape(())),
             "meaning": (meant, back)}
    return [name for name, (a, b) in pairs.items() if not torch.equal(a, b)]


def main():
    failures = 0
    for seed, (rows, cols, spread) in enumerate(
            [(64, 64, 1.0), (192, 128, 0.02), (16, 3072, 30.0), (256, 1536, 1e-4)]):
        torch.manual_seed(seed)
        weight = torch.randn(rows, cols) * spread
        weight[rows // 2, :16] = 0  # a group of zeros
        found = differences(weight)
        failures += bool(found)
        print(f"{rows} x {cols}, spread {spread}: "
              f"{'other ' + ', '.join(found) if found else 'equal'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
