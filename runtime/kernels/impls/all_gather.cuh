// all_gather: the members' rows or columns joined, on every member. Two ways:
//
//   packets  every member sends its packets to all. One hop; bytes sent:
//            2 (G - 1) b of b own ones.
//   bulk     every member writes its own part into the outputs of all, between
//            two meetings. (G - 1) b and two fences with their round trips.
//
// Any shape, stride and alignment; only real rows travel. Layout Padded: zeros
// behind a member's rows. The floor is (G - 1) b over the links' bandwidth.

#pragma once

#include "runtime/kernels/comm/members.cuh"
#include "runtime/kernels/comm/packets.cuh"

namespace saddle::device {

/// The rows between a member's and the next one's.
template <int size, RowLayout layout, typename Unit, typename Rows>
__device__ __forceinline__ void zeroGaps(const Rows &rows, void *out) {
  if constexpr (layout == RowLayout::Padded) {
    typename Unit::Values zeros;
    memset(&zeros, 0, sizeof(zeros));
    uint32_t end = rows.largest() * Unit::InPart::kPerRow;
    for (uint32_t member = 0; member < size; ++member) {
      uint32_t begin = rows.of(member) * Unit::InPart::kPerRow;
      forEachUnit(end - begin, [&](uint32_t unit) {
        Unit(rows, member, begin + unit).storeAll(out, zeros);
      });
    }
  }
}

/// `extent` counts the rows of the input.
template <int size, RowLayout layout, int extent, typename In, typename Out,
          uint64_t memory>
__device__ void allGatherPackets(const LaunchParams &p) {
  using Unit = JoinedUnit<layout, 8, In, Out>;
  using Values = typename Unit::Values;
  using Rows = MemberRows<size, layout, extent, In::kRows>;
  constexpr uint32_t kSlot = Unit::InPart::kTotal;
  static_assert(memory == packetMemory(size * int64_t(kSlot)),
                "the planner reserves what the kernel uses");
  __shared__ typename Rows::Shared shared;
  Rows rows(p, shared);
  Exchange<size> exchange(
      p, signatureOf(4, In::kRows, In::kCols, sizeof(typename In::Element)),
      rows.digest());
  Packets<size> packets(exchange);
  uint32_t me = exchange.me;
  const void *in = p.operands[0];
  void *out = p.operands[1];
  constexpr uint32_t kPerRow = Unit::InPart::kPerRow;
  constexpr int kUnits = kBatch<size, kSlot>;
  forEachBatch<kUnits>(rows.of(me) * kPerRow, [&](Batch<kUnits> batch) {
    Values own[kUnits];
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
        own[k] = Unit(rows, me, batch.unit(k)).loadPart(in);
#pragma unroll
    for (int k = 0; k < kUnits; ++k) {
      if (!batch.has(k))
        continue;
#pragma unroll
      for (uint32_t ahead = 1; ahead < size; ++ahead)
        packets.send((me + ahead) % size, me * kSlot + batch.unit(k), own[k]);
      Unit(rows, me, batch.unit(k)).storeAll(out, own[k]);
    }
  });
  zeroGaps<size, layout, Unit>(rows, out);
  bool came = true;
  forEachBatch<kUnits>(rows.largest() * kPerRow, [&](Batch<kUnits> batch) {
    constexpr int kCount = kWave<size>;
#pragma unroll 1
    for (uint32_t first = 0; first < size; first += kCount) {
      Values values[kUnits * kCount];
      auto member = [&](int i) { return first + i % kCount; };
      auto unit = [&](int i) { return batch.unit(i / kCount); };
      auto isAwaited = [&](int i) {
        return member(i) < size && member(i) != me &&
               unit(i) < rows.of(member(i)) * kPerRow;
      };
      came = came &&
             packets.collect(
                 values, isAwaited,
                 [&](int i) { return member(i) * kSlot + unit(i); }, member);
      if (!came)
        return;
#pragma unroll
      for (int i = 0; i < kUnits * kCount; ++i)
        if (isAwaited(i))
          Unit(rows, member(i), unit(i)).storeAll(out, values[i]);
    }
  });
  exchange.finish(size * kSlot);
}

template <int size, RowLayout layout, int extent, typename In, typename Out,
          uint64_t memory>
__device__ void allGatherBulk(const LaunchParams &p) {
  using Unit = JoinedUnit<layout, 16, In, Out>;
  using Values = typename Unit::Values;
  using Rows = MemberRows<size, layout, extent, In::kRows>;
  static_assert(memory == sizeof(ExchangeState),
                "the planner reserves what the kernel uses");
  constexpr int kUnroll = 4; // reads under way together in a thread
  __shared__ typename Rows::Shared shared;
  Rows rows(p, shared);
  Exchange<size> exchange(
      p, signatureOf(5, In::kRows, In::kCols, sizeof(typename In::Element)),
      rows.digest());
  uint32_t me = exchange.me;
  const void *in = p.operands[0];
  void *out = p.operands[1];
  // Nobody reads or writes what was in the outputs any more.
  if (exchange.meet(0)) {
    zeroGaps<size, layout, Unit>(rows, out);
    using Spread = Distances<size, Unit::InAll::kIsDense>;
    Spread rotated(exchange, me);
    uint32_t units = rows.of(me) * Unit::InPart::kPerRow;
    uint32_t step = gridDim.x * blockDim.x;
    for (uint32_t base = blockIdx.x * blockDim.x + threadIdx.x; base < units;
         base += kUnroll * step) {
      Values values[kUnroll];
#pragma unroll
      for (int k = 0; k < kUnroll; ++k)
        if (base + k * step < units)
          values[k] = Unit(rows, me, base + k * step).loadPart(in);
#pragma unroll
      for (int k = 0; k < kUnroll; ++k)
        if (base + k * step < units) {
          Unit place(rows, me, base + k * step);
#pragma unroll Spread::kUnroll
          for (uint32_t ahead = 0; ahead < size; ++ahead)
            place.storeAll(rotated.apply(ahead, out), values[k]);
        }
    }
    // All parts of this rank's output are written.
    exchange.meet(1);
  }
  exchange.finish();
}

} // namespace saddle::device
