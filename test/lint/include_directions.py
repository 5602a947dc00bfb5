"""Who may include whom:

    tools > compiler > passes > dialects          (LLVM and MLIR allowed)
              |`-----> models > dialects
              `------> runtime/schema, the engine reader, runtime/src/base
    runtime includes nothing of the others, and no LLVM or MLIR header.

`passes` and `compiler` share runtime/ops with the runtime; `models` may read
checkpoints with the runtime's reader. What of it reads configs and checkpoints,
the library SaddleModelImport, is built where there is no LLVM, too. Inside the runtime folders stand on
floors, and none includes one above or beside it:

    base < ops < engine, checkpoint < weights, comm < backend < cpu, cuda
         < session < generate < api          text and sample stand on base

Planners of CUDA kernels share layouts with device code, and with the CPU's
recurrence what heads forget. Tests may include anything.
The rules are the tables below."""

import os
import re

import common

LLVM = ("llvm/", "llvm-c/", "mlir/", "mlir-c/")
RUNTIME_BASE = "runtime/src/base/"
RUNTIME_OPS = "runtime/ops/"


def floor(*folders):
    """What a folder of the runtime may include: itself and those below it."""
    return ("runtime/schema/", RUNTIME_BASE) + tuple(
        RUNTIME_OPS if folder == "ops" else f"runtime/src/{folder}/" for folder in folders
    )


BACKEND = ("ops", "engine", "weights", "comm", "backend")

# Folder -> what its files may include, as path prefixes. The longest matching
# folder counts.
ALLOWED = {
    "dialects/": ("dialects/",) + LLVM,
    "passes/": ("passes/", "dialects/", RUNTIME_OPS) + LLVM,
    # What kernels and their planners must agree on (limits, sizes of what lies
    # in memory) is written once, in headers of plain C++.
    "passes/Target/Sm90a/": ("passes/", "dialects/", RUNTIME_OPS, "runtime/kernels/abi.h", "runtime/kernels/shared/", "runtime/src/base/Slopes.h") + LLVM,
    "models/": ("models/", "dialects/", RUNTIME_BASE, "runtime/src/checkpoint/") + LLVM,
    "compiler/": (
        "compiler/",
        "passes/",
        "dialects/",
        "models/",
        "runtime/schema/",
        # What is written must load.
        "runtime/src/engine/Engine.h",
        "runtime/src/engine/EngineFile.h",
        RUNTIME_BASE,
        RUNTIME_OPS,
    )
    + LLVM,
    "runtime/": ("runtime/", "saddle/"),
    "runtime/ops/": floor("ops"),
    "runtime/kernels/": ("runtime/kernels/",),
    "runtime/src/base/": floor(),
    # The limits of a launch on devices.
    "runtime/src/engine/": floor("ops", "engine") + ("runtime/kernels/abi.h", "runtime/kernels/shared/"),
    "runtime/src/checkpoint/": floor("checkpoint"),
    "runtime/src/weights/": floor("ops", "engine", "checkpoint", "weights"),
    "runtime/src/comm/": floor("comm"),
    "runtime/src/backend/": floor(*BACKEND),
    "runtime/src/cpu/": floor(*BACKEND, "cpu"),
    # What host and devices share: ABI, synthetic values.
    "runtime/src/cuda/": floor(*BACKEND, "cuda") + ("runtime/kernels/",),
    "runtime/src/session/": floor(*BACKEND, "session"),
    # The only file that knows the targets.
    "runtime/src/session/Backends.cpp": floor(*BACKEND, "session", "cpu", "cuda"),
    "runtime/src/generate/": floor(*BACKEND, "session", "sample", "generate"),
    "runtime/src/text/": floor("text"),
    "runtime/src/sample/": floor("sample"),
    "runtime/src/api/": ("runtime/", "saddle/"),
    "tools/": ("tools/", "compiler/", "passes/", "dialects/", "models/", "runtime/", "saddle/") + LLVM,
    "tools/saddle-run/": ("tools/", "runtime/", "saddle/"),
    "tools/saddle-bench/": ("tools/", "runtime/", "saddle/"),
    "tools/saddle-inspect/": ("tools/", "runtime/", "saddle/"),
}
# The same for the sources of a library: its CMakeLists.txt, its name.
IMPORT = ("models/CMakeLists.txt", "SaddleModelImport")
ALLOWED_IN_IMPORT = ("models/", RUNTIME_BASE, "runtime/src/checkpoint/")
# (file, include) that the table forbids, and why it stands all the same.
EXCEPTIONS = {}
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


def sources_of(root, page, library):
    """Paths of a library's sources."""
    if not os.path.exists(os.path.join(root, page)):
        return set()
    text = "\n".join(line for _, line in common.lines(root, page))
    listed = re.search(rf"add_library\({library} STATIC([^)]*)\)", text)[1].split()
    return {os.path.join(os.path.dirname(page), name) for name in listed}


def main():
    args = common.arguments(__doc__).parse_args()
    problems, used = [], set()
    plain = sources_of(args.root, *IMPORT)
    for path in common.walk(args.root, common.CXX_SUFFIXES + (".td", ".inc")):
        folder = max((f for f in ALLOWED if path.startswith(f)), key=len, default=None)
        if folder is None:
            continue
        allowed, owner = (ALLOWED_IN_IMPORT, IMPORT[1]) if path in plain else (ALLOWED[folder], folder)
        for number, line in common.lines(args.root, path):
            match = INCLUDE.match(line)
            if not match:
                continue
            name = target(args.root, path, match[1] or match[2], bool(match[1]))
            if name.startswith(GUARDED) and not name.startswith(allowed):
                if (path, name) in EXCEPTIONS:
                    used.add((path, name))
                    continue
                problems.append(f'{path}:{number}: files of {owner} may not include "{name}"')
    for path, name in sorted(set(EXCEPTIONS) - used):
        if os.path.exists(os.path.join(args.root, path)):
            problems.append(f'{path}: the exception for "{name}" is not needed; take it off the list')
    common.finish(problems)


if __name__ == "__main__":
    main()
