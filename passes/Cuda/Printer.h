// A kernel plan as the CUDA C++ of one translation unit.

#ifndef SADDLE_PASSES_CUDA_PRINTER_H
#define SADDLE_PASSES_CUDA_PRINTER_H

#include "passes/Cuda/KernelPlan.h"

namespace saddle::cuda {

/// Who uses a kernel, for its head comment.
struct KernelUses {
  uint64_t launches = 0;
  std::string firstPlace;
};

/// The name of a plan's function: `kernel` and the function's suffix.
std::string functionName(llvm::StringRef kernel, const FunctionPlan &function);

/// The source of `kernel`: a comment that says what it computes, the includes
/// and one extern "C" function for each of the plan's. Comments are whole
/// lines, so that who compares sources can leave them out.
std::string printSource(llvm::StringRef kernel, const LaunchDesc &launch,
                        const KernelPlan &plan, const KernelUses &uses);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_CUDA_PRINTER_H
