// all_reduce_divide_by_rms: the sum of all members' inputs, as all_reduce_sum
// makes it, divided by root mean squares whose sums of squares meet in the same
// exchange: out = sum(x) / rms(sum(squares)). One shot (all_reduce.cuh): a
// row's sum of squares is one packet more, which every thread of the row waits
// for. Few bytes only. Floor: one hop, about 2 us, for two.

#pragma once

#include "runtime/kernels/impls/all_reduce.cuh"
#include "runtime/kernels/impls/norm.cuh"

namespace saddle::device {

/// Operands x, squares [rows, 1], out; out may be exactly x. `memory` bytes of
/// exchange memory.
template <int size, int extent, typename In, typename Squares, typename Out,
          uint64_t memory>
__device__ void allReduceDivideByRms(const LaunchParams &p, float divisor,
                                     float eps) {
  using From = Units<In, kPacketPayload>;
  using To = Units<Out, kPacketPayload>;
  using Values = typename From::Values;
  using Square = Vector<float, 2>; // the second is zero
  static_assert(In::kRows == Out::kRows && In::kCols == Out::kCols &&
                    sizeof(typename In::Element) ==
                        sizeof(typename Out::Element),
                "dividing keeps shape and type");
  // Packets of one member: units, then rows.
  constexpr uint32_t kUnits = From::kTotal, kSlot = kUnits + In::kRows;
  static_assert(memory == kPacketMemory<size * int64_t(kSlot)>,
                "the planner reserves what the kernel uses");
  uint32_t rows = realRows<extent, In>(p);
  Exchange<size> exchange(p, kSignature<ExchangeKind::AllReduceDivide, In>,
                          rows);
  Packets<size> packets(exchange);
  uint32_t me = exchange.me;
  auto rowOf = [](uint32_t unit) { return unit / From::kPerRow; };
  auto columnOf = [](uint32_t unit) {
    return unit % From::kPerRow * From::kCount;
  };
  auto load = [&](uint32_t unit) {
    uint32_t column = columnOf(unit);
    return From::load(
        In::row(static_cast<const void *>(p.operands[0]), rowOf(unit)) + column,
        From::width(column));
  };
  auto square = [&](uint32_t row) {
    Square values;
    values[0] = *Squares::row(static_cast<const void *>(p.operands[1]), row);
    values[1] = 0;
    return values;
  };
  uint32_t units = rows * From::kPerRow;
  forEachUnit(units, [&](uint32_t unit) {
    // First what all threads of the row wait for.
    if (columnOf(unit) == 0)
      packets.sendToOthers(me * kSlot + kUnits + rowOf(unit),
                           square(rowOf(unit)));
    packets.sendToOthers(me * kSlot + unit, load(unit));
  });
  bool came = true;
  forEachBatch<1>(units, [&](Batch<1> batch) {
    uint32_t unit = batch.unit(0), row = rowOf(unit);
    Values own[1] = {load(unit)}, sums[1];
    Square ownSquare[1] = {square(row)}, squares[1];
    came =
        came &&
        addPackets<size, UnitSum<typename In::Element, From::kCount>>(
            packets, me, batch, own,
            [&](uint32_t member, int) { return member * kSlot + unit; },
            sums) &&
        addPackets<size, UnitSum<float, 2>>(
            packets, me, batch, ownSquare,
            [&](uint32_t member, int) { return member * kSlot + kUnits + row; },
            squares);
    if (!came)
      return;
    float factor = rmsFactor(squares[0][0], divisor, eps);
    Values divided;
#pragma unroll
    for (int i = 0; i < From::kCount; ++i)
      divided[i] =
          fromFloat<typename Out::Element>(toFloat(sums[0][i]) * factor);
    uint32_t column = columnOf(unit);
    To::store(Out::row(p.operands[2], row) + column, divided,
              To::width(column));
  });
  exchange.finish(size * kSlot);
}

} // namespace saddle::device
