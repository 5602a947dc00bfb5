"""Storage formats of make_storage_goldens.py: what is stored of a matrix, and what
that means in fp32. Nothing of the product is used."""

import torch

E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
KEPT = ["lm_head", "*.block_sparse_moe.gate"]


def scheme(**fields):
    return {"dynamic": False, "symmetric": True, **fields}


def compressed(format, weights, activations=None, ignore=("lm_head", "re:.*gate$")):
    return {"quant_method": "compressed-tensors", "format": format,
            "quantization_status": "compressed", "ignore": list(ignore),
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights,
                                          "input_activations": activations}}}


TOKENS = {"num_bits": 8, "type": "float", "strategy": "token", "symmetric": True,
          "dynamic": True}
INT4 = scheme(num_bits=4, type="int", strategy="group", group_size=32)
FP4 = scheme(num_bits=4, type="float", strategy="tensor_group", group_size=16)
MX4 = scheme(num_bits=4, type="float", strategy="group", group_size=32)
FP8 = scheme(num_bits=8, type="float", strategy="channel")
EXPERTS = "re:.*[.]experts[.].*"

# name: (what is special, quantization_config)
# Of the model of two layers.
MIXED_LAYERS = [
    f"model.layers.{layer}.{module}" for layer in range(2)
    for module in [f"self_attn.{p}_proj" for p in "qkvo"] +
    [f"block_sparse_moe.experts.{e}.w{w}" for e in range(4) for w in (1, 2, 3)]]

FORMATS = {
    "awq": ("AWQ int4, groups of 32, layer 0 and attention as they are", {
        "quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True,
        "version": "gemm", "modules_to_not_convert": [
            "self_attn", "block_sparse_moe.gate", "model.layers.0."]}),
    "gptq": ("GPTQ int4, groups of 32, zeros less one", {
        "quant_method": "gptq", "bits": 4, "group_size": 32, "sym": False,
        "desc_act": False, "checkpoint_format": "gptq"}),
    "gptq-int8": ("GPTQ int8, groups of 32, zeros less one", {
        "quant_method": "gptq", "bits": 8, "group_size": 32, "sym": False,
        "desc_act": False, "checkpoint_format": "gptq"}),
    "packed-int4-zeros": ("packed by compressed-tensors, with zero points",
                          compressed("pack-quantized", INT4 | {"symmetric": False})),
    "mxfp4": ("MXFP4 packed by compressed-tensors",
              compressed("mxfp4-pack-quantized", MX4)),
    "fp8-tensor": ("FP8, one scale in all", compressed(
        "float-quantized", scheme(num_bits=8, type="float", strategy="tensor"),
        TOKENS)),
    "fp8-block": ("FP8 blocks as compressed-tensors names them", compressed(
        "float-quantized",
        scheme(num_bits=8, type="float", strategy="block",
               block_structure=[128, 128]),
        TOKENS | {"strategy": "group", "group_size": 128})),
    "int8": ("int8, a scale for each row", compressed(
        "int-quantized", scheme(num_bits=8, type="int", strategy="channel"))),
    "mixed": ("experts in int4, attention in FP8 per channel", {
        "quant_method": "compressed-tensors", "format": "mixed-precision",
        "quantization_status": "compressed", "ignore": ["lm_head", "re:.*gate$"],
        "config_groups": {
            "group_0": {"targets": [EXPERTS], "format": "pack-quantized",
                        "weights": INT4, "input_activations": None},
            "group_1": {"targets": ["re:.*self_attn.*"],
                        "format": "float-quantized", "weights": FP8,
                        "input_activations": TOKENS}}}),
    "mxfp8-nvfp4": ("MXFP8 with experts in NVFP4", {
        "quant_method": "mxfp8", "weight_block_size": [1, 32],
        "activation_scheme": "dynamic", "moe_quant_algo": "NVFP4",
        "moe_quant_format": "nvfp4-pack-quantized", "group_size": 16,
        "ignored_layers": ["gate", "lm_head"]}),
    "modelopt-nvfp4": ("NVFP4 of ModelOpt, said in hf_quant_config.json", {
        "quant_algo": "NVFP4", "kv_cache_quant_algo": None, "group_size": 16,
        "exclude_modules": [*KEPT, "model.layers.*.self_attn*"]}),
    "modelopt-mixed": ("FP8 attention and NVFP4 experts of ModelOpt, said by groups "
                       "and by layers", {
        "config_groups": {
            f"group_{i}": {
                "input_activations": scheme, "weights": scheme,
                "targets": sorted(name for name in MIXED_LAYERS
                                  if ("attn" in name) == (i == 0))}
            for i, scheme in enumerate((
                {"dynamic": False, "num_bits": 8, "type": "float"},
                {"dynamic": False, "num_bits": 4, "type": "float",
                 "group_size": 16}))},
        "quantized_layers": {
            name: {"quant_algo": "FP8"} if "attn" in name else
            {"quant_algo": "NVFP4", "group_size": 16} for name in MIXED_LAYERS},
        "ignore": KEPT, "quant_algo": "MIXED_PRECISION",
        "producer": {"name": "modelopt"}, "quant_method": "modelopt"}),
    "quark": ("MXFP4 of Quark, attention as it is", {
        "quant_method": "quark", "exclude": [*KEPT, "re:.*self_attn.*"],
        "export": {"kv_cache_group": [], "pack_method": "reorder"},
        "global_quant_config": {
            "bias": None, "output_tensors": None, "target_device": None,
            "input_tensors": {"dtype": "fp4", "is_dynamic": True},
            "weight": {"ch_axis": -1, "dtype": "fp4", "group_size": 32,
                       "is_dynamic": False, "qscheme": "per_group",
                       "scale_format": "e8m0", "symmetric": None}},
        "layer_quant_config": {}, "layer_type_quant_config": {},
        "kv_cache_quant_config": {}, "quant_mode": "eager_mode"}),
    "modelslim": ("int8 of ModelSlim, said in quant_model_description.json", {}),
}


def about(name):
    return FORMATS[name][0] if name in FORMATS else name


def config(name):
    return FORMATS[name][1]


def side_file(name, stored):
    """(name, content) of the file beside config.json that says how it is stored."""
    if name == "modelopt-nvfp4":
        return "hf_quant_config.json", {"producer": {"name": "modelopt"},
                                        "quantization": config(name)}
    if name == "modelslim":
        int8 = {tensor[:-len(".weight")] for tensor, data in stored.items()
                if tensor.endswith(".weight") and data.dtype == torch.int8}
        return "quant_model_description.json", {
            "model_quant_type": "W8A8_DYNAMIC", "version": "1.0.0"} | {
            tensor: "W8A8_DYNAMIC" if tensor.rsplit(".", 1)[0] in int8 else "FLOAT"
            for tensor in stored}
    return None


def keeps(name, module):
    """Whether the configuration leaves the module as it is."""
    attention = "self_attn" in module
    return (name == "awq" and (attention or "layers.0." in module)) or (
        name in ("modelopt-nvfp4", "quark") and attention)


def quantise(name, module, weight):
    """({name behind the module's: tensor}, what they mean)."""
    expert = "experts" in module
    if name == "mixed":
        name = "packed-int4" if expert else "fp8-channel"
    elif name == "mxfp8-nvfp4":
        name = "nvfp4" if expert else "mxfp8"
    elif name == "modelopt-mixed":
        name = "modelopt-nvfp4" if expert else "modelopt-fp8"
    return globals()[name.replace("-", "_")](weight.float())


def groups(weight, size):
    return weight.unflatten(-1, (-1, size))


def integers(weight, size, bits=4, signed=False):
    """Codes, zeros and f16 scales of groups of columns; codes are unsigned."""
    parts, top = groups(weight, size), (1 << bits) - 1
    low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
    scale = ((high - low) / top).half()
    zero = (-low / scale.float()).round().clamp(1, top)
    codes = (parts / scale.float()[..., None] + zero[..., None]).round().clamp(0, top)
    meant = (codes - zero[..., None]) * scale.float()[..., None]
    return codes.flatten(-2).int(), zero.int(), scale, meant.flatten(-2)


def words(codes, dim, order=range(8)):
    """As many codes along `dim` to a word of 32 bits as `order` has places; order[i]
    is that of code i."""
    count = len(order)
    parts = codes.unfold(dim, count, count).long()
    out = torch.zeros_like(parts[..., 0])
    for i, place in enumerate(order):
        out |= parts[..., i] << 32 // count * place
    return torch.where(out >= 1 << 31, out - (1 << 32), out).int()


def gptq(weight, bits=4):
    codes, zeros, scale, meant = integers(weight, 32, bits)
    order = range(32 // bits)
    return {"qweight": words(codes.T, 0, order),
            "qzeros": words(zeros.T - 1, 1, order), "scales": scale.T,
            "g_idx": (torch.arange(weight.shape[1]) // 32).int()}, meant


def gptq_int8(weight):
    return gptq(weight, 8)


def awq(weight):
    # From the lowest bits of a word on: values 0 2 4 6 1 3 5 7.
    order = [(0, 2, 4, 6, 1, 3, 5, 7).index(value) for value in range(8)]
    codes, zeros, scale, meant = integers(weight, 32)
    return {"qweight": words(codes.T, 1, order), "qzeros": words(zeros.T, 1, order),
            "scales": scale.T}, meant


def by_package(config, weight, scale, zero=None, global_scale=None):
    """compressed-tensors' own compressor; its values, unpacked by it, in fp32."""
    from compressed_tensors.compressors.mxfp4.base import MXFP4PackedCompressor
    from compressed_tensors.compressors.nvfp4.base import NVFP4PackedCompressor
    from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
    from compressed_tensors.compressors.pack_quantized import base, helpers
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**config))
    state = {"weight": weight, "weight_scale": scale}
    if zero is not None:
        state["weight_zero_point"] = zero
    if global_scale is not None:
        state["weight_global_scale"] = global_scale
    if config["type"] == "int":
        stored = base.PackedQuantizationCompressor.compress(state, scheme)
        codes = helpers.unpack_from_int32(stored["weight_packed"], 4, weight.shape)
    else:
        compressor = (NVFP4PackedCompressor if config["group_size"] == 16 else
                      MXFP4PackedCompressor)
        stored = compressor.compress(state, scheme)
        codes = unpack_fp4_from_uint8(stored["weight_packed"], *weight.shape,
                                      dtype=torch.float32)
    return stored, codes.float()


def spread(scale, size):
    return scale.float().repeat_interleave(size, -1)


def packed_int4(weight):
    scale = (groups(weight, 32).abs().amax(-1) / 7.5).bfloat16()
    stored, codes = by_package(INT4, weight, scale)
    return stored, codes * spread(scale, 32)


def packed_int4_zeros(weight):
    parts = groups(weight, 32)
    low, high = parts.amin(-1).clamp(max=0), parts.amax(-1).clamp(min=0)
    scale = ((high - low) / 15).bfloat16()
    zero = (-8 - low / scale.float()).round().clamp(-8, 7).to(torch.int8)
    stored, codes = by_package(INT4 | {"symmetric": False}, weight, scale, zero)
    return stored, (codes - spread(zero, 32)) * spread(scale, 32)


def nvfp4(weight):
    # What values are multiplied by before they are encoded.
    factor = (448 * 6 / weight.abs().max()).float().reshape(1)
    scale = (groups(weight, 16).abs().amax(-1) / 6 * factor).to(torch.float8_e4m3fn)
    stored, codes = by_package(FP4, weight, scale.float(), global_scale=factor)
    stored["weight_scale"] = scale
    stored["input_global_scale"] = torch.tensor([3.0])
    return stored, codes * spread(scale.float() / factor, 16)


def powers(weight, size, largest):
    """Exponents of powers of two under which a group's values fit."""
    top = groups(weight, size).abs().amax(-1)
    return (top.log2().floor() - largest).clamp(-127, 127)


def mxfp4(weight):
    exponent = powers(weight, 32, 2)
    stored, codes = by_package(MX4, weight, exponent.exp2())
    stored["weight_scale"] = (exponent + 127).to(torch.uint8)
    return stored, codes * spread(exponent.exp2(), 32)


def nearest_e2m1(values):
    """Codes of the nearest of the 16 numbers."""
    distance = (values.abs()[..., None] - E2M1).abs()
    return distance.argmin(-1) + 8 * (values < 0)


def quark(weight):
    exponent = powers(weight, 32, 2)
    scale = spread(exponent.exp2(), 32)
    codes = nearest_e2m1((weight / scale).clamp(-6, 6))
    signed = torch.cat([E2M1, -E2M1])[codes]
    return {"weight": (codes[:, ::2] | codes[:, 1::2] << 4).to(torch.uint8),
            "weight_scale": (exponent + 127).to(torch.uint8)}, signed * scale


def mxfp8(weight):
    exponent = powers(weight, 32, 8)
    scale = spread(exponent.exp2(), 32)
    codes = (weight / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale_inv": (exponent + 127).to(torch.uint8)}, \
        codes.float() * scale


def fp8_tensor(weight):
    scale = (weight.abs().max() / 448).bfloat16().reshape(1)
    codes = (weight / scale.float()).clamp(-448, 448).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale": scale}, codes.float() * scale.float()


def modelopt_fp8(weight):
    stored, _ = fp8_tensor(weight)
    scale = stored["weight_scale"].float().squeeze()
    return {"weight": stored["weight"], "weight_scale": scale,
            "input_scale": torch.tensor(0.25)}, stored["weight"].float() * scale


def fp8_channel(weight):
    scale = (weight.abs().amax(1, keepdim=True) / 448).bfloat16()
    codes = (weight / scale.float()).clamp(-448, 448).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale": scale}, codes.float() * scale.float()


def fp8_block(weight):
    rows, cols = (-(-n // 128) for n in weight.shape)
    scale = torch.empty(rows, cols)
    for i in range(rows):
        for j in range(cols):
            block = weight[i * 128:(i + 1) * 128, j * 128:(j + 1) * 128]
            scale[i, j] = block.abs().max() / 448
    scale = scale.bfloat16()
    whole = scale.float().repeat_interleave(128, 0).repeat_interleave(
        128, 1)[:weight.shape[0], :weight.shape[1]]
    codes = (weight / whole).clamp(-448, 448).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale": scale}, codes.float() * whole


def int8(weight):
    scale = (weight.abs().amax(1, keepdim=True) / 127).bfloat16()
    codes = (weight / scale.float()).round().clamp(-128, 127).to(torch.int8)
    return {"weight": codes, "weight_scale": scale}, codes.float() * scale.float()


def modelslim(weight):
    stored, _ = int8(weight)
    scale = stored["weight_scale"].float()
    return {"weight": stored["weight"], "weight_scale": scale,
            "weight_offset": torch.zeros_like(scale)}, \
        stored["weight"].float() * scale


def modelopt_nvfp4(weight):
    """Its scale of all is what codes are multiplied by."""
    factor = (weight.abs().max() / (448 * 6)).float()
    scale = (groups(weight, 16).abs().amax(-1) / 6 / factor).clamp(
        max=448).to(torch.float8_e4m3fn)
    whole = spread(scale.float() * factor, 16)
    safe = torch.where(whole > 0, whole, torch.ones_like(whole))
    codes = nearest_e2m1((weight / safe).clamp(-6, 6))
    signed = torch.cat([E2M1, -E2M1])[codes]
    return {"weight": (codes[:, ::2] | codes[:, 1::2] << 4).to(torch.uint8),
            "weight_scale": scale, "weight_scale_2": factor,
            "input_scale": torch.tensor(0.125)}, signed * whole
