"""What the end-to-end tests share: a safetensors reader and writer, and the two tools.

Standard library only. The command lines of saddle-compile and saddle-run stand here
and nowhere else in the tests.
"""

import array
import json
import math
import os
import pathlib
import re
import subprocess

CODES = {"F32": "f", "I32": "i", "BF16": "H"}


class Failure(Exception):
    """A test failure with a message for the user."""


class Tensor:
    """A dense tensor of one or two dimensions; `data` is a flat array."""

    def __init__(self, shape, data):
        self.shape = list(shape)
        self.data = data

    def row(self, index):
        width = self.shape[1]
        return self.data[index * width:(index + 1) * width]

    def largest(self):
        return max(abs(x) for x in self.data)


def read_tensors(path):
    """name -> Tensor; BF16 widened to float. Other dtypes are an error."""
    blob = pathlib.Path(path).read_bytes()
    size = int.from_bytes(blob[:8], "little")
    out = {}
    for name, entry in json.loads(blob[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        data = array.array(CODES[entry["dtype"]], blob[begin:end])
        if entry["dtype"] == "BF16":
            wide = array.array("I", (x << 16 for x in data))
            data = array.array("f", wide.tobytes())
        if len(data) != math.prod(entry["shape"]):
            raise Failure(f'{path}: tensor "{name}": {len(data)} elements, but '
                          f'shape {entry["shape"]}')
        out[name] = Tensor(entry["shape"], data)
    return out


def write_tensors(path, tensors):
    """Float and int32 tensors only; for the tests of the tests."""
    header, blobs, offset = {}, [], 0
    for name, tensor in tensors.items():
        blob = tensor.data.tobytes()
        header[name] = {"dtype": {"f": "F32", "i": "I32"}[tensor.data.typecode],
                        "shape": tensor.shape,
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(
        len(text).to_bytes(8, "little") + text + b"".join(blobs))


def call(command, environment=None):
    """Runs a tool; its stdout. Failure carries the command and its stderr.

    environment: variables to set beside those of this process.
    """
    result = subprocess.run([str(part) for part in command], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=os.environ | (environment or {}))
    if result.returncode:
        raise Failure(f"{' '.join(map(str, command))}: exit "
                      f"{result.returncode}\n{result.stderr.strip()}")
    return result.stdout


FLAGS = {"rows": "--replica-rows"}


def without_unfollowed(command, stderr):
    """`command` without the wishes that no entry can follow, as `stderr` says; None
    when it says so of none."""
    names = re.findall(r"error: (?:[^\n]*: )?(\w+) = \w+ has no effect: no entry", stderr)
    command = [str(part) for part in command]
    for name in names:
        at = command.index(FLAGS.get(name, f"--{name}"))
        del command[at:at + 2]
    return command if names else None


def call_following(command):
    """call() of saddle-compile, where wishes that no entry can follow are dropped."""
    while True:
        try:
            return call(command)
        except Failure as failure:
            command = without_unfollowed(command, str(failure))
            if not command:
                raise


def compile_engine(binary, model, engine, tp, dtype, max_seq_len, max_batch=1,
                   chunk=None, target="cpu", options=()):
    """`tp`: a number, or a whole topology, "tp=4,pp=2"."""
    topology = tp if isinstance(tp, str) else f"tp={tp}"
    command = [binary, model, "--topology", topology, "--target", target,
               "--compute-dtype", dtype, "--max-seq-len", max_seq_len,
               "--max-batch", max_batch, "-o", engine, *options]
    if chunk:
        command += ["--prefill-chunk", chunk]
    call_following(command)


def run_command(binary, engine, weights, inputs, new_tokens, options):
    """Greedy unless options say otherwise; inputs: token ids or texts, which may
    be chats."""
    command = [binary, engine, "--weights", weights, "--max-new-tokens",
               new_tokens, *options]
    if isinstance(inputs[0], str):
        command.append("--parse-special")
    for item in inputs:
        command += (["--prompt", item] if isinstance(item, str) else
                    ["--tokens", ",".join(map(str, item))])
    return command


def run_text(binary, engine, weights, inputs, new_tokens, options=(),
             environment=None):
    """The new tokens of each sequence, without logits; options may sample."""
    out = call(run_command(binary, engine, weights, inputs, new_tokens,
                           ["--json", *options]), environment)
    return [prompt["tokens"] for prompt in json.loads(out)["prompts"]]


def run_engine(binary, engine, weights, inputs, new_tokens, logits_file,
               options=(), environment=None):
    """Greedy decoding of one or more sequences in one batch.

    inputs: each a list of token ids or a text. Returns per sequence (tokens,
    logits): prompt and new tokens, and one row per position, the last optional.
    """
    call(run_command(binary, engine, weights, inputs, new_tokens,
                     ["--temperature", 0, "--logits-out", logits_file,
                      *options]), environment)
    tensors = read_tensors(logits_file)
    suffixes = [""] if len(inputs) == 1 else [f".{i}" for i in range(len(inputs))]
    out = []
    for suffix in suffixes:
        for name in ("tokens" + suffix, "logits" + suffix):
            if name not in tensors:
                raise Failure(f"{logits_file}: tensor \"{name}\" is missing, "
                              f"found {sorted(tensors)}")
        out.append((tensors["tokens" + suffix].data.tolist(),
                    tensors["logits" + suffix]))
    return out
