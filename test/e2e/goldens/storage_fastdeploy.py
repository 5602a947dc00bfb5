"""FastDeploy's quantised experts for make_storage_goldens.py, in numpy: what is
stored of the experts of a layer, under its names, and what that means in fp32.

Written from what FastDeploy does with its files (its Cutlass backend of w4a8 and
w4afp8, its Triton backend of tensor_wise_fp8): x is rounded as x / activation_scale,
codes of int4 stand in the upper half of a byte (16 q) or are the last bits of an e4m3
(q 2^-9), and what the product is multiplied by when it loads, weight_scale over
127 * 112 or 448 * 7 * 2^-9 and times activation_scale, leaves x times q weight_scale /
7. The input of down_proj, and with tensor_wise_fp8 that of up_gate_proj, is multiplied
by a Hadamard matrix of +1 and -1 before it is rounded, in groups of columns.
"""

import ml_dtypes
import numpy as np
import torch


def hadamard(size):
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def rotate(weight, size):
    """Each `size` columns of every row times the matrix."""
    rows, columns = weight.shape
    parts = weight.astype(np.float64).reshape(rows, columns // size, size)
    return (parts @ hadamard(size)).reshape(rows, columns)


def int4(weight, group):
    """Codes from -7 to 7, scales of rows or of groups of columns, values."""
    rows, columns = weight.shape
    parts = weight.reshape(rows, -1, group or columns)
    scale = np.abs(parts).max(-1).astype(np.float32)
    codes = np.clip(np.rint(parts / scale[..., None] * 7), -7, 7)
    values = (codes * (scale[..., None] / np.float32(7))).reshape(weight.shape)
    return codes.reshape(weight.shape).astype(np.int8), scale, values


def pack(codes):
    """[rows, columns] to bytes [columns / 2, rows], even columns in the low half."""
    bits = codes.T.view(np.uint8) & 15
    return (bits[0::2] | bits[1::2] << 4).view(np.int8)


def experts_int4(up_gate, down, group, rotation, static):
    stored, meant = {}, []
    for name, weight, size in (("up_gate_proj", up_gate, 0),
                               ("down_proj", down, rotation)):
        # (H x) (H w / size) is x w.
        source = rotate(weight, size) / size if size else weight
        codes, scale, values = int4(source, group)
        stored[f"{name}.quant_weight"] = pack(codes)
        stored[f"{name}.weight_scale"] = scale if group else scale[:, 0]
        if static:
            stored[f"{name}.activation_scale"] = np.array([3.5], np.float32)
        meant.append(rotate(values, size) if size else values)
    return stored, meant


def experts_fp8(up_gate, down):
    stored, meant = {}, []
    for name, weight in (("up_gate_proj", up_gate), ("down_proj", down)):
        source = rotate(weight, 32) / 32
        scale = np.float32(np.abs(source).max() / 448)
        codes = (source / scale).astype(ml_dtypes.float8_e4m3fn)
        stored[f"{name}.quant_weight"] = codes.T.copy().view(np.int8)
        stored[f"{name}.weight_scale"] = np.array([scale], np.float32)
        stored[f"{name}.activation_scale"] = np.array([0.25], np.float32)
        meant.append(rotate(codes.astype(np.float32) * scale, 32))
    return stored, meant


# name: (what is special, quantization_config, hidden and expert width, experts())
FORMATS = {
    "fastdeploy-w4a8": (
        "int4 of FastDeploy, scales of rows, down_proj rotated by 128",
        {"moe_quant_type": "w4a8"}, 64, 256,
        lambda up, down: experts_int4(up, down, 0, 128, True)),
    "fastdeploy-w4afp8": (
        "the same for e4m3 activations with static scales, rotated by 64",
        {"moe_quant_type": "w4afp8", "hadamard_block_size": 64}, 64, 128,
        lambda up, down: experts_int4(up, down, 0, 64, True)),
    "fastdeploy-w4afp8-dynamic": (
        "the same with scales of activations found at run time, groups of 128",
        {"moe_quant_type": "w4afp8", "moe_dynamic_quant": True}, 128, 256,
        lambda up, down: experts_int4(up, down, 128, 128, False)),
    "fastdeploy-fp8-tensor": (
        "FP8 of FastDeploy, one scale in all, rotated by 32",
        {"moe_quant_type": "tensor_wise_fp8"}, 64, 64, experts_fp8),
}


def config(name):
    return {"quantization": "mix_quant", "dense_quant_type": "none",
            "is_quantized": True, "is_permuted": False} | FORMATS[name][1]


def widths(name):
    return FORMATS[name][2:4]


def quantise(name, state):
    """(tensors of experts as stored, what they mean by their usual names)."""
    stored, meant = {}, {}
    for tensor, w1 in state.items():
        if not tensor.endswith(".w1.weight"):
            continue
        module = tensor[:-len(".w1.weight")]
        w2, w3 = (state[f"{module}.{w}.weight"].float().numpy()
                  for w in ("w2", "w3"))
        up_gate = np.concatenate([w1.float().numpy(), w3])
        parts, (up, down) = FORMATS[name][4](up_gate, w2)
        stored |= {f"{module}.{part}": torch.from_numpy(np.ascontiguousarray(data))
                   for part, data in parts.items()}
        values = dict(zip(("w1", "w3", "w2"), (*np.split(up, 2), down)))
        for w, value in values.items():
            meant[f"{module}.{w}.weight"] = torch.from_numpy(
                value.astype(np.float32))
    return stored, meant
