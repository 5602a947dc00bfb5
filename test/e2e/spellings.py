"""The same checkpoint under the names that other tools write.

A folder is a map from tensor names to (dtype, shape, bytes). Standard library only.
"""

import json
import math
import pathlib
import re
import shutil

EXPERT = re.compile(r"(.*)\.block_sparse_moe\.experts\.(\d+)\.(w[123])\.(.+)$")
QKV = re.compile(r"(.*\.self_attn)\.([qkv])_proj\.(.+)$")
# Columns first, so that rows of the weight are columns of the tensor.
TRANSPOSED = ("qweight", "qzeros", "scales")
SHARED = ("weight_shape", "g_idx")  # of all parts alike


def read(path):
    blob = pathlib.Path(path).read_bytes()
    size = int.from_bytes(blob[:8], "little")
    out = {}
    for name, entry in json.loads(blob[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + at for at in entry["data_offsets"])
            out[name] = (entry["dtype"], entry["shape"], blob[begin:end])
    return out


def write(path, tensors):
    header, offset = {}, 0
    for name, (dtype, shape, blob) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(
        len(text).to_bytes(8, "little") + text +
        b"".join(blob for _, _, blob in tensors.values()))


def beside(parts, leaf):
    """One matrix of the rows of all."""
    dtype, shape, first = parts[0]
    if leaf in SHARED:
        return parts[0]
    if math.prod(shape) == 1:  # numbers: one for each part
        return dtype, [len(parts)], b"".join(blob for _, _, blob in parts)
    if leaf not in TRANSPOSED:
        return (dtype, [sum(s[0] for _, s, _ in parts), *shape[1:]],
                b"".join(blob for _, _, blob in parts))
    rows = shape[0]
    blob = b"".join(blob[i * len(blob) // rows:(i + 1) * len(blob) // rows]
                    for i in range(rows) for _, _, blob in parts)
    return dtype, [rows, sum(s[1] for _, s, _ in parts)], blob


def stacked(members):
    dtype, shape, _ = members[0]
    return dtype, [len(members), *shape], b"".join(b for _, _, b in members)


def leaf_of(module, leaf, style):
    if style == "bare":
        return module + (leaf[len("weight"):] if leaf.startswith("weight") else
                         "_" + leaf)
    return f"{module}_{leaf}" if style == "joined" else f"{module}.{leaf}"


def fuse_experts(tensors, fused, down, moe="block_sparse_moe", style="dotted",
                 stack=False):
    out, experts = {}, {}
    for name, tensor in tensors.items():
        match = EXPERT.match(name)
        if match:
            layer, expert, part, leaf = match.groups()
            experts.setdefault((layer, leaf), {})[int(expert), part] = tensor
        else:
            out[name.replace("block_sparse_moe", moe)] = tensor
    for (layer, leaf), parts in experts.items():
        count = max(expert for expert, _ in parts) + 1
        for module, tensors_of in (
                (fused, [beside([parts[e, "w1"], parts[e, "w3"]], leaf)
                         for e in range(count)]),
                (down, [parts[e, "w2"] for e in range(count)])):
            base = f"{layer}.{moe}.experts."
            if stack:
                out[leaf_of(base + module, leaf, style)] = stacked(tensors_of)
            else:
                out |= {leaf_of(f"{base}{e}.{module}", leaf, style): tensor
                        for e, tensor in enumerate(tensors_of)}
    return out


def fuse_qkv(tensors):
    out, parts = {}, {}
    for name, tensor in tensors.items():
        match = QKV.match(name)
        if match:
            attention, part, leaf = match.groups()
            parts.setdefault((attention, leaf), {})[part] = tensor
        else:
            out[name] = tensor
    for (attention, leaf), each in parts.items():
        out[f"{attention}.qkv_proj.{leaf}"] = beside([each[p] for p in "qkv"], leaf)
    return out


def prefixed(tensors, prefix, head="lm_head."):
    return {re.sub("^model[.]", prefix, re.sub("^lm_head[.]", head, name)): tensor
            for name, tensor in tensors.items()}


FORMS = {
    "w13": lambda t: fuse_experts(t, "w13", "w2"),
    "gate-up": lambda t: fuse_experts(t, "gate_up_proj", "down_proj"),
    "up-gate": lambda t: fuse_experts(t, "up_gate_proj", "down_proj", "mlp"),
    "stacks": lambda t: fuse_experts(t, "gate_up_proj", "down_proj", "mlp", "bare",
                                     stack=True),
    "dotted-stacks": lambda t: fuse_experts(t, "w13", "w2", stack=True),
    "joined": lambda t: fuse_experts(t, "w13", "w2", "block_sparse_moe", "joined",
                                     stack=True),
    "qkv": fuse_qkv,
    "fused": lambda t: fuse_qkv(FORMS["w13"](t)),
    "language-model": lambda t: prefixed(t, "model.language_model."),
    "inner-model": lambda t: prefixed(t, "language_model.model.",
                                      "language_model.lm_head."),
    "everything": lambda t: prefixed(
        fuse_qkv(FORMS["stacks"](t)), "language_model.model.",
        "language_model.lm_head."),
}


def respell(folder, form, out):
    """`folder` with its tensors named as FORMS[form] does, at `out`."""
    out.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, out)
    write(out / "model.safetensors",
          FORMS[form](read(folder / "model.safetensors")))
