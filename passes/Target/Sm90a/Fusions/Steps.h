// Functions that were planned for one step of a fused launch, within it.

#ifndef SADDLE_PASSES_TARGET_SM90A_FUSIONS_STEPS_H
#define SADDLE_PASSES_TARGET_SM90A_FUSIONS_STEPS_H

#include "passes/Target/Sm90a/KernelPlan.h"

namespace saddle::cuda {

/// Where a step has its operands, in its own order, and its workspace.
struct StepPlace {
  /// Instead of an operand's number: the value between two steps, in the
  /// launch's workspace from `between` on.
  static constexpr int64_t kBetween = -1;

  llvm::SmallVector<int64_t> operands;
  uint64_t between = 0;
  /// Where the step's workspace begins in the launch's.
  uint64_t workspace = 0;
};

/// Adds the functions and headers of a step's plan behind those that `plan`
/// has; one without a suffix gets `name`. Workspaces are the caller's.
void appendStep(KernelPlan &plan, const KernelPlan &step,
                const StepPlace &place, llvm::StringRef name);

/// Step `index` of a fused launch as a launch of its own on these operands.
LaunchDesc stepOf(const LaunchDesc &launch, size_t index,
                  std::vector<Operand> operands);

/// A dense value between steps that looks like `operand`.
Operand valueBetween(const Operand &operand, llvm::StringRef name);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_FUSIONS_STEPS_H
