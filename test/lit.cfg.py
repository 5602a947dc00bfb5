# Configuration of every lit suite. `lit.site.cfg.py`, made by CMake in the
# build tree, fills in the paths and then loads this file.

import os
import shutil

import lit.formats

config.name = "saddle"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
# GoogleTest sources and inputs of tests are no tests.
config.excludes = ["Inputs", "unit", "lint"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.saddle_build_root, "test")

# Our tools come first, then FileCheck, not, count and split-file of LLVM.
config.environment["PATH"] = os.pathsep.join(
    [
        os.path.join(config.saddle_build_root, "bin"),
        config.llvm_tools_dir,
        config.environment["PATH"],
    ]
)
# A variable of one function must not leak into the next, and a prefix that
# matches no line is a typing error.
config.environment["FILECHECK_OPTS"] = (
    "-enable-var-scope --allow-unused-prefixes=false"
)

# In an ASan build our code and Debian's uninstrumented libMLIR share allocators
# that poison unused memory: only one of the two would unpoison it.
config.environment["ASAN_OPTIONS"] = "allow_user_poisoning=0"

# Tests of target sm_90a that need a CUDA toolkit (no GPU); all others build
# and pass without one.
if shutil.which("nvcc") or os.path.exists("/usr/local/cuda/bin/nvcc"):
    config.available_features.add("nvcc")

# Their runtimes map more than any limit of addresses allows.
if config.saddle_sanitize:
    config.available_features.add("sanitized")

config.substitutions.append(("%source_root", config.saddle_source_root))
config.substitutions.append(("%python", config.python_executable))
