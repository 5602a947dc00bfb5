// What a rank and its counterparts in the next and the previous pipeline stage
// share: mailboxes that the previous stage fills, and counters.
//
//   BoundaryState | mailboxes
//
// Every rank has one such block at the same place. A middle stage receives
// through its own block and sends into that of the next stage; the two use
// different fields. Both ends count their transfers, as every kernel of them is
// launched in the same order on both.

#pragma once

#include "runtime/kernels/comm/exchange.cuh"

namespace saddle::device {

/// Parcels under way between two stages.
constexpr uint32_t kMailboxes = 2;

struct alignas(256) BoundaryState {
  // This rank as a sender; `taken` is written by the receiver.
  uint32_t sent, sendFinished, taken;
  // This rank as a receiver.
  uint32_t received, receiveFinished;
  FaultMark mark;
  uint32_t reserved[57];
  // Written by the sender.
  WordPair headers[kMailboxes];
  uint32_t flags[kMailboxes][kMaxWaitingBlocks];
  uint32_t padding[56];
};
static_assert(sizeof(BoundaryState) == 1536,
              "passes/Target/Sm90a/Plans/Exchange.cpp counts on it");

/// Bytes of the block with room for parcels of `units` 16-byte units.
__host__ __device__ constexpr uint64_t boundaryMemory(int64_t units) {
  return sizeof(BoundaryState) + (units + 31) / 32 * 32 * 16 * kMailboxes;
}

/// A unit's place in a mailbox. Mailboxes lie interleaved, 32 units each, so
/// that the place does not depend on the size of the parcels.
template <typename Values>
__device__ __forceinline__ Values *
mailboxUnit(BoundaryState *state, uint32_t mailbox, uint32_t unit) {
  static_assert(sizeof(Values) == 16, "mailboxes hold 16-byte units");
  uint64_t index =
      (uint64_t(unit / 32) * kMailboxes + mailbox) * 32 + unit % 32;
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
