// What the kernels of candidates can take (impls/candidates.cuh), and what the
// ranges of a row hand on.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_CANDIDATES_H
#define SADDLE_RUNTIME_KERNELS_SHARED_CANDIDATES_H

#include "runtime/kernels/shared/limits.h"

namespace saddle::device {

/// Values whose keys a thread holds in registers, and all of a CTA's.
constexpr int64_t kCandidateValues = 16;
constexpr int64_t kMostCandidateValues = kMostThreads * kCandidateValues;
/// Candidates that are kept of a row: a thread of the smallest CTA for each.
constexpr int64_t kMostCandidates = 64;

/// The workspace of `count` candidates of ranges: their values, then their
/// tokens.
constexpr int64_t rangeCandidateBytes(int64_t count) {
  return count * static_cast<int64_t>(sizeof(float) + sizeof(int32_t));
}

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_CANDIDATES_H
