// Hopper: kernels are printed as CUDA C++ for the shapes at hand and compiled
// ahead of time.

#ifndef SADDLE_PASSES_TARGET_SM90A_SM90A_H
#define SADDLE_PASSES_TARGET_SM90A_SM90A_H

#include "passes/Target/Target.h"

namespace saddle::cuda {

const Target &sm90a();

/// Prints a device kernel for every distinct command of an engine module
/// (engine-specialize-kernels).
llvm::LogicalResult specializeKernels(mlir::ModuleOp module,
                                      const KernelOptions &options);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_SM90A_H
