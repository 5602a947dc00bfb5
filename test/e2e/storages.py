"""A stored weight means its values.

Makes a tiny checkpoint of random codes and scales for each storage format, and
another that holds the same values as F32. In fp32 mode both must give the same
bits, in every topology. What the values are is worked out here, from the formats'
definitions; transformers is not asked (goldens/ does that).

Standard library only.
"""

import argparse
import array
import json
import pathlib
import random
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
SCHEME = {"num_bits": 8, "type": "float", "symmetric": True}
FORMATS = {
    "fp8-blocks": {
        "quant_method": "fp8", "fmt": "float8_e4m3fn",
        "activation_scheme": "dynamic", "weight_block_size": [128, 128],
        "modules_to_not_convert": ["gate", "e_score_correction_bias", "lm_head"]},
    "fp8-channels": {
        "quant_method": "compressed-tensors", "format": "float-quantized",
        "quantization_status": "compressed", "ignore": ["gate", "lm_head"],
        "config_groups": {"group_0": {
            "targets": ["Linear"],
            "weights": {**SCHEME, "strategy": "channel", "dynamic": False},
            "input_activations": {**SCHEME, "strategy": "token",
                                  "dynamic": True}}}},
}
# One way to meet, so that costs of bytes do not choose for either.
MEET = ["--reduction", "all_reduce", "--experts", "masked", "--norm", "early"]
TOPOLOGIES = ("tp=1", "tp=2", "tp=4", "tp=2,ep=2", "tp=4,ep=2", "tp=2,pp=2")
PROMPT = [5, 17, 3, 90, 44, 8, 61]


def e4m3(code):
    exponent, mantissa = code >> 3 & 15, code & 7
    value = (1 + mantissa / 8) * 2.0 ** (exponent - 7) if exponent else \
        mantissa / 8 * 2.0 ** -6
    return -value if code & 128 else value


def bf16(value):
    """The nearest bf16, as bits; for numbers, ties to even."""
    bits = array.array("I", array.array("f", [value]).tobytes())[0]
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16


def wide(bits):
    return array.array("f", array.array("I", [bits << 16]).tobytes())[0]


class Folder:
    def __init__(self, path, config):
        self.path = path
        self.tensors = {}
        path.mkdir()
        (path / "config.json").write_text(json.dumps(config))

    def add(self, name, dtype, shape, data):
        self.tensors[name] = (dtype, shape, data.tobytes())

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

    def __init__(self, rng, format, tmp):
        self.rng, self.format = rng, format
        config = {**CONFIG, "dtype": "bfloat16",
                  "quantization_config": FORMATS[format]}
        self.stored = Folder(tmp / "stored", config)
        self.plain = Folder(tmp / "plain", {**CONFIG, "dtype": "float32"})

    def values(self, name, shape, centre=0.0, spread=1.0):
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        data = array.array("f", (centre + self.rng.uniform(-spread, spread)
                                 for _ in range(count)))
        for folder in (self.stored, self.plain):
            folder.add(name, "F32", shape, data)

    def projection(self, module, rows, cols):
        codes = bytes(self.rng.choice((c, c | 128)) for c in
                      (self.rng.randrange(127) for _ in range(rows * cols)))
        # Codes reach 448, and are as often below 1 as above it.
        draw = lambda: self.rng.uniform(0.2, 2.0) * cols ** -0.5 / 64
        name = module + ".weight"
        self.stored.add(name, "F8_E4M3", [rows, cols], array.array("B", codes))
        if self.format == "fp8-blocks":
            grid = [-(-rows // 128), -(-cols // 128)]
            scales = array.array("f", (draw() for _ in range(grid[0] * grid[1])))
            self.stored.add(name + "_scale_inv", "F32", grid, scales)
            scale = lambda i, j: scales[i // 128 * grid[1] + j // 128]
        else:
            bits = array.array("H", (bf16(draw()) for _ in range(rows)))
            self.stored.add(name + "_scale", "BF16", [rows, 1], bits)
            scale = lambda i, j: wide(bits[i])
        table = [e4m3(code) for code in range(256)]
        self.plain.add(name, "F32", [rows, cols], array.array("f", (
            table[codes[i * cols + j]] * scale(i, j)
            for i in range(rows) for j in range(cols))))

    def make(self):
        c = CONFIG
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
            self.values(attention + "q_norm.weight", [q], 1, 0.3)
            self.values(attention + "k_norm.weight", [kv], 1, 0.3)
            self.values(moe + "gate.weight", [experts, hidden], 0, 0.2)
            self.values(moe + "e_score_correction_bias", [experts], 0, 0.3)
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


def run(args, folder, topology, tmp):
    engine, logits = tmp / "engine.saddle", tmp / "logits.safetensors"
    compile_engine(args.compile, folder, engine, topology, "f32", 32,
                   options=MEET)
    return run_engine(args.run, engine, folder, [PROMPT], 8, logits,
                      ["--ignore-eos"])[0]


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
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    failures = 0
    for format in args.formats.split(","):
        with tempfile.TemporaryDirectory() as name:
            tmp = pathlib.Path(name)
            Maker(random.Random(args.seed), format, tmp).make()
            for topology in TOPOLOGIES:
                try:
                    check(args, topology, tmp)
                    print(f"{format:14} {topology}: the same bits")
                except Failure as failure:
                    failures += 1
                    print(f"{format:14} {topology} FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
