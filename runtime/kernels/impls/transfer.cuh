// send and receive: a rank hands rows to its counterpart in the next pipeline
// stage. The sender writes them into a mailbox of the receiver, CTA by CTA with
// a flag each, and goes on; it waits only while all mailboxes are full. The
// receiver's CTAs copy them out. p.group is the pair {sender, receiver}.
//
// Any shape, stride and alignment; only real rows travel. Floor: the bytes over
// the bandwidth of the link, once, and over that of the memory, once.

#pragma once

#include "runtime/kernels/comm/boundary.cuh"
#include "runtime/kernels/comm/units.cuh"

namespace saddle::device {

/// One end of a transfer of rows of M: this rank's block and the other end's,
/// and which transfer it is, one more than `counter` says. All threads of all
/// CTAs construct it.
template <int extent, typename M>
struct TransferEnd {
  using Unit = Units<M, kMailboxUnitBytes>;
  using Values = typename Unit::Values;
  static constexpr uint64_t kMemory = boundaryMemory(Unit::kTotal);

  /// `other` is its index in the pair.
  __device__ __forceinline__ TransferEnd(const LaunchParams &p, uint32_t other,
                                         uint32_t BoundaryState::*counter)
      : p(p), mine(static_cast<BoundaryState *>(p.exchange)),
        theirs(reinterpret_cast<BoundaryState *>(
            reinterpret_cast<char *>(mine) + p.group->peers[other])),
        number(loadRelaxed(&(mine->*counter)) + 1),
        mailbox(number % kMailboxes),
        rows(min(p.step->counts[extent], uint32_t(M::kRows))) {}

  /// What both ends must agree on.
  __device__ __forceinline__ WordPair header() const {
    return {stamped(kSignature<ExchangeKind::Transfer, M>, number),
            stamped(rows, number)};
  }

  /// Calls move(unit in the mailbox of `owner`, unit in the rows, its width)
  /// for each unit that is this thread's.
  template <typename Move>
  __device__ __forceinline__ void forEach(BoundaryState *owner, Move move) {
    forEachUnit(rows * Unit::kPerRow, [&](uint32_t unit) {
      uint32_t column = unit % Unit::kPerRow * Unit::kCount;
      move(*mailboxUnit<Values>(owner, mailbox, unit),
           M::row(p.operands[0], unit / Unit::kPerRow) + column,
           Unit::width(column));
    });
  }

  const LaunchParams &p;
  BoundaryState *const mine;
  BoundaryState *const theirs;
  const uint32_t number, mailbox, rows;
};

template <int extent, typename M, uint64_t memory>
__device__ void sendRows(const LaunchParams &p) {
  using End = TransferEnd<extent, M>;
  using Values = typename End::Values;
  static_assert(memory == End::kMemory,
                "the planner reserves what the kernel uses");
  End end(p, 1, &BoundaryState::sent);
  BoundaryState *mine = end.mine, *theirs = end.theirs;
  uint32_t number = end.number, mailbox = end.mailbox;
  // Unsigned, so that it holds when the numbers wrap. The acquire puts the
  // receiver's reads of the mailbox in front of the writes to it.
  bool isFree = waitForEnd(p, mine, 1, number, [&] {
    return number - loadAcquire(&mine->taken) <= kMailboxes;
  });
  if (isFree) {
    end.forEach(theirs, [](Values &box, auto *from, int width) {
      box = End::Unit::load(from, width);
    });
    if (blockIdx.x == 0 && threadIdx.x == 0)
      storeRelaxed(&theirs->headers[mailbox], end.header());
    __syncthreads();
    // The flags of CTAs that this grid lacks too, so that none is ever so old
    // that its number comes back.
    for (uint32_t i = blockIdx.x + threadIdx.x * gridDim.x;
         i < kMaxWaitingBlocks; i += blockDim.x * gridDim.x)
      storeRelease(&theirs->flags[mailbox][i], number);
  }
  __syncthreads();
  if (threadIdx.x == 0 && atomicAdd(&mine->sendFinished, 1) == gridDim.x - 1) {
    mine->sendFinished = 0;
    mine->sent = number;
  }
}

template <int extent, typename M, uint64_t memory>
__device__ void receiveRows(const LaunchParams &p) {
  using End = TransferEnd<extent, M>;
  using Values = typename End::Values;
  static_assert(memory == End::kMemory,
                "the planner reserves what the kernel uses");
  End end(p, 0, &BoundaryState::received);
  BoundaryState *mine = end.mine;
  uint32_t number = end.number, mailbox = end.mailbox;
  // The flag of CTA 0 covers the header.
  bool came = waitForEnd(p, mine, 0, number, [&] {
    return loadAcquire(&mine->flags[mailbox][blockIdx.x]) == number &&
           loadAcquire(&mine->flags[mailbox][0]) == number;
  });
  WordPair expected = end.header(),
           header = loadRelaxed(&mine->headers[mailbox]);
  bool agrees =
      header.first == expected.first && header.second == expected.second;
  if (came && agrees)
    end.forEach(mine, [](Values &box, auto *to, int width) {
      End::Unit::store(to, box, width);
    });
  else if (came && blockIdx.x == 0 && threadIdx.x == 0)
    raiseFault(p, &mine->mark, p.group->ranks[0], kFaultMismatch, end.rows,
               static_cast<uint32_t>(header.second));
  __syncthreads();
  if (threadIdx.x != 0)
    return;
  // All CTAs' reads come before the word that lets the sender write again.
  __threadfence_system();
  if (atomicAdd(&mine->receiveFinished, 1) != gridDim.x - 1)
    return;
  __threadfence_system();
  mine->receiveFinished = 0;
  mine->received = number;
  if (came)
    storeRelease(&end.theirs->taken, number);
}

} // namespace saddle::device
