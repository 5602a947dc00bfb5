"""FP8 with one scale per output channel, as LLM Compressor saves it: e4m3 weights,
`weight_scale` [rows, 1] in bf16, activations quantised per token at run time.

A quantiser of its own: the scale is rounded to bf16 first, and codes are chosen for
the rounded scale.
"""

import torch

import quantize

CONFIG = {
    "config_groups": {
        "group_0": {
            "format": "float-quantized",
            "input_activations": {
                "actorder": None, "block_structure": None, "dynamic": True,
                "group_size": None, "num_bits": 8, "observer": None,
                "observer_kwargs": {}, "strategy": "token", "symmetric": True,
                "type": "float"},
            "output_activations": None,
            "targets": ["Linear"],
            "weights": {
                "actorder": None, "block_structure": None, "dynamic": False,
                "group_size": None, "num_bits": 8, "observer": "minmax",
                "observer_kwargs": {}, "strategy": "channel", "symmetric": True,
                "type": "float"}}},
    "format": "float-quantized", "global_compression_ratio": None,
    "ignore": ["lm_head", "gate"], "kv_cache_scheme": None,
    "quant_method": "compressed-tensors", "quantization_status": "compressed",
    "sparsity_config": {}, "transform_config": {}, "version": "0.12.2",
}


def quantise(weight):
    """(e4m3 tensor, bf16 multipliers [rows, 1]); a zero row has scale 1."""
    top = weight.float().abs().amax(1, keepdim=True)
    scale = torch.where(top > 0, top / 448.0, torch.ones_like(top)).bfloat16()
    codes = (weight.float() / scale.float()).clamp(-448, 448)
    return codes.to(torch.float8_e4m3fn), scale


def quantise_state(state):
    out = {}
    for name, tensor in state.items():
        if quantize.QUANTISED.search(name):
            out[name], out[name + "_scale"] = quantise(tensor)
        else:
            out[name] = tensor
    return out
