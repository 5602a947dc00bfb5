// all_reduce_sum: the sum of all members' inputs, in rank order in fp32,
// rounded once; in place where input and output are one. Three ways:
//
//   one shot   every member sends its packets to all, and adds what it gets.
//              One hop; bytes sent: 2 (G - 1) N. For few bytes.
//   two shots  a unit's owner gets it from all, adds, sends the sum to all.
//              Two hops; 4 N (G - 1) / G.
//   bulk       as two shots, but the owner reads the inputs and writes the
//              outputs of its peers in place, between two meetings of all.
//              2 N (G - 1) / G and two fences with their round trips.
//
// Any shape, stride and alignment. Rows beyond the count are not touched. The
// floor is the bytes sent over the bandwidth of the links (450 GB/s each way).

#pragma once

#include "runtime/kernels/comm/reduce.cuh"
#include "runtime/kernels/ptx/launch.cuh"

namespace saddle::device {

/// The matrices of a sum and where one unit of it lies.
template <typename In, typename Out, int bytes>
struct ReducedUnit {
  using From = Units<In, bytes>;
  using To = Units<Out, bytes>;
  using Values = typename From::Values;
  using Sum = UnitSum<typename In::Element, From::kCount>;
  static_assert(In::kRows == Out::kRows && In::kCols == Out::kCols &&
                    sizeof(typename In::Element) ==
                        sizeof(typename Out::Element),
                "a sum has the shape and type of its terms");

  __device__ __forceinline__ ReducedUnit(const LaunchParams &p, uint32_t unit) {
    uint32_t row = unit / From::kPerRow,
             column = unit % From::kPerRow * From::kCount;
    in = In::row(static_cast<const void *>(p.operands[0]), row) + column;
    out = Out::row(p.operands[1], row) + column;
    width = From::width(column);
  }
  __device__ __forceinline__ Values load() const {
    return From::load(in, width);
  }
  __device__ __forceinline__ void store(Values values) const {
    To::store(out, values, width);
  }

  const typename In::Element *in;
  typename Out::Element *out;
  int width;
};

/// Every member owns some of a matrix's units that follow one another: as many
/// as the others, until there are none left. When this rank is looped back all
/// have the same number, and the last units may be nobody's.
struct OwnedUnits {
  template <int size>
  __device__ __forceinline__ OwnedUnits(uint32_t units,
                                        const Exchange<size> &exchange)
      : units(units),
        share((units + (exchange.isLooped ? 0 : size - 1)) / size) {
    uint32_t begin = exchange.me * share;
    count = begin < units ? min(share, units - begin) : 0;
  }
  __device__ __forceinline__ uint32_t unit(uint32_t owner, uint32_t i) const {
    return owner * share + i;
  }
  __device__ __forceinline__ bool has(uint32_t owner, uint32_t i) const {
    return unit(owner, i) < units;
  }

  uint32_t units, share;
  uint32_t count; // of this rank
};

/// Of a rank that is looped back: sums of units begin .. end - 1 that peers
/// would have made, as if all members had its values.
template <int size, typename Unit>
__device__ __forceinline__ void addForOthers(const LaunchParams &p,
                                             uint32_t begin, uint32_t end) {
  forEachUnit(end - begin, [&](uint32_t i) {
    Unit unit(p, begin + i);
    typename Unit::Values own = unit.load();
    typename Unit::Sum sum;
    for (int member = 0; member < size; ++member)
      sum.add(own);
    unit.store(sum.rounded());
  });
}

template <int extent, typename In>
__device__ __forceinline__ uint32_t realRows(const LaunchParams &p) {
  return min(p.step->counts[extent], static_cast<uint32_t>(In::kRows));
}

/// Waits itself. The last CTA, which has units only where the grid is as large
/// as it may be, looks for the members while the others wait for packets.
template <int size, int extent, typename In, typename Out, uint64_t memory>
__device__ void allReduceOneShot(const LaunchParams &p) {
  using Unit = ReducedUnit<In, Out, kPacketPayload>;
  using Values = typename Unit::Values;
  // Packets of one member.
  constexpr uint32_t kSlot = Unit::From::kTotal;
  static_assert(memory == kPacketMemory<size * int64_t(kSlot)>,
                "the planner reserves what the kernel uses");
  allowNext();
  uint32_t rows = realRows<extent, In>(p);
  uint32_t units = rows * Unit::From::kPerRow;
  waitForPrevious();
  constexpr int kUnits = kBatch<size, kSlot>;
  uint32_t first = blockIdx.x * blockDim.x + threadIdx.x;
  // Where a thread has one unit: asked for before the exchange asks for its
  // epoch.
  Values early;
  if (kUnits == 1 && first < units)
    early = Unit(p, first).load();
  Exchange<size> exchange(p, kSignature<ExchangeKind::AllReduceOneShot, In>,
                          rows);
  Packets<size> packets(exchange);
  uint32_t me = exchange.me;
  forEachBatch<kUnits>(units, [&](Batch<kUnits> batch) {
    Values own[kUnits];
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
        own[k] = kUnits == 1 && batch.first == first
                     ? early
                     : Unit(p, batch.unit(k)).load();
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
        packets.sendToOthers(me * kSlot + batch.unit(k), own[k]);
  });
  addUnits<size, kSlot, typename Unit::Sum, Values>(
      packets, me, units, [&](uint32_t unit) { return Unit(p, unit).load(); },
      [&](uint32_t unit, Values sum) { Unit(p, unit).store(sum); });
  exchange.finish(size * kSlot, gridDim.x - 1);
}

template <int size, int extent, typename In, typename Out, uint64_t memory>
__device__ void allReduceTwoShots(const LaunchParams &p) {
  using Unit = ReducedUnit<In, Out, kPacketPayload>;
  using Values = typename Unit::Values;
  // Packets of one member in one of the two shots.
  constexpr uint32_t kSlot = (Unit::From::kTotal + size - 1) / size;
  static_assert(memory == kPacketMemory<2 * size * int64_t(kSlot)>,
                "the planner reserves what the kernel uses");
  uint32_t rows = realRows<extent, In>(p);
  Exchange<size> exchange(p, kSignature<ExchangeKind::AllReduceTwoShots, In>,
                          rows);
  Packets<size> packets(exchange);
  // A thread works on unit i of every member's, so in place nothing is
  // overwritten that another thread still has to read.
  uint32_t me = exchange.me;
  OwnedUnits owned(rows * Unit::From::kPerRow, exchange);
  forEachUnit(owned.share, [&](uint32_t i) {
    packets.template sendEach<Values>(
        i, me * kSlot + i,
        [&](uint32_t owner, uint32_t i) { return owned.has(owner, i); },
        [&](uint32_t owner, uint32_t i) {
          return Unit(p, owned.unit(exchange.slotOf(owner), i)).load();
        });
  });
  bool came = addUnits<size, kSlot, typename Unit::Sum, Values>(
      packets, me, owned.count,
      [&](uint32_t i) { return Unit(p, owned.unit(me, i)).load(); },
      [&](uint32_t i, Values sum) {
        packets.sendToOthers((size + me) * kSlot + i, sum);
        Unit(p, owned.unit(me, i)).store(sum);
      });
  forEachUnit(owned.share, [&](uint32_t i) {
    constexpr int kCount = kWave<size>;
#pragma unroll 1
    for (uint32_t first = 0; first < size; first += kCount) {
      Values sums[kCount];
      auto owner = [&](int k) { return first + k; };
      auto isAwaited = [&](int k) {
        return owner(k) < size && owner(k) != me && owned.has(owner(k), i);
      };
      came =
          came && packets.collect(
                      sums, isAwaited,
                      [&](int k) {
                        return (size + exchange.slotOf(owner(k))) * kSlot + i;
                      },
                      owner);
      if (!came)
        return;
#pragma unroll
      for (int k = 0; k < kCount; ++k)
        if (isAwaited(k) && !exchange.isLooped)
          Unit(p, owned.unit(owner(k), i)).store(sums[k]);
    }
  });
  // Sums that come back are this rank's own: rows would all be alike.
  if (exchange.isLooped) {
    addForOthers<size, Unit>(p, 0, owned.unit(me, 0));
    addForOthers<size, Unit>(p, owned.unit(me + 1, 0), owned.units);
  }
  exchange.finish(2 * size * kSlot);
}

template <int size, int extent, typename In, typename Out, uint64_t memory>
__device__ void allReduceBulk(const LaunchParams &p) {
  using Unit = ReducedUnit<In, Out, kBulkUnitBytes>;
  using Values = typename Unit::Values;
  static_assert(memory == kBulkMemory,
                "the planner reserves what the kernel uses");
  uint32_t rows = realRows<extent, In>(p);
  Exchange<size> exchange(p, kSignature<ExchangeKind::AllReduceBulk, In>, rows);
  uint32_t me = exchange.me;
  OwnedUnits owned(rows * Unit::From::kPerRow, exchange);
  // All inputs are complete and nobody reads the old outputs any more.
  if (exchange.meet(0)) {
    using Spread = Distances<size, Unit::From::kIsDense && Unit::To::kIsDense>;
    Spread inOrder(exchange, 0), rotated(exchange, me);
    addInPlace<size, Unit::From::kIsDense, Spread::kUnroll, typename Unit::Sum>(
        owned.count,
        [&](uint32_t member, uint32_t i) {
          Unit place(p, owned.unit(me, i));
          return Unit::From::load(inOrder.apply(member, place.in), place.width);
        },
        [&](uint32_t i, Values sum) {
          Unit place(p, owned.unit(me, i));
      // Each rank begins with another one, so that no link is crowded.
#pragma unroll Spread::kUnroll
          for (uint32_t ahead = 0; ahead < size; ++ahead)
            Unit::To::store(rotated.apply(ahead, place.out), sum, place.width);
        });
    if (exchange.isLooped) {
      addForOthers<size, Unit>(p, 0, owned.unit(me, 0));
      addForOthers<size, Unit>(p, owned.unit(me + 1, 0), owned.units);
    }
    // All inputs are read and all outputs written.
    exchange.meet(1);
  }
  exchange.finish();
}

} // namespace saddle::device
