// send and receive: a rank hands rows to its counterpart in the next pipeline
// stage. The sender writes them into a mailbox of the receiver, CTA by CTA with
// a flag each, and goes on; it waits only while all mailboxes are full. The
// receiver's CTAs copy them out. p.group is the pair {sender, receiver}.
//
// Any shape, stride and alignment; only real rows travel. Floor: the bytes over
// the bandwidth of the link, once, and over that of the memory, once.

#pragma once

#include "runtime/kernels/comm/boundary.cuh"
#include "runtime/kernels/comm/members.cuh"

namespace saddle::device {

/// What both ends must agree on.
template <typename M>
__device__ __forceinline__ WordPair parcelHeader(uint32_t number,
                                                 uint32_t rows) {
  return {
      stamped(signatureOf(8, M::kRows, M::kCols, sizeof(typename M::Element)),
              number),
      stamped(rows, number)};
}

template <int extent, typename M, uint64_t memory>
__device__ void sendRows(const LaunchParams &p) {
  using Unit = Units<M, 16>;
  using Values = typename Unit::Values;
  static_assert(memory == boundaryMemory(Unit::kTotal),
                "the planner reserves what the kernel uses");
  auto *mine = static_cast<BoundaryState *>(p.exchange);
  auto *theirs = reinterpret_cast<BoundaryState *>(
      reinterpret_cast<char *>(mine) + p.group->peers[1]);
  uint32_t number = loadRelaxed(&mine->sent) + 1;
  uint32_t mailbox = number % kMailboxes;
  allowNext();
  uint32_t rows = min(p.step->counts[extent], uint32_t(M::kRows));
  // Unsigned, so that it holds when the numbers wrap. The acquire puts the
  // receiver's reads of the mailbox in front of the writes to it.
  bool isFree = waitForEnd(p, mine, 1, number, [&] {
    return number - loadAcquire(&mine->taken) <= kMailboxes;
  });
  if (isFree) {
    forEachUnit(rows * Unit::kPerRow, [&](uint32_t unit) {
      uint32_t column = unit % Unit::kPerRow * Unit::kCount;
      *mailboxUnit<Values>(theirs, mailbox, unit) =
          Unit::load(M::row(static_cast<const void *>(p.operands[0]),
                            unit / Unit::kPerRow) +
                         column,
                     Unit::width(column));
    });
    if (blockIdx.x == 0 && threadIdx.x == 0)
      storeRelaxed(&theirs->headers[mailbox], parcelHeader<M>(number, rows));
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
  using Unit = Units<M, 16>;
  using Values = typename Unit::Values;
  static_assert(memory == boundaryMemory(Unit::kTotal),
                "the planner reserves what the kernel uses");
  auto *mine = static_cast<BoundaryState *>(p.exchange);
  auto *theirs = reinterpret_cast<BoundaryState *>(
      reinterpret_cast<char *>(mine) + p.group->peers[0]);
  uint32_t number = loadRelaxed(&mine->received) + 1;
  uint32_t mailbox = number % kMailboxes;
  allowNext();
  uint32_t rows = min(p.step->counts[extent], uint32_t(M::kRows));
  // The flag of CTA 0 covers the header.
  bool came = waitForEnd(p, mine, 0, number, [&] {
    return loadAcquire(&mine->flags[mailbox][blockIdx.x]) == number &&
           loadAcquire(&mine->flags[mailbox][0]) == number;
  });
  WordPair expected = parcelHeader<M>(number, rows),
           header = loadRelaxed(&mine->headers[mailbox]);
  bool agrees =
      header.first == expected.first && header.second == expected.second;
  if (came && agrees)
    forEachUnit(rows * Unit::kPerRow, [&](uint32_t unit) {
      uint32_t column = unit % Unit::kPerRow * Unit::kCount;
      Unit::store(M::row(p.operands[0], unit / Unit::kPerRow) + column,
                  *mailboxUnit<Values>(mine, mailbox, unit),
                  Unit::width(column));
    });
  else if (came && blockIdx.x == 0 && threadIdx.x == 0)
    raiseFault(p, &mine->mark, p.group->ranks[0], kFaultMismatch, rows,
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
    storeRelease(&theirs->taken, number);
}

} // namespace saddle::device
