// What a rank and its counterparts in the next and the previous pipeline stage
// share: mailboxes that the previous stage fills, and counters.
//
//   BoundaryState | mailboxes                           (shared/exchange.h)
//
// Every rank has one such block at the same place. A middle stage receives
// through its own block and sends into that of the next stage; the two use
// different fields. Both ends count their transfers, as every kernel of them is
// launched in the same order on both.

#pragma once

#include "runtime/kernels/comm/exchange.cuh"

namespace saddle::device {

/// A unit's place in a mailbox. Mailboxes lie interleaved, so that the place
/// does not depend on the size of the parcels.
template <typename Values>
__device__ __forceinline__ Values *
mailboxUnit(BoundaryState *state, uint32_t mailbox, uint32_t unit) {
  static_assert(sizeof(Values) == kMailboxUnitBytes,
                "mailboxes hold units of one size");
  constexpr uint32_t kEach = kMailboxInterleave;
  uint64_t index =
      (uint64_t(unit / kEach) * kMailboxes + mailbox) * kEach + unit % kEach;
  return reinterpret_cast<Values *>(state + 1) + index;
}

/// One thread waits until the other end has done its part; the same answer for
/// all threads of the CTA.
template <typename IsReady>
__device__ __forceinline__ bool waitForEnd(const LaunchParams &p,
                                           BoundaryState *state, uint32_t other,
                                           uint32_t number, IsReady isReady) {
  bool came = true;
  if (threadIdx.x == 0) {
    Patience patience;
    while (came && !isReady())
      if (patience.runsOut())
        came = patience.lasts(p, &state->mark, p.group->ranks[other], number,
                              number - 1);
  }
  return __syncthreads_and(came);
}

} // namespace saddle::device
