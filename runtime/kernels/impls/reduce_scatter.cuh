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

#include "runtime/kernels/comm/joined.cuh"
#include "runtime/kernels/comm/reduce.cuh"

namespace saddle::device {

/// `extent` counts the rows of the output.
template <int size, RowLayout layout, int extent, typename In, typename Out,
          uint64_t memory>
__device__ void reduceScatterPackets(const LaunchParams &p) {
  using Joined = JoinedExchange<ExchangeKind::ReduceScatterPackets, size,
                                layout, extent, kPacketPayload, Out, In>;
  using Values = typename Joined::Values;
  using Sum = UnitSum<typename Out::Element, Joined::Unit::InPart::kCount>;
  constexpr uint32_t kSlot = Joined::kSlot;
  static_assert(memory == Joined::kMemory,
                "the planner reserves what the kernel uses");
  __shared__ typename Joined::Shared shared;
  Joined joined(p, shared);
  Packets<size> packets(joined.exchange);
  uint32_t me = joined.me;
  const void *in = p.operands[0];
  forEachUnit(joined.mostUnits(), [&](uint32_t unit) {
    packets.template sendEach<Values>(
        unit, me * kSlot + unit,
        [&](uint32_t member, uint32_t i) {
          return i < joined.unitsOf(packets.slotOf(member));
        },
        [&](uint32_t member, uint32_t i) {
          return joined.at(packets.slotOf(member), i).loadAll(in);
        });
  });
  addUnits<size, kSlot, Sum, Values>(
      packets, me, joined.unitsOf(me),
      [&](uint32_t unit) { return joined.at(me, unit).loadAll(in); },
      [&](uint32_t unit, Values sum) {
        joined.at(me, unit).storePart(p.operands[1], sum);
      });
  joined.exchange.finish(size * kSlot);
}

template <int size, RowLayout layout, int extent, typename In, typename Out,
          uint64_t memory>
__device__ void reduceScatterBulk(const LaunchParams &p) {
  using Joined = JoinedExchange<ExchangeKind::ReduceScatterBulk, size, layout,
                                extent, kBulkUnitBytes, Out, In>;
  using Values = typename Joined::Values;
  using Sum = UnitSum<typename Out::Element, Joined::Unit::InPart::kCount>;
  static_assert(memory == kBulkMemory,
                "the planner reserves what the kernel uses");
  __shared__ typename Joined::Shared shared;
  Joined joined(p, shared);
  uint32_t me = joined.me;
  // All inputs are complete.
  if (joined.exchange.meet(0)) {
    using Spread = Distances<size, Joined::kIsDense>;
    Spread inOrder(joined.exchange, 0);
    addInPlace<size, Joined::kIsDense, Spread::kUnroll, Sum>(
        joined.unitsOf(me),
        [&](uint32_t member, uint32_t unit) {
          return joined.at(me, unit).loadAll(
              inOrder.apply(member, p.operands[0]));
        },
        [&](uint32_t unit, Values sum) {
          joined.at(me, unit).storePart(p.operands[1], sum);
        });
    // All have read this rank's input.
    joined.exchange.meet(1);
  }
  joined.exchange.finish();
}

} // namespace saddle::device
