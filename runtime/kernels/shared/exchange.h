// Memory that the ranks of a group share: what exchanges (comm/exchange.cuh)
// and transfers (comm/boundary.cuh) keep in it, and how much they need.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_EXCHANGE_H
#define SADDLE_RUNTIME_KERNELS_SHARED_EXCHANGE_H

#include "runtime/kernels/abi.h"
#include "runtime/kernels/shared/sizes.h"

namespace saddle::device {

/// CTAs that may wait for their counterparts on other members.
constexpr int kMaxWaitingBlocks = 128;

/// Two 64-bit words; each of them moves as a whole, the pair need not.
struct alignas(16) WordPair {
  uint64_t first, second;
};

/// Of a block that members of a group share. `broken`: this rank has given up,
/// so its later waits end without asking the host's memory. `claimed`, of the
/// first member: somebody writes the record.
struct FaultMark {
  uint32_t broken, claimed;
};

//===--- Exchanges --------------------------------------------------------===//

/// The part that all exchanges of a group have in common; zero at first.
struct alignas(256) ExchangeState {
  uint32_t epoch;   // of the last exchange
  uint32_t begun;   // CTAs of the exchange in progress
  uint32_t packets; // the most that an exchange has used
  FaultMark mark;
  uint32_t reserved[59];
  // Written by the members; [epoch % 2].
  WordPair headers[2][kMaxGroup];
  uint32_t flags[2][2][kMaxWaitingBlocks][kMaxGroup]; // [..][round][CTA]
};

/// A packet is a WordPair with so many bytes of data.
constexpr int kPacketPayload = 8;
/// Packets lie in two buffers, taken in turn, so many of each after the other.
constexpr uint32_t kPacketBuffers = 2, kPacketInterleave = 32;

/// Bytes that an exchange of `packets` packets needs.
constexpr uint64_t packetMemory(int64_t packets) {
  return sizeof(ExchangeState) +
         static_cast<uint64_t>(roundUp(packets, kPacketInterleave)) *
             kPacketBuffers * sizeof(WordPair);
}
/// Of one whose members write and read each other's operands in place, in
/// units of so many bytes.
constexpr uint64_t kBulkMemory = sizeof(ExchangeState);
constexpr int kBulkUnitBytes = 16;

//===--- Transfers between pipeline stages --------------------------------===//

/// Parcels under way between two stages.
constexpr uint32_t kMailboxes = 2;
/// Mailboxes hold units of so many bytes, so many of each after the other.
constexpr uint32_t kMailboxUnitBytes = 16, kMailboxInterleave = 32;

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

/// Bytes of the block with room for parcels of `units` units.
constexpr uint64_t boundaryMemory(int64_t units) {
  return sizeof(BoundaryState) +
         static_cast<uint64_t>(roundUp(units, kMailboxInterleave)) *
             kMailboxUnitBytes * kMailboxes;
}

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_EXCHANGE_H
