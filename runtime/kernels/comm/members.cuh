// How many rows each member has, and where they lie among all members' rows.
// Every rank works it out from the step header (docs/Runtime.md,
// "Collectives"; the definition is runtime/src/backend/RowCounts.cpp).

#pragma once

#include "runtime/kernels/abi.h"

namespace saddle::device {

/// Values of schema::RowLayout. Whole: not along dimension 0, all members have
/// the same rows.
enum class RowLayout { Whole = 0, Packed = 2, Padded = 3, Shares = 4 };

/// Values of schema::Extent.
constexpr int kTokens = 1, kRows = 2;

/// The rows of `size` members. `extent` counts a member's own rows, and
/// `capacity` is the most that it can have.
template <int size, RowLayout layout, int extent, int64_t capacity>
class MemberRows {
  static constexpr bool kIsRagged =
      layout == RowLayout::Packed || layout == RowLayout::Padded;
  static_assert(!kIsRagged || extent == kTokens || extent == kRows,
                "replicas differ in tokens and in rows");

public:
  struct Shared {
    uint32_t counts[kIsRagged ? size : 1], starts[kIsRagged ? size : 1];
  };

  /// All threads of the CTA; `shared` is in shared memory.
  __device__ __forceinline__ MemberRows(const LaunchParams &p, Shared &shared)
      : shared(shared) {
    if constexpr (kIsRagged) {
      const uint32_t *ofReplicas =
          extent == kTokens ? p.step->tokens : p.step->rows;
      for (uint32_t i = threadIdx.x; i < size; i += blockDim.x)
        shared.counts[i] = bounded(ofReplicas[p.group->replicas[i]]);
      __syncthreads();
      uint32_t start = 0;
      for (uint32_t i = 0; i < size; ++i) {
        if (threadIdx.x == 0)
          shared.starts[i] = start;
        start += shared.counts[i];
        most = max(most, shared.counts[i]);
      }
      __syncthreads();
    } else if constexpr (layout == RowLayout::Shares) {
      all = p.step->counts[kTokens];
      most = bounded((all + size - 1) / size);
    } else {
      most = bounded(p.step->counts[extent]);
    }
  }

  __device__ __forceinline__ uint32_t of(uint32_t member) const {
    if constexpr (kIsRagged) {
      return shared.counts[member];
    } else if constexpr (layout == RowLayout::Shares) {
      uint32_t start = startOf(member);
      return all < start ? 0 : min(all - start, most);
    } else {
      return most;
    }
  }
  /// First row of the member in the joined matrix.
  __device__ __forceinline__ uint32_t startOf(uint32_t member) const {
    if constexpr (layout == RowLayout::Shares || layout == RowLayout::Padded)
      return member * most;
    else if constexpr (layout == RowLayout::Packed)
      return shared.starts[member];
    else
      return 0;
  }
  /// Of the member with the most.
  __device__ __forceinline__ uint32_t largest() const { return most; }
  /// One number that stands for all counts: equal when there is only one.
  __device__ __forceinline__ uint32_t digest() const {
    uint32_t value = layout == RowLayout::Shares ? all : most;
    if constexpr (kIsRagged)
      for (uint32_t i = 0; i < size; ++i)
        value = value * 31 + shared.counts[i];
    return value;
  }

private:
  static __device__ __forceinline__ uint32_t bounded(uint32_t count) {
    return min(count, static_cast<uint32_t>(capacity));
  }

  const Shared &shared;
  uint32_t most = 0, all = 0;
};

} // namespace saddle::device
