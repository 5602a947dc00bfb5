"""Bad checkpoints of FastDeploy's formats: each is refused with a message that names
the field or tensor. Every case changes one thing of a golden checkpoint.

Standard library only.
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

STACK = "model.layers.1.block_sparse_moe.experts.2."
UP, DOWN = STACK + "up_gate_proj.", STACK + "down_proj."


class Checkpoint:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        blob = (folder / "model.safetensors").read_bytes()
        size = int.from_bytes(blob[:8], "little")
        header = json.loads(blob[8:8 + size])
        self.tensors = {
            name: [entry["dtype"], entry["shape"],
                   blob[8 + size + entry["data_offsets"][0]:
                        8 + size + entry["data_offsets"][1]]]
            for name, entry in header.items() if name != "__metadata__"}

    @property
    def quantisation(self):
        return self.config["quantization_config"]

    def write(self, folder):
        (folder / "config.json").write_text(json.dumps(self.config))
        header, offset = {}, 0
        for name, (dtype, shape, data) in self.tensors.items():
            header[name] = {"dtype": dtype, "shape": shape,
                            "data_offsets": [offset, offset + len(data)]}
            offset += len(data)
        text = json.dumps(header).encode()
        (folder / "model.safetensors").write_bytes(
            len(text).to_bytes(8, "little") + text +
            b"".join(data for _, _, data in self.tensors.values()))


def field(name, value):
    return lambda c: c.quantisation.update({name: value})


def drop(name):
    return lambda c: c.tensors.pop(name)


def shape(name, dims, count):
    def change(c):
        c.tensors[name][1:] = [dims, (c.tensors[name][2] * 2)[:count]]
    return change


def dtype(name, kind, dims):
    def change(c):
        c.tensors[name][:2] = [kind, dims]
    return change


def values(name, value):
    def change(c):
        data = c.tensors[name][2]
        c.tensors[name][2] = struct.pack("<f", value) + data[4:]
    return change


def unquantised(c):
    for name in list(c.tensors):
        if ".experts." in name:
            kind, dims, data = c.tensors.pop(name)
            if name.endswith("quant_weight"):
                rows, cols = dims[1], dims[0] * 2
                c.tensors[name.replace("quant_weight", "weight")] = [
                    "BF16", [rows, cols], bytes(rows * cols * 2)]


def extra(name):
    def change(c):
        c.tensors[name] = ["F32", [1], struct.pack("<f", 1.0)]
    return change


INT4, FP8 = "fastdeploy-w4a8", "fastdeploy-fp8-tensor"
DYNAMIC = "fastdeploy-w4afp8-dynamic"
# case | what is wrong | what the message says; those that only the weights' values
# show are refused when they are loaded.
CASES = (
    (INT4, field("is_permuted", True), "is_permuted: expected false; FastDeploy "
     "takes codes and scales in the order of its kernels"),
    (INT4, lambda c: c.quantisation.pop("is_permuted"),
     "is_permuted: missing, expected false"),
    (INT4, field("dense_quant_type", "wint8"), "only experts are quantised"),
    (INT4, field("moe_quant_type", "wint2"), "\"block_wise_fp8\", "
     "\"tensor_wise_fp8\", \"w4a8\", \"w4afp8\" or nothing"),
    (INT4, field("moe_dynamic_quant", True), "moe_dynamic_quant: expected false, or "
     "\"w4afp8\" as moe_quant_type"),
    (INT4, field("hadamard_block_size", 96), "hadamard_block_size: expected a power "
     "of two from 32 to 1024"),
    (INT4, field("hadamard_block_size", 512), "has 256 columns, expected a multiple "
     "of 512, which int4 of FastDeploy rotates together"),
    (INT4, drop(DOWN + "weight_scale"), "but its scale "),
    (INT4, drop(DOWN + "quant_weight"), "is missing"),
    (INT4, shape(UP + "weight_scale", [511], 511 * 4), "has shape [511]"),
    (INT4, shape(DOWN + "weight_scale", [64, 1], 64 * 4), "has shape [64, 1], the "
     "config asks for [64]"),
    (INT4, shape(DOWN + "quant_weight", [127, 64], 127 * 64),
     "has shape [127, 64]"),
    (INT4, dtype(DOWN + "quant_weight", "I32", [128, 16]), "[128, 16]"),
    (INT4, unquantised, "declares int4 of FastDeploy weights"),
    (INT4, extra(DOWN + "smooth"), "is not part of this model"),
    (INT4, values(DOWN + "weight_scale", float("nan")), "is nan"),
    (INT4, values(DOWN + "weight_scale", 0.0), "is 0"),
    (DYNAMIC, shape(DOWN + "weight_scale", [128, 1], 128 * 4),
     "has shape [128, 1], the config asks for [128, 2]"),
    (DYNAMIC, extra(DOWN + "activation_scale"), "is not part of this model"),
    (DYNAMIC, field("moe_dynamic_quant", False), "the config asks for [256]"),
    (FP8, drop(UP + "weight_scale"), "but its scale "),
    (FP8, shape(UP + "weight_scale", [2], 8), "has shape [2]"),
    (FP8, lambda c: c.tensors.update({DOWN + "weight": ["BF16", [64, 64],
                                                        bytes(8192)]}),
     "is not part of this model"),
)


def check(args, case, change, message, tmp):
    checkpoint = Checkpoint(args.goldens / "storage" / case)
    change(checkpoint)
    checkpoint.write(tmp)
    engine = tmp / "bad.saddle"
    run = subprocess.run([args.compile, tmp, "--max-seq-len", "32", "-o", engine],
                         capture_output=True, text=True)
    if run.returncode == 0:
        run = subprocess.run([args.run, engine, "--weights", tmp, "--tokens", "1",
                              "--max-new-tokens", "1"], capture_output=True,
                             text=True)
    fine = run.returncode == 1 and message in run.stderr
    last = run.stderr.strip().splitlines()[-1] if run.stderr.strip() else "nothing"
    print(f"{'ok  ' if fine else 'FAIL'} {case}: "
          f"{message if fine else f'expected {message!r}, found: {last}'}")
    return fine


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--goldens", type=pathlib.Path, required=True)
    args = parser.parse_args()
    fine = True
    for case in CASES:
        with tempfile.TemporaryDirectory() as tmp:
            fine &= check(args, *case, pathlib.Path(tmp))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
