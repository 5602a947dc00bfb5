"""Who may include whom:

    tools > compiler > passes > dialects          (LLVM and MLIR allowed)
              |`-----> models > dialects
              `------> runtime/schema, the engine reader, runtime/src/base
    runtime includes nothing of the others, and no LLVM or MLIR header.

`models` may read checkpoints with the runtime's reader. Planners of CUDA
kernels share layouts with the device code. Tests may include anything. The rules are the table below."""

import os
import re

import common

LLVM = ("llvm/", "llvm-c/", "mlir/", "mlir-c/")
RUNTIME_BASE = "runtime/src/base/"
RUNTIME_OPS = "runtime/ops/"

# Folder -> what its files may include, as path prefixes. The longest matching
# folder counts.
ALLOWED = {
    "dialects/": ("dialects/",) + LLVM,
    "passes/": ("passes/", "dialects/", RUNTIME_OPS) + LLVM,
    # What kernels and their planners must agree on (limits, sizes of what lies
    # in memory) is written once, in headers of plain C++.
    "passes/Target/Sm90a/": ("passes/", "dialects/", RUNTIME_OPS, "runtime/kernels/abi.h", "runtime/kernels/shared/") + LLVM,
    "models/": ("models/", "dialects/", RUNTIME_BASE, "runtime/src/checkpoint/") + LLVM,
    "compiler/": (
        "compiler/",
        "passes/",
        "dialects/",
        "models/",
        "runtime/schema/",
        "runtime/src/engine/EngineFile.h",
        RUNTIME_BASE,
        RUNTIME_OPS,
    )
    + LLVM,
    "runtime/": ("runtime/", "saddle/"),
    "tools/": ("tools/", "compiler/", "passes/", "dialects/", "models/", "runtime/", "saddle/") + LLVM,
    "tools/saddle-run/": ("tools/", "runtime/", "saddle/"),
    "tools/saddle-bench/": ("tools/", "runtime/", "saddle/"),
    "tools/saddle-inspect/": ("tools/", "runtime/", "saddle/"),
}
# Includes that the table speaks about; all others are libraries.
GUARDED = tuple(folder + "/" for folder in common.FOLDERS) + ("saddle/",) + LLVM

INCLUDE = re.compile(r'^\s*#?\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


def target(root, path, name, quoted):
    """What an include names, relative to the root where that is known."""
    if quoted:
        beside = os.path.normpath(os.path.join(os.path.dirname(path), name)).replace(os.sep, "/")
        if name.startswith(".") or os.path.exists(os.path.join(root, beside)):
            return beside
    return name


def main():
    args = common.arguments(__doc__).parse_args()
    problems = []
    for path in common.walk(args.root, common.CXX_SUFFIXES + (".td", ".inc")):
        folder = max((f for f in ALLOWED if path.startswith(f)), key=len, default=None)
        if folder is None:
            continue
        for number, line in common.lines(args.root, path):
            match = INCLUDE.match(line)
            if not match:
                continue
            name = target(args.root, path, match[1] or match[2], bool(match[1]))
            if name.startswith(GUARDED) and not name.startswith(ALLOWED[folder]):
                problems.append(f'{path}:{number}: files of {folder} may not include "{name}"')
    common.finish(problems)


if __name__ == "__main__":
    main()
