// What planners of kernels that wait for their peers have in common.

#ifndef SADDLE_PASSES_TARGET_SM90A_PLANS_EXCHANGE_H
#define SADDLE_PASSES_TARGET_SM90A_PLANS_EXCHANGE_H

#include "passes/Target/Sm90a/KernelPlan.h"

#include <cstdint>

namespace saddle::cuda {

// Ranks may share a device, and then all CTAs that wait for one another must be
// resident together. With 128 registers two CTAs of 256 threads fit on each of
// 132 multiprocessors: room for 8 ranks with 32 CTAs each.
constexpr int64_t kWaitingBlocks = 32;
// With a device each, one CTA on almost every multiprocessor moves many bytes
// faster (docs/benchmarks/exchange-4.json).
constexpr int64_t kExclusiveBlocks = 128;
constexpr int64_t kWaitingThreads = 256;
constexpr int64_t kWaitingResidentBlocks = 2;

/// Whether a sum of so many bytes of a rank's input is quickest in one shot
/// (impls/all_reduce.cuh).
bool fitsOneShot(int64_t bytes, int64_t groupSize);

/// A kernel of one waiting function with a thread for each of `items`, if there
/// can be so many.
KernelPlan planWaiting(llvm::StringRef header, std::string body, int64_t items,
                       uint64_t memory);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_EXCHANGE_H
