// reduce_scatter_sum: each member gets its part, along rows or columns, of the
// sum of all inputs, added in rank order in fp32 and rounded once. Two ways:
//
//   packets  every member sends to each other one its part. One hop; bytes
//            sent: 2 (G - 1) b of b bytes of a part.
//   bulk     every member reads its part of all inputs in place, between two
//            meetings. (G - 1) b and two fences with their round trips.
//
// Any shape, stride and alignment; only real rows travel. The floor is (G - 1)
// b over the links' bandwidth.

#pragma once

#include "runtime/kernels/comm/members.cuh"
#include "runtime/kernels/comm/reduce.cuh"

namespace saddle::device {

/// `extent` counts the rows of the output.
template <int size, RowLayout layout, int extent, typename In, typename Out,
          uint64_t memory>
__device__ void reduceScatterPackets(const LaunchParams &p) {
  using Unit = JoinedUnit<layout, 8, Out, In>;
  using Values = typename Unit::Values;
  using Sum = UnitSum<typename Out::Element, Unit::InPart::kCount>;
  using Rows = MemberRows<size, layout, extent, Out::kRows>;
  constexpr uint32_t kSlot = Unit::InPart::kTotal;
  static_assert(memory == packetMemory(size * int64_t(kSlot)),
                "the planner reserves what the kernel uses");
  __shared__ typename Rows::Shared shared;
  Rows rows(p, shared);
  Exchange<size> exchange(
      p, signatureOf(6, Out::kRows, Out::kCols, sizeof(typename Out::Element)),
      rows.digest());
  Packets<size> packets(exchange);
  uint32_t me = exchange.me;
  const void *in = p.operands[0];
  constexpr uint32_t kPerRow = Unit::InPart::kPerRow;
  forEachUnit(rows.largest() * kPerRow, [&](uint32_t unit) {
    // Members that are read for together, before the first is sent.
    constexpr int kCount = kWave<size>;
#pragma unroll 1
    for (uint32_t first = 1; first < size; first += kCount) {
      Values own[kCount];
      auto member = [&](int k) { return (me + first + k) % size; };
      auto exists = [&](int k) {
        return first + k < size && unit < rows.of(member(k)) * kPerRow;
      };
#pragma unroll
      for (int k = 0; k < kCount; ++k)
        if (exists(k))
          own[k] = Unit(rows, member(k), unit).loadAll(in);
#pragma unroll
      for (int k = 0; k < kCount; ++k)
        if (exists(k))
          packets.send(member(k), me * kSlot + unit, own[k]);
    }
  });
  bool came = true;
  constexpr int kUnits = kBatch<size, kSlot>;
  forEachBatch<kUnits>(rows.of(me) * kPerRow, [&](Batch<kUnits> batch) {
    Values own[kUnits], sums[kUnits];
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
        own[k] = Unit(rows, me, batch.unit(k)).loadAll(in);
    came = came && addPackets<size, Sum>(
                       packets, me, batch, own,
                       [&](uint32_t member, int k) {
                         return member * kSlot + batch.unit(k);
                       },
                       sums);
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (came && batch.has(k))
        Unit(rows, me, batch.unit(k)).storePart(p.operands[1], sums[k]);
  });
  exchange.finish(size * kSlot);
}

template <int size, RowLayout layout, int extent, typename In, typename Out,
          uint64_t memory>
__device__ void reduceScatterBulk(const LaunchParams &p) {
  using Unit = JoinedUnit<layout, 16, Out, In>;
  using Sum = UnitSum<typename Out::Element, Unit::InPart::kCount>;
  using Rows = MemberRows<size, layout, extent, Out::kRows>;
  static_assert(memory == sizeof(ExchangeState),
                "the planner reserves what the kernel uses");
  // Units whose terms are under way together in a thread.
  constexpr int kUnroll = !Unit::InAll::kIsDense ? 1
                          : size >= 8            ? 2
                                                 : 16 / size;
  __shared__ typename Rows::Shared shared;
  Rows rows(p, shared);
  Exchange<size> exchange(
      p, signatureOf(7, Out::kRows, Out::kCols, sizeof(typename Out::Element)),
      rows.digest());
  uint32_t me = exchange.me;
  // All inputs are complete.
  if (exchange.meet(0)) {
    using Spread = Distances<size, Unit::InAll::kIsDense>;
    Spread inOrder(exchange, 0);
    uint32_t units = rows.of(me) * Unit::InPart::kPerRow;
    uint32_t step = gridDim.x * blockDim.x;
    for (uint32_t base = blockIdx.x * blockDim.x + threadIdx.x; base < units;
         base += kUnroll * step) {
      Sum sums[kUnroll];
#pragma unroll Spread::kUnroll
      for (uint32_t member = 0; member < size; ++member)
#pragma unroll
        for (int k = 0; k < kUnroll; ++k)
          if (base + k * step < units)
            sums[k].add(Unit(rows, me, base + k * step)
                            .loadAll(inOrder.apply(member, p.operands[0])));
#pragma unroll
      for (int k = 0; k < kUnroll; ++k)
        if (base + k * step < units)
          Unit(rows, me, base + k * step)
              .storePart(p.operands[1], sums[k].rounded());
    }
    // All have read this rank's input.
    exchange.meet(1);
  }
  exchange.finish();
}

} // namespace saddle::device
