// Kernel plans as the CUDA C++ of one translation unit.

#ifndef SADDLE_PASSES_TARGET_SM90A_PRINTER_H
#define SADDLE_PASSES_TARGET_SM90A_PRINTER_H

#include "passes/Target/Sm90a/KernelPlan.h"

namespace saddle::cuda {

/// A kernel and who uses it, for its head comment.
struct PrintedKernel {
  std::string name;
  LaunchDesc launch; // one of those that it can do
  KernelPlan plan;
  uint64_t launches = 0;
  std::string firstPlace;
};

/// The name of a plan's function: `kernel` and the function's suffix.
std::string functionName(llvm::StringRef kernel, const FunctionPlan &function);

/// The source of `kernels`, which share it because most of the time that nvcc
/// takes goes into headers: the includes, then for each kernel a comment that
/// says what it computes and one extern "C" function for each of its plan's.
/// Comments are whole lines, so that who compares sources can leave them out.
std::string printSource(llvm::ArrayRef<const PrintedKernel *> kernels);

/// The same of a kernel that no command launches; `head` is its comment, whole
/// lines.
std::string printUtility(llvm::StringRef kernel, llvm::StringRef head,
                         const KernelPlan &plan);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PRINTER_H
