// Kernels of rows whose columns lie on several ranks: a row's sums over its
// columns, up to two, go to all members of the group between the two halves of
// the work, as one packet for each member: one hop, about 2 us, instead of a
// collective and the launches around it.
//
// Few rows: one launch. Many: the halves are launches of their own that fill
// the machine, and only the exchange between them, in which a row is a thread's
// work, runs on CTAs that wait.

#pragma once

#include "runtime/kernels/comm/reduce.cuh"
#include "runtime/kernels/comm/scalars.cuh"
#include "runtime/kernels/impls/norm.cuh"

namespace saddle::device {

/// The real rows of a matrix.
template <int extent, typename X>
__device__ __forceinline__ uint32_t rowsOf(const LaunchParams &p) {
  return min(p.step->counts[extent], static_cast<uint32_t>(X::kRows));
}

/// One launch of CTAs that are all resident, at most `blocks` where ranks
/// share a device, with a row for each in turn, of up to `most`; all are sent
/// before the first is waited for. `memory`
/// bytes of exchange memory; `signature` as Exchange has it. load(row) gives
/// the CTA's part of a row, sums(part, sums) its sums, the same in every
/// thread; prepare(part, row) does what needs no sums while they are on their
/// way, and finish(part, total) the rest. All are called by all threads.
template <int size, uint64_t memory, int blocks, int64_t most, typename Load,
          typename Sums, typename Prepare, typename Finish>
__device__ __forceinline__ void
rowsAcrossRanks(const LaunchParams &p, uint32_t signature, uint32_t rows,
                Load load, Sums sums, Prepare prepare, Finish finish) {
  using Exchanged = ExchangedScalars<size, most>;
  static_assert(Exchanged::kMemory == memory,
                "the planner reserves what the kernel uses");
  __shared__ float2 total;
  Exchanged exchange(p, signature, rows);
  bool speaks = threadIdx.x < 32;

  float mine[2];
  auto send = [&](const auto &part, uint32_t row) {
    sums(part, mine);
    if (speaks)
      exchange.send(row, {mine[0], mine[1]});
  };
  // False, in all threads, when a member does not come.
  auto receive = [&](auto &part, uint32_t row) {
    prepare(part, row);
    bool came = true;
    if (speaks) {
      float2 values = {mine[0], mine[1]};
      came = exchange.sum(row, values);
      if (threadIdx.x == 0)
        total = values;
    }
    if (!__syncthreads_and(came))
      return false;
    finish(part, total);
    __syncthreads();
    return true;
  };

  if (most <= blocks || rows <= gridDim.x) {
    if (blockIdx.x < rows) {
      auto part = load(blockIdx.x);
      send(part, blockIdx.x);
      receive(part, blockIdx.x);
    }
  } else {
    for (uint32_t row = blockIdx.x; row < rows; row += gridDim.x)
      send(load(row), row);
    for (uint32_t row = blockIdx.x; row < rows; row += gridDim.x) {
      auto part = load(row);
      sums(part, mine); // the same bits again
      if (!receive(part, row))
        break;
    }
  }
  exchange.finish();
}

/// First of three launches: the sums of squares of each row of `Inputs`, which
/// are the launch's first operands, go to the workspace. A warp per row in
/// turn, without a barrier.
template <int extent, typename... Inputs>
__device__ __forceinline__ void rowSumsToWorkspace(const LaunchParams &p) {
  constexpr int kColumns = sizeof...(Inputs);
  uint32_t warps = gridDim.x * (blockDim.x / 32);
  for (uint32_t row = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
       row < p.step->counts[extent]; row += warps) {
    int i = 0;
    Vector<float, kColumns> sums;
    ((sums[i] = warpSumOfSquares<Inputs>(p.operands[i], row), ++i), ...);
    if (threadIdx.x % 32 == 0)
      static_cast<Vector<float, kColumns> *>(p.workspace)[row] = sums;
  }
}

/// Second: the sums in the workspace become those over all members. A thread
/// per row in turn; all CTAs resident.
template <int size, uint64_t memory, int64_t most, int columns>
__device__ __forceinline__ void
exchangeRowSums(const LaunchParams &p, uint32_t signature, uint32_t rows) {
  static_assert(memory == kPacketMemory<size * most>,
                "the planner reserves what the kernel uses");
  static_assert(columns == 1 || columns == 2, "a packet has two numbers");
  using Values = Vector<float, 2>;
  Exchange<size> exchange(p, signature, rows);
  Packets<size> packets(exchange);
  constexpr auto kSlot = static_cast<uint32_t>(most);
  auto *sums = static_cast<float *>(p.workspace);
  auto sumsOf = [&](uint32_t row) {
    float *first = sums + static_cast<int64_t>(row) * columns;
    return Values{first[0], columns == 2 ? first[columns - 1] : 0.0f};
  };
  forEachUnit(rows, [&](uint32_t row) {
    packets.sendToOthers(exchange.me * kSlot + row, sumsOf(row));
  });
  addUnits<size, kSlot, UnitSum<float, 2>, Values>(
      packets, exchange.me, rows, sumsOf, [&](uint32_t row, Values total) {
        float *first = sums + static_cast<int64_t>(row) * columns;
#pragma unroll
        for (int j = 0; j < columns; ++j)
          first[j] = total[j];
      });
  exchange.finish(size * kSlot);
}

} // namespace saddle::device
