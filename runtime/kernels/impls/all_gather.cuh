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

#include "runtime/kernels/comm/joined.cuh"

namespace saddle::device {

/// The rows between a member's and the next one's.
template <int size, RowLayout layout, typename Joined>
__device__ __forceinline__ void zeroGaps(const Joined &joined, void *out) {
  if constexpr (layout == RowLayout::Padded) {
    typename Joined::Values zeros;
    memset(&zeros, 0, sizeof(zeros));
    uint32_t end = joined.mostUnits();
    for (uint32_t member = 0; member < size; ++member) {
      uint32_t begin = joined.unitsOf(member);
      forEachUnit(end - begin, [&](uint32_t unit) {
        joined.at(member, begin + unit).storeAll(out, zeros);
      });
    }
  }
}

/// Of a rank that is looped back: what members have beyond its own rows.
template <int size, typename Joined>
__device__ __forceinline__ void zeroMissing(const Joined &joined, void *out) {
  typename Joined::Values zeros;
  memset(&zeros, 0, sizeof(zeros));
  for (uint32_t member = 0; member < size; ++member) {
    uint32_t begin = joined.unitsFrom(member);
    forEachUnit(joined.unitsOf(member) - begin, [&](uint32_t unit) {
      joined.at(member, begin + unit).storeAll(out, zeros);
    });
  }
}

/// `extent` counts the rows of the input.
template <int size, RowLayout layout, int extent, typename In, typename Out,
          uint64_t memory>
__device__ void allGatherPackets(const LaunchParams &p) {
  using Joined = JoinedExchange<ExchangeKind::AllGatherPackets, size, layout,
                                extent, kPacketPayload, In, Out>;
  using Values = typename Joined::Values;
  constexpr uint32_t kSlot = Joined::kSlot;
  static_assert(memory == Joined::kMemory,
                "the planner reserves what the kernel uses");
  __shared__ typename Joined::Shared shared;
  Joined joined(p, shared);
  Packets<size> packets(joined.exchange);
  uint32_t me = joined.me;
  const void *in = p.operands[0];
  void *out = p.operands[1];
  constexpr int kUnits = kBatch<size, kSlot>;
  forEachBatch<kUnits>(joined.unitsOf(me), [&](Batch<kUnits> batch) {
    Values own[kUnits];
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
        own[k] = joined.at(me, batch.unit(k)).loadPart(in);
#pragma unroll
    for (int k = 0; k < kUnits; ++k) {
      if (!batch.has(k))
        continue;
      packets.sendToOthers(me * kSlot + batch.unit(k), own[k]);
      joined.at(me, batch.unit(k)).storeAll(out, own[k]);
    }
  });
  zeroGaps<size, layout>(joined, out);
  if (joined.exchange.isLooped)
    zeroMissing<size>(joined, out);
  bool came = true;
  forEachBatch<kUnits>(joined.mostUnits(), [&](Batch<kUnits> batch) {
    constexpr int kCount = kWave<size>;
#pragma unroll 1
    for (uint32_t first = 0; first < size; first += kCount) {
      Values values[kUnits * kCount];
      auto member = [&](int i) { return first + i % kCount; };
      auto unit = [&](int i) { return batch.unit(i / kCount); };
      auto isAwaited = [&](int i) {
        return member(i) < size && member(i) != me &&
               unit(i) < joined.unitsFrom(member(i));
      };
      came = came && packets.collect(
                         values, isAwaited,
                         [&](int i) {
                           return packets.slotOf(member(i)) * kSlot +
                                  joined.sentUnit(member(i), unit(i));
                         },
                         member);
      if (!came)
        return;
#pragma unroll
      for (int i = 0; i < kUnits * kCount; ++i)
        if (isAwaited(i))
          joined.at(member(i), unit(i)).storeAll(out, values[i]);
    }
  });
  joined.exchange.finish(size * kSlot);
}

template <int size, RowLayout layout, int extent, typename In, typename Out,
          uint64_t memory>
__device__ void allGatherBulk(const LaunchParams &p) {
  using Joined = JoinedExchange<ExchangeKind::AllGatherBulk, size, layout,
                                extent, kBulkUnitBytes, In, Out>;
  static_assert(memory == kBulkMemory,
                "the planner reserves what the kernel uses");
  constexpr int kUnits = 4; // reads under way together in a thread
  __shared__ typename Joined::Shared shared;
  Joined joined(p, shared);
  uint32_t me = joined.me;
  void *out = p.operands[1];
  // Nobody reads or writes what was in the outputs any more.
  if (joined.exchange.meet(0)) {
    zeroGaps<size, layout>(joined, out);
    using Spread = Distances<size, Joined::kIsDense>;
    Spread rotated(joined.exchange, me);
    forEachBatch<kUnits>(joined.unitsOf(me), [&](Batch<kUnits> batch) {
      typename Joined::Values values[kUnits];
#pragma unroll
      for (int k = 0; k < kUnits; ++k)
        if (batch.has(k))
          values[k] = joined.at(me, batch.unit(k)).loadPart(p.operands[0]);
#pragma unroll
      for (int k = 0; k < kUnits; ++k)
        if (batch.has(k)) {
          auto place = joined.at(me, batch.unit(k));
#pragma unroll Spread::kUnroll
          for (uint32_t ahead = 0; ahead < size; ++ahead)
            place.storeAll(rotated.apply(ahead, out), values[k]);
        }
    });
    if (joined.exchange.isLooped) {
      zeroMissing<size>(joined, out);
      for (uint32_t member = 0; member < size; ++member)
        forEachUnit(joined.unitsFrom(member), [&](uint32_t unit) {
          joined.at(member, unit)
              .storeAll(out, joined.at(me, joined.sentUnit(member, unit))
                                 .loadPart(p.operands[0]));
        });
    }
    // All parts of this rank's output are written.
    joined.exchange.meet(1);
  }
  joined.exchange.finish();
}

} // namespace saddle::device
