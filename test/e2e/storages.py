"""A stored weight means its values.

Makes a tiny checkpoint of random codes and scales for each storage format, and
another that holds the same values as F32. In fp32 mode both must give the same
bits, in every topology. What the values are is worked out here, from the formats'
definitions; transformers is not asked (goldens/ does that).

Standard library only.
"""

import argparse
import array
import functools
import json
import math
import pathlib
import random
import struct
import sys
import tempfile

from saddle_e2e import Failure, compile_engine, run_engine

CONFIG = {
    "architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2",
    "hidden_act": "silu", "hidden_size": 160, "num_hidden_layers": 2,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 24,
    "rotary_dim": 12, "rope_theta": 10000.0, "num_local_experts": 6,
    "num_experts_per_tok": 2, "intermediate_size": 96, "vocab_size": 96,
    "tie_word_embeddings": False, "rms_norm_eps": 1e-6,
    "max_position_embeddings": 64,
}
# A layer of linear attention and one of full attention.
CONFIGS = {"m2": CONFIG, "m1": CONFIG | {
    "architectures": ["MiniMaxM1ForCausalLM"], "model_type": "minimax_m1",
    "attn_type_list": [0, 1], "postnorm": True, "layernorm_mlp_alpha": 1.5}}
# One way to meet, so that costs of bytes do not choose for either.
MEET = ["--reduction", "all_reduce", "--experts", "masked", "--norm", "early"]
TOPOLOGIES = ("tp=1", "tp=2", "tp=4", "tp=2,ep=2", "tp=4,ep=2", "tp=2,pp=2")
PROMPT = [5, 17, 3, 90, 44, 8, 61]


@functools.cache
def e4m3(code):
    exponent, mantissa = code >> 3 & 15, code & 7
    value = (1 + mantissa / 8) * 2.0 ** (exponent - 7) if exponent else \
        mantissa / 8 * 2.0 ** -6
    return -value if code & 128 else value


def bf16(value):
    """The nearest bf16, as bits; for numbers, ties to even."""
    bits = array.array("I", array.array("f", [value]).tobytes())[0]
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16


@functools.cache
def wide(bits):
    return array.array("f", array.array("I", [bits << 16]).tobytes())[0]


def words(rows, bits, order=None):
    """Values that share words of 32 bits along each row, the first in the lowest
    bits unless `order` says the places."""
    per = 32 // bits
    order = order or range(per)
    data = array.array("I")
    for row in rows:
        for start in range(0, len(row), per):
            data.append(sum(value << bits * place for value, place in
                            zip(row[start:start + per], order)))
    return data


def f16(value):
    """The nearest f16, as bytes and as a number."""
    data = struct.pack("<e", value)
    return data, struct.unpack("<e", data)[0]


def single(value):
    """The nearest number of 32 bits."""
    return array.array("f", [value])[0]


E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
E2M1 += [-value for value in E2M1]


def pairs(codes):
    """Two codes to a byte, the first in the low half."""
    return bytes(low | high << 4 for low, high in zip(codes[::2], codes[1::2]))


class Folder:
    def __init__(self, path, config):
        self.path = path
        self.tensors = {}
        path.mkdir()
        (path / "config.json").write_text(json.dumps(config))

    def add(self, name, dtype, shape, data):
        self.tensors[name] = (dtype, shape, bytes(data) if isinstance(data, bytes)
                              else data.tobytes())

    def write(self):
        header, offset = {}, 0
        for name, (dtype, shape, blob) in self.tensors.items():
            header[name] = {"dtype": dtype, "shape": shape,
                            "data_offsets": [offset, offset + len(blob)]}
            offset += len(blob)
        text = json.dumps(header).encode()
        (self.path / "model.safetensors").write_bytes(
            len(text).to_bytes(8, "little") + text +
            b"".join(blob for _, _, blob in self.tensors.values()))


class Maker:
    """Writes both folders side by side."""

    def __init__(self, rng, name, tmp, family="m2"):
        """`name` is one of FORMATS or of WIDE_FORMATS."""
        self.rng, self.family, self.config = rng, family, CONFIGS[family]
        if name in WIDE_FORMATS:
            name, changes = WIDE_FORMATS[name]
            self.config = {**self.config, **WIDE}
        else:
            changes = {}
        quantisation, self.make_projection = FORMATS[name]
        self.quantisation = {**quantisation, **changes}
        self.stored = Folder(tmp / "stored", {
            **self.config, "dtype": "bfloat16",
            "quantization_config": self.quantisation})
        self.plain = Folder(tmp / "plain", {**self.config, "dtype": "float32"})

    def values(self, name, shape, centre=0.0, spread=1.0):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        data = array.array("f", (centre + self.rng.uniform(-spread, spread)
                                 for _ in range(count)))
        for folder in (self.stored, self.plain):
            folder.add(name, "F32", shape, data)

    def projection(self, module, rows, cols):
        if self.quantisation["quant_method"] == "awq" and any(
                part in module for part in
                self.quantisation.get("modules_to_not_convert", [])):
            self.values(module + ".weight", [rows, cols], 0, cols ** -0.5)
            return
        values = self.make_projection(self, module, rows, cols)
        self.plain.add(module + ".weight", "F32", [rows, cols],
                       array.array("f", values))

    def draw(self, cols, largest):
        """A scale under which a row's products stay near 1."""
        return self.rng.uniform(0.2, 2.0) * cols ** -0.5 / largest

    def e4m3_codes(self, count):
        """Numbers of any sign, as often below 1 as above it."""
        return bytes(self.rng.choices([c for c in range(256) if c & 127 < 127], k=count))

    def fp8_blocks(self, module, rows, cols):
        codes = self.e4m3_codes(rows * cols)
        grid = [-(-rows // 128), -(-cols // 128)]
        scales = array.array("f", (self.draw(cols, 64)
                                   for _ in range(grid[0] * grid[1])))
        self.stored.add(module + ".weight", "F8_E4M3", [rows, cols], codes)
        self.stored.add(module + ".weight_scale_inv", "F32", grid, scales)
        return (e4m3(codes[i * cols + j]) * scales[i // 128 * grid[1] + j // 128]
                for i in range(rows) for j in range(cols))

    def fp8_channels(self, module, rows, cols):
        """Scales of ModelOpt are a vector of F32."""
        modelopt = self.quantisation["quant_method"] == "modelopt"
        codes = self.e4m3_codes(rows * cols)
        bits = array.array("H", (bf16(self.draw(cols, 64)) for _ in range(rows)))
        self.stored.add(module + ".weight", "F8_E4M3", [rows, cols], codes)
        if modelopt:
            self.stored.add(module + ".weight_scale", "F32", [rows],
                            array.array("f", map(wide, bits)))
        else:
            self.stored.add(module + ".weight_scale", "BF16", [rows, 1], bits)
        return (e4m3(codes[i * cols + j]) * wide(bits[i])
                for i in range(rows) for j in range(cols))

    def integers(self, rows, cols, bits, group, symmetric):
        """Codes [rows][cols], zeros [rows][groups] and the bits of scales."""
        groups = -(-cols // group)
        codes = [self.rng.choices(range(1 << bits), k=cols) for _ in range(rows)]
        zeros = [[1 << bits - 1 if symmetric else self.rng.randrange(1 << bits)
                  for _ in range(groups)] for _ in range(rows)]
        return codes, zeros, groups

    def pack_quantized(self, module, rows, cols):
        scheme = self.scheme()
        bits, group = scheme["num_bits"], scheme.get("group_size", cols)
        codes, zeros, groups = self.integers(rows, cols, bits, group,
                                             scheme["symmetric"])
        scales = [[bf16(self.draw(cols, 1 << bits - 1)) for _ in range(groups)]
                  for _ in range(rows)]
        add, per = self.stored.add, 32 // bits
        add(module + ".weight_packed", "I32", [rows, -(-cols // per)],
            words(codes, bits))
        add(module + ".weight_scale", "BF16", [rows, groups],
            array.array("H", sum(scales, [])))
        add(module + ".weight_shape", "I64", [2], array.array("q", [rows, cols]))
        if not scheme["symmetric"]:
            # Packed along the rows.
            columns = [words([column], bits) for column in zip(*zeros)]
            add(module + ".weight_zero_point", "I32", [-(-rows // per), groups],
                array.array("I", (word for row in zip(*columns) for word in row)))
        return ((codes[i][j] - zeros[i][j // group]) * wide(scales[i][j // group])
                for i in range(rows) for j in range(cols))

    def gptq(self, module, rows, cols):
        """Everything has columns first; codes share words along them."""
        config = self.quantisation
        bits, group = config["bits"], config["group_size"]
        codes, zeros, groups = self.integers(rows, cols, bits, group,
                                             config["sym"])
        less = 0 if config.get("checkpoint_format") == "gptq_v2" else 1
        scales = [[f16(self.draw(cols, 1 << bits - 1)) for _ in range(groups)]
                  for _ in range(rows)]
        if less:  # a zero of 0 has no place less one
            zeros = [[max(zero, 1) for zero in row] for row in zeros]
        add, per = self.stored.add, 32 // bits
        columns = [words([row], bits) for row in codes]
        add(module + ".qweight", "I32", [cols // per, rows],
            array.array("I", (word for line in zip(*columns) for word in line)))
        add(module + ".qzeros", "I32", [groups, rows // per],
            words([[zero - less for zero in line] for line in zip(*zeros)], bits))
        add(module + ".scales", "F16", [groups, rows], b"".join(
            bits for line in zip(*scales) for bits, _ in line))
        add(module + ".g_idx", "I32", [cols],
            array.array("i", (j // group for j in range(cols))))
        return self.dequantised(codes, zeros, scales, group)

    def awq(self, module, rows, cols):
        """As GPTQ, but codes share words along the rows, in their order."""
        group = self.quantisation["group_size"]
        codes, zeros, groups = self.integers(rows, cols, 4, group, False)
        scales = [[f16(self.draw(cols, 8)) for _ in range(groups)]
                  for _ in range(rows)]
        # Eight values are written as 0 2 4 6 1 3 5 7, from the lowest bits on.
        written = [0, 2, 4, 6, 1, 3, 5, 7]
        order = [written.index(value) for value in range(8)]
        add = self.stored.add
        add(module + ".qweight", "I32", [cols, rows // 8],
            words(zip(*codes), 4, order))
        add(module + ".qzeros", "I32", [groups, rows // 8],
            words(zip(*zeros), 4, order))
        add(module + ".scales", "F16", [groups, rows], b"".join(
            bits for line in zip(*scales) for bits, _ in line))
        return self.dequantised(codes, zeros, scales, group)

    @staticmethod
    def dequantised(codes, zeros, scales, group):
        return ((code - zeros[i][j // group]) * scales[i][j // group][1]
                for i, row in enumerate(codes) for j, code in enumerate(row))

    def fp8_tensors(self, module, rows, cols):
        """One scale in all; ModelOpt writes it as a scalar, and one for
        activations beside it."""
        modelopt = self.quantisation["quant_method"] == "modelopt"
        codes = self.e4m3_codes(rows * cols)
        scale = single(self.draw(cols, 64))
        shape = [] if modelopt else [1]
        self.stored.add(module + ".weight", "F8_E4M3", [rows, cols], codes)
        self.stored.add(module + ".weight_scale", "F32", shape,
                        array.array("f", [scale]))
        if modelopt:
            self.stored.add(module + ".input_scale", "F32", shape,
                            array.array("f", [0.5]))
        return (e4m3(code) * scale for code in codes)

    def int8_channels(self, module, rows, cols):
        codes = self.rng.choices(range(-128, 128), k=rows * cols)
        scales = array.array("f", (self.draw(cols, 128) for _ in range(rows)))
        self.stored.add(module + ".weight", "I8", [rows, cols],
                        array.array("b", codes))
        self.stored.add(module + ".weight_scale", "F32", [rows, 1], scales)
        return (code * scales[i // cols] for i, code in enumerate(codes))

    def mxfp8(self, module, rows, cols):
        codes = self.e4m3_codes(rows * cols)
        powers = self.powers(rows * cols // 32, cols, 64)
        self.stored.add(module + ".weight", "F8_E4M3", [rows, cols], codes)
        self.stored.add(module + ".weight_scale_inv", "U8", [rows, cols // 32],
                        powers)
        return (e4m3(code) * 2.0 ** (powers[i // 32] - 127)
                for i, code in enumerate(codes))

    def mxfp4(self, module, rows, cols):
        codes = self.rng.choices(range(16), k=rows * cols)
        powers = self.powers(rows * cols // 32, cols, 4)
        self.stored.add(module + ".weight_packed", "U8", [rows, cols // 2],
                        pairs(codes))
        self.stored.add(module + ".weight_scale", "U8", [rows, cols // 32],
                        powers)
        return (E2M1[code] * 2.0 ** (powers[i // 32] - 127)
                for i, code in enumerate(codes))

    def nvfp4(self, module, rows, cols):
        """compressed-tensors divides by the scale of all, ModelOpt multiplies."""
        modelopt = self.quantisation["quant_method"] == "modelopt"
        codes = self.rng.choices(range(16), k=rows * cols)
        scales = bytes(self.rng.choices(range(1, 127), k=rows * cols // 16))
        factor = single(self.draw(cols, 64 * 4))
        shape = [] if modelopt else [1]
        stored = single(factor if modelopt else 1 / factor)
        names = (("weight", "weight_scale_2", "input_scale") if modelopt else
                 ("weight_packed", "weight_global_scale", "input_global_scale"))
        for name, dtype, dims, data in (
                (names[0], "U8", [rows, cols // 2], pairs(codes)),
                ("weight_scale", "F8_E4M3", [rows, cols // 16], scales),
                (names[1], "F32", shape, array.array("f", [stored])),
                (names[2], "F32", shape, array.array("f", [0.5]))):
            self.stored.add(f"{module}.{name}", dtype, dims, data)
        whole = [single(e4m3(scale) * stored if modelopt else
                        e4m3(scale) / stored) for scale in scales]
        return (E2M1[code] * whole[i // 16] for i, code in enumerate(codes))

    def powers(self, count, cols, largest):
        """Bytes of e8m0."""
        return bytes(127 + round(math.log2(self.draw(cols, largest)))
                     for _ in range(count))

    def scheme(self):
        return self.quantisation["config_groups"]["group_0"]["weights"]

    def make(self):
        c = self.config
        hidden, inner = c["hidden_size"], c["intermediate_size"]
        q = c["num_attention_heads"] * c["head_dim"]
        kv = c["num_key_value_heads"] * c["head_dim"]
        experts = c["num_local_experts"]
        self.values("model.embed_tokens.weight", [c["vocab_size"], hidden])
        self.values("model.norm.weight", [hidden], 1, 0.3)
        self.values("lm_head.weight", [c["vocab_size"], hidden], 0, 0.1)
        for layer in range(c["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            attention, moe = at + "self_attn.", at + "block_sparse_moe."
            self.values(at + "input_layernorm.weight", [hidden], 1, 0.3)
            self.values(at + "post_attention_layernorm.weight", [hidden], 1, 0.3)
            self.values(moe + "gate.weight", [experts, hidden], 0, 0.2)
            if self.family == "m2":
                self.values(attention + "q_norm.weight", [q], 1, 0.3)
                self.values(attention + "k_norm.weight", [kv], 1, 0.3)
                self.values(moe + "e_score_correction_bias", [experts], 0, 0.3)
            if self.family == "m1" and layer == 0:
                self.values(attention + "norm.weight", [q], 1, 0.3)
                self.projection(attention + "qkv_proj", 3 * q, hidden)
                self.projection(attention + "output_gate", q, hidden)
                self.projection(attention + "out_proj", hidden, q)
            else:
                self.projection(attention + "q_proj", q, hidden)
                self.projection(attention + "k_proj", kv, hidden)
                self.projection(attention + "v_proj", kv, hidden)
                self.projection(attention + "o_proj", hidden, q)
            for expert in range(experts):
                for name, rows, cols in (("w1", inner, hidden), ("w3", inner, hidden),
                                         ("w2", hidden, inner)):
                    self.projection(f"{moe}experts.{expert}.{name}", rows, cols)
        self.stored.write()
        self.plain.write()


SCHEME = {"num_bits": 8, "type": "float", "symmetric": True}
IGNORED = ["gate", "lm_head"]


def compressed(format, weights, activations=None, ignore=IGNORED):
    return {"quant_method": "compressed-tensors", "format": format,
            "quantization_status": "compressed", "ignore": ignore,
            "config_groups": {"group_0": {
                "targets": ["Linear"], "weights": {**weights, "dynamic": False},
                "input_activations": activations}}}


def integers(bits, symmetric, group=None):
    scheme = {"num_bits": bits, "type": "int", "symmetric": symmetric,
              "strategy": "group" if group else "channel"}
    return {**scheme, "group_size": group} if group else scheme


FORMATS = {
    "fp8-blocks": ({
        "quant_method": "fp8", "fmt": "float8_e4m3fn",
        "activation_scheme": "dynamic", "weight_block_size": [128, 128],
        "modules_to_not_convert": ["gate", "e_score_correction_bias", "lm_head"]},
        Maker.fp8_blocks),
    "fp8-channels": (compressed(
        "float-quantized", {**SCHEME, "strategy": "channel"},
        {**SCHEME, "strategy": "token", "dynamic": True}), Maker.fp8_channels),
    "fp8-tensors": (compressed(
        "float-quantized", {**SCHEME, "strategy": "tensor"},
        {**SCHEME, "strategy": "token", "dynamic": True}), Maker.fp8_tensors),
    "int8-channels": (compressed(
        "int-quantized", integers(8, True),
        {**integers(8, True), "strategy": "token", "dynamic": True}),
        Maker.int8_channels),
    "nvfp4": (compressed("nvfp4-pack-quantized", {
        "num_bits": 4, "type": "float", "strategy": "tensor_group",
        "group_size": 16, "symmetric": True}), Maker.nvfp4),
    "mxfp4": (compressed("mxfp4-pack-quantized", {
        "num_bits": 4, "type": "float", "strategy": "group", "group_size": 32,
        "symmetric": True}), Maker.mxfp4),
    "mxfp8": ({"quant_method": "mxfp8", "weight_block_size": [1, 32],
               "activation_scheme": "dynamic",
               "ignored_layers": ["gate", "lm_head"]}, Maker.mxfp8),
    "modelopt-fp8": ({"quant_method": "modelopt", "quant_algo": "FP8",
                      "ignore": ["lm_head", "*.block_sparse_moe.gate"]},
                     Maker.fp8_tensors),
    "modelopt-fp8-channels": ({
        "quant_method": "modelopt", "quant_algo": "FP8_PER_CHANNEL_PER_TOKEN",
        "ignore": ["lm_head", "*.block_sparse_moe.gate"]}, Maker.fp8_channels),
    "modelopt-nvfp4": ({
        "quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"],
        "config_groups": {"group_0": {
            "targets": ["Linear"], "weights": {
                "num_bits": 4, "type": "float", "group_size": 16,
                "dynamic": False}}}}, Maker.nvfp4),
    "packed-int4": (compressed(
        "pack-quantized", integers(4, True, 32),
        ignore=["lm_head", "re:.*block_sparse_moe\\.gate$"]),
        Maker.pack_quantized),
    "packed-int4-zeros": (compressed("pack-quantized", integers(4, False, 32)),
                          Maker.pack_quantized),
    "packed-int8": (compressed("pack-quantized", integers(8, True)),
                    Maker.pack_quantized),
    "gptq-int4": ({"quant_method": "gptq", "bits": 4, "group_size": 32,
                   "sym": True, "desc_act": False}, Maker.gptq),
    "gptq-int4-v2": ({"quant_method": "gptq", "bits": 4, "group_size": 16,
                      "sym": False, "desc_act": False,
                      "checkpoint_format": "gptq_v2"}, Maker.gptq),
    "gptq-int8": ({"quant_method": "gptq", "bits": 8, "group_size": 32,
                   "sym": False, "desc_act": False}, Maker.gptq),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 32,
             "zero_point": True, "version": "gemm"}, Maker.awq),
    # Attention, the router and layer 0 are left as they are.
    "awq-mixed": ({"quant_method": "awq", "bits": 4, "group_size": 32,
                   "zero_point": True, "modules_to_not_convert": [
                       "self_attn", "block_sparse_moe.gate", "model.layers.0."]},
                  Maker.awq),
}

# Rows long enough for several stages of the kernels of sm_90a, with the groups of
# published checkpoints.
WIDE = {"hidden_size": 512, "intermediate_size": 256, "head_dim": 64,
        "rotary_dim": 32}
WIDE_FORMATS = {
    "wide-awq": ("awq", {"group_size": 128}),
    "wide-gptq-int4": ("gptq-int4", {"group_size": 64}),
    "wide-packed-int4": ("packed-int4", {}),
    "wide-packed-int4-zeros": ("packed-int4-zeros", {}),
    "wide-nvfp4": ("nvfp4", {}),
    "wide-modelopt-nvfp4": ("modelopt-nvfp4", {}),
    "wide-mxfp4": ("mxfp4", {}),
}


def run(args, folder, topology, tmp, weights=None):
    engine, logits = tmp / "engine.saddle", tmp / "logits.safetensors"
    compile_engine(args.compile, folder, engine, topology, "f32", 32,
                   options=MEET)
    return run_engine(args.run, engine, weights or folder, [PROMPT], 8, logits,
                      ["--ignore-eos"])[0]


def check_synthetic(args, tmp):
    """Codes from a seed are the same model in every topology, and no wild one."""
    first, second = (run(args, tmp / "stored", topology, tmp, "synthetic:7")
                     for topology in ("tp=1", "tp=4,ep=2"))
    largest = first[1].largest()
    if not 0 < largest < 1e6:
        raise Failure(f"the largest logit is {largest}")
    worst = max(abs(a - b) for a, b in zip(first[1].data, second[1].data))
    if first[0] != second[0] or worst > 1e-4 * largest:
        raise Failure(f"tokens {first[0]} and {second[0]}, logits differ by "
                      f"{worst / largest:.1e} of the largest")


def check_column_order(args, tmp):
    """The config says that columns stand in their groups; when the file says
    otherwise it is refused, since its weights would be others."""
    engine, file = tmp / "engine.saddle", tmp / "stored" / "model.safetensors"
    compile_engine(args.compile, tmp / "stored", engine, "tp=2", "f32", 32)
    blob = bytearray(file.read_bytes())
    size = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:8 + size])
    name = next(name for name in header if name.endswith(".g_idx"))
    begin = 8 + size + header[name]["data_offsets"][0]
    blob[begin + 4:begin + 8] = (1).to_bytes(4, "little")
    file.write_bytes(blob)
    try:
        run_engine(args.run, engine, tmp / "stored", [PROMPT], 1,
                   tmp / "logits.safetensors", ["--ignore-eos"])
    except Failure as failure:
        if f'"{name}" says that column 1 is in group 1, expected 0' in str(failure):
            return
        raise
    raise Failure(f"{name} is not looked at")


def check(args, topology, tmp):
    tokens, logits = run(args, tmp / "stored", topology, tmp)
    expected_tokens, expected = run(args, tmp / "plain", topology, tmp)
    if tokens != expected_tokens:
        raise Failure(f"tokens are {tokens}, expected {expected_tokens}")
    if not expected.largest() > 0:
        raise Failure("the expected logits are all zero or no numbers")
    different = sum(a != b for a, b in zip(logits.data, expected.data))
    if different or logits.shape != expected.shape:
        worst = max(abs(a - b) for a, b in zip(logits.data, expected.data))
        raise Failure(f"{different} of {len(expected.data)} logits differ, by up "
                      f"to {worst / expected.largest():.1e} of the largest")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", required=True, help="saddle-compile")
    parser.add_argument("--run", required=True, help="saddle-run")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--family", choices=CONFIGS, default="m2")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    failures = 0

    def count(format, what, check, *arguments):
        nonlocal failures
        try:
            check(args, *arguments)
            print(f"{format:17} {what}")
        except Failure as failure:
            failures += 1
            print(f"{format:17} {what} FAILED: {failure}")

    for format in args.formats.split(","):
        with tempfile.TemporaryDirectory() as name:
            tmp = pathlib.Path(name)
            Maker(random.Random(args.seed), format, tmp, args.family).make()
            for topology in TOPOLOGIES:
                count(format, f"{topology}: the same bits", check, topology, tmp)
            count(format, "synthetic weights", check_synthetic, tmp)
            if format.startswith("gptq"):
                count(format, "columns in another order are refused",
                      check_column_order, tmp)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
