// Fused launches that end with a quantised linear behind a function with a CTA
// for each row: its rows leave as codes, so that no function in between encodes
// them.

#ifndef SADDLE_PASSES_TARGET_SM90A_FUSIONS_ROWSLINEAR_H
#define SADDLE_PASSES_TARGET_SM90A_FUSIONS_ROWSLINEAR_H

#include "passes/Target/Sm90a/KernelPlan.h"

namespace saddle::cuda {

/// The function of rows, in one header: `name`<extent, threads, types, type of
/// the rows>(p, numbers), and as codes `name`Encode<extent, threads, group,
/// types, codes, factors>(p, numbers, codes, factors).
struct RowsFunction {
  llvm::StringRef header, name, suffix;
  std::string types, numbers;
  uint32_t threads;
  /// Numbers of the launch's operands, in the function's order, without the
  /// rows.
  llvm::SmallVector<int64_t> operands;
};

/// The plan of the launch, whose last step is the linear, with weight, scale
/// and result at `linear`, of rows that look like `rows`.
llvm::FailureOr<KernelPlan> planRowsLinear(const LaunchDesc &launch,
                                           const RowsFunction &function,
                                           const Operand &rows,
                                           llvm::ArrayRef<int64_t> linear,
                                           std::string &error);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_FUSIONS_ROWSLINEAR_H
