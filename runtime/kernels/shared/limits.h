// How much a CTA or a warp holds at a time, which bounds what kernels take.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_LIMITS_H
#define SADDLE_RUNTIME_KERNELS_SHARED_LIMITS_H

#include <cstdint>

namespace saddle::device {

/// Threads of a CTA.
constexpr int64_t kMostThreads = 1024;

/// Values of a row that a thread of a norm holds in registers (impls/norm.cuh);
/// of q, k and v together, those that have a partner not counted
/// (impls/qk_norm.cuh).
constexpr int64_t kRowValues = 32;

/// Values of a group that a warp encodes in registers (tile/quantize.cuh).
constexpr int64_t kMostGroupValues = 512;

/// Experts that a router chooses among: a thread has one (impls/router.cuh).
constexpr int64_t kMostRoutedExperts = kMostThreads;

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_LIMITS_H
