// What planners of kernels with a CTA per row share.

#ifndef SADDLE_PASSES_TARGET_SM90A_PLANS_ROWPLAN_H
#define SADDLE_PASSES_TARGET_SM90A_PLANS_ROWPLAN_H

#include "passes/Target/Sm90a/Plans/Plans.h"

namespace saddle::cuda {

/// CTAs that take rows in turn: one each, until the machine is full.
uint32_t blocksOfRows(const LaunchDesc &launch);

/// A kernel of impls/norm.cuh with that many threads for a row.
KernelPlan planOfRows(const LaunchDesc &launch, std::string body,
                      uint32_t threads);

/// Threads that hold a row between them, a vector or more each; 0 with an error
/// when a row is too wide for a CTA (impls/norm.cuh, RowShare).
uint32_t threadsOfRow(const LaunchDesc &launch,
                      llvm::ArrayRef<const Operand *> operands,
                      std::string &error);

/// Of `threads` that would have a vector of a row each: of many rows, as few as
/// hold its `vectors`, so many each as registers allow.
uint32_t threadsOfManyRows(const LaunchDesc &launch, uint32_t threads,
                           int64_t vectors, int64_t width);

/// As threadsOfRow(), but of many rows a thread holds as much of one as
/// registers allow: while a CTA waits for its row's sum, the others of its
/// multiprocessor, more of them then, load theirs.
uint32_t threadsOfManyRows(const LaunchDesc &launch,
                           llvm::ArrayRef<const Operand *> operands,
                           std::string &error);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_ROWPLAN_H
