#!/usr/bin/env python3
"""Golden logits: the same model passes, another one does not.

Also what saddle-inspect and --explain say of stored weights. Standard library only.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from saddle_e2e import Failure, call, compile_engine, read_tensors, write_tensors


def refused(command, *words):
    result = subprocess.run([str(part) for part in command], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for word in words:
        if result.returncode == 0 or word not in result.stderr:
            raise Failure(f"expected an error with {word!r}, found "
                          f"{result.returncode}: {result.stderr}")


def check_self_test(args, tmp):
    oracle, engine, golden = tmp / "o.saddle", tmp / "e.saddle", tmp / "g.safetensors"
    model, other = args.nano / "fp8", args.nano / "bf16"
    compile_engine(args.compile, model, oracle, "tp=1", "f32", 32)
    compile_engine(args.compile, model, engine, "tp=4,ep=2", "f32", 64)
    call([args.run, oracle, "--weights", model, "--golden-out", golden,
          "--max-new-tokens", 4, "--ignore-eos"])
    call([args.run, engine, "--weights", model, "--self-test", golden])
    # bf16 has a bound of its own, and a prompt may follow.
    compile_engine(args.compile, model, engine, "tp=2", "bf16", 32)
    out = call([args.run, engine, "--weights", model, "--self-test", golden,
                "--tokens", "5,6", "--max-new-tokens", 2, "--ignore-eos"])
    if len(out.split(",")) != 2:
        raise Failure(f"the prompt was answered with {out!r}")
    refused([args.run, engine, "--weights", model, "--self-test", golden,
             "--self-test-bound", "1e-6"], "self-test: logits are not those of")
    # The same logits from the compiler.
    compiled = tmp / "c.safetensors"
    call([args.compile, model, "--topology", "tp=2", "--golden", compiled, "-o",
          engine])
    rows = read_tensors(compiled)["logits"]
    if rows.data != read_tensors(golden)["logits"].data[:len(rows.data)]:
        raise Failure("saddle-compile --golden has other logits than the oracle")
    refused([args.compile, model / "config.json", "--golden", compiled, "-o", engine],
            "--golden needs the weights of the model")
    refused([args.compile, model, "--golden", compiled, "--compile-to", "dist", "-o",
             "-"], "--golden needs a compilation from a model to an engine")
    # A damaged golden, and weights that mean something else.
    tensors = read_tensors(golden)
    tensors["logits"].data[7 * tensors["logits"].shape[1] + 5] += 10
    write_tensors(tmp / "bad.safetensors", tensors)
    refused([args.run, oracle, "--weights", model, "--self-test",
             tmp / "bad.safetensors"], "token 5 at position 7")
    compile_engine(args.compile, args.nano / "bf16", engine, "tp=1", "f32", 32)
    refused([args.run, engine, "--weights", "synthetic:1", "--self-test", golden],
            "the weights are others")
    check_taps(args, tmp, other, engine)
    refused([args.run, oracle, "--weights", model, "--self-test",
             other / "model.safetensors"], "as --golden-out writes them")
    compile_engine(args.compile, model, engine, "tp=1", "f32", 8)
    refused([args.run, engine, "--weights", model, "--self-test", golden],
            "it was written with another engine")
    refused([args.run, oracle, "--weights", model], "an input")
    refused([args.run, oracle, "--weights", model, "--tokens", "1",
             "--self-test-bound", "0.1"], "has no effect without --self-test")
    refused([args.run, oracle, "--weights", model, "--tokens", "1", "--tokens", "2",
             "--golden-out", golden], "--golden-out takes one prompt, found 2")


def negate(source, to, names):
    """The same file with other signs in some tensors of bf16."""
    blob = bytearray(source.read_bytes())
    size = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:8 + size])
    for name in names:
        begin, end = (8 + size + at for at in header[name]["data_offsets"])
        blob[begin + 1:end:2] = bytes(byte ^ 0x80 for byte in blob[begin + 1:end:2])
    to.write_bytes(blob)


def check_taps(args, tmp, model, oracle):
    """The first layer that differs, in any topology and with chunks of any length."""
    golden, changed = tmp / "taps.safetensors", tmp / "changed"
    call([args.run, oracle, "--weights", model, "--golden-out", golden])
    layers = read_tensors(golden)["hidden"].shape[0]
    if layers != 4:
        raise Failure(f"expected taps of 4 layers, found {layers}")
    shutil.copytree(model, changed)
    engine = tmp / "taps.saddle"
    for layer, tensor, topology in (
            (0, "self_attn.o_proj", "tp=1"), (2, "self_attn.v_proj", "tp=2"),
            (3, "block_sparse_moe.gate", "tp=2,dp=2"),
            # Experts show in what the next layer's read.
            (1, "block_sparse_moe.experts.{}.w2", "tp=2,ep=2"),
            (2, "self_attn.o_proj", "tp=2,pp=2")):
        negate(model / "model.safetensors", changed / "model.safetensors",
               {f"model.layers.{layer}.{tensor.format(i)}.weight" for i in range(8)})
        compile_engine(args.compile, changed, engine, topology, "f32", 32)
        where = {"block_sparse_moe.gate": None}.get(tensor, layer)
        if "experts" in tensor:
            where = layer + 1
        words = ["self-test: logits are not those of"]
        words.append("what experts read agrees in all layers" if where is None else
                     f'the first layer that differs is at "layers.{where}.')
        refused([args.run, engine, "--weights", changed, "--self-test", golden],
                *words)


def check_explained(args, tmp):
    engine = tmp / "e.saddle"
    for case, dtype, words in (
            ("fp8-block", "bf16", ["f8e4m3, scale f32 for ", "tokens in e4m3"]),
            ("mixed", "bf16", ["u8 of two integers, scale f32 for 32 columns",
                               "no product of this target takes such codes",
                               "scale f32 for each row", "tokens in e4m3"]),
            ("modelopt-nvfp4", "bf16", ["u8 of two e2m1, scale f8e4m3 for 16 "
                                        "columns, global scale f32 for all",
                                        "as its values, with bf16 tokens"]),
            ("int8", "f32", ["the oracle's mode"])):
        compile_engine(args.compile, args.goldens / "storage" / case, engine, "tp=2",
                       dtype, 32)
        text = call([args.inspect, engine, "--weights"])
        for word in words:
            if word not in text:
                raise Failure(f"{case}: {word!r} is not in\n{text[:3000]}")
    result = subprocess.run(
        [args.compile, args.goldens / "storage" / "awq", "--explain", "-o", engine],
        text=True, stderr=subprocess.PIPE, check=True)
    for word in ("remark: stored w1: weight bf16 [64, 64], 32768 bytes, in 1 layers "
                 "from 0 to 0", "remark: stored w1: qweight i32 [64, 8], scales f16"):
        if word not in result.stderr:
            raise Failure(f"{word!r} is not in\n{result.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("compile", "run", "inspect", "nano", "goldens"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    args = parser.parse_args()
    failures = 0
    for function in (check_self_test, check_explained):
        with tempfile.TemporaryDirectory() as tmp:
            try:
                function(args, pathlib.Path(tmp))
                print(f"{function.__name__} fine")
            except Failure as failure:
                failures += 1
                print(f"{function.__name__} FAILED: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
