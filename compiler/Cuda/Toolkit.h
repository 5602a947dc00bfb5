// The CUDA toolkit that compiles device code.

#ifndef SADDLE_COMPILER_CUDA_TOOLKIT_H
#define SADDLE_COMPILER_CUDA_TOOLKIT_H

#include "runtime/src/base/Status.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace saddle::cuda {

struct Toolkit {
  std::string nvcc;    // path
  std::string version; // "V13.0.88": part of what decides the bytes of a binary
};

/// `nvcc`, or when it is empty the one on PATH or else in the folder `usual`.
/// Errors: there is none, it does not run, it is older than 12.8.
StatusOr<Toolkit> findToolkit(const std::string &nvcc,
                              const std::string &usual = "/usr/local/cuda/bin");

/// Runs a program with output and errors in files, which may be one (empty:
/// dropped), without the variables that add flags to nvcc. Its own temporary
/// files go to a folder of the caller's. The exit status; an error when it does
/// not start or is killed.
StatusOr<int> runProgram(const std::string &program,
                         llvm::ArrayRef<std::string> arguments,
                         const std::string &output, const std::string &errors,
                         const std::string &temporaryFolder);

} // namespace saddle::cuda

#endif // SADDLE_COMPILER_CUDA_TOOLKIT_H
