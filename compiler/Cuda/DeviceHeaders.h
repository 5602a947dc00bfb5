// The device code of runtime/kernels as text inside the compiler.

#ifndef SADDLE_COMPILER_CUDA_DEVICEHEADERS_H
#define SADDLE_COMPILER_CUDA_DEVICEHEADERS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace saddle::cuda {

struct DeviceHeader {
  llvm::StringLiteral path; // as sources include it: "runtime/kernels/abi.h"
  llvm::StringLiteral text;
};

/// All of them, by path.
llvm::ArrayRef<DeviceHeader> deviceHeaders();

} // namespace saddle::cuda

#endif // SADDLE_COMPILER_CUDA_DEVICEHEADERS_H
