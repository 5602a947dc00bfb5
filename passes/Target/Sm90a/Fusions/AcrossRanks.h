// Fusions of rows whose columns lie on several ranks
// (runtime/kernels/impls/rows_across_ranks.cuh).

#ifndef SADDLE_PASSES_TARGET_SM90A_FUSIONS_ACROSSRANKS_H
#define SADDLE_PASSES_TARGET_SM90A_FUSIONS_ACROSSRANKS_H

#include "dialects/Dist/IR/DistDialect.h"
#include "passes/Target/Sm90a/KernelPlan.h"

namespace saddle::cuda {

/// Whether a warp of the kernels that exchange has a lane for each rank of the
/// sum.
bool fitsAWarp(dist::AllReduceOp reduce);

/// The functions of such a kernel. Grids, and the threads of those that wait,
/// are planRowsAcrossRanks'.
struct RowsAcrossRanks {
  llvm::StringRef header;
  int64_t tokens;
  /// Sums of a row, of these operands, which stand first in the launch.
  llvm::ArrayRef<const Operand *> summed;
  /// Threads that hold a row between them, at most a waiting CTA's; 0 when a
  /// row is too wide for them.
  uint32_t waitingThreads;
  /// All in one launch of so many CTAs.
  llvm::function_ref<std::string(uint64_t memory, uint32_t blocks)> together;
  /// Of three launches the first, a warp per row, by the name of its function;
  /// the second; and the third with its threads and grid.
  llvm::StringRef sums;
  llvm::function_ref<std::string(uint64_t memory)> exchange;
  llvm::function_ref<llvm::FailureOr<FunctionPlan>()> finish;
};

/// One launch for few tokens, three for many. Fails where `finish` does.
llvm::FailureOr<KernelPlan> planRowsAcrossRanks(const LaunchDesc &launch,
                                                const RowsAcrossRanks &rows);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_FUSIONS_ACROSSRANKS_H
