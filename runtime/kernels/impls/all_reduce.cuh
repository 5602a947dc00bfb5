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

#include "runtime/kernels/comm/members.cuh"
#include "runtime/kernels/comm/reduce.cuh"

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

template <int extent, typename In>
__device__ __forceinline__ uint32_t realRows(const LaunchParams &p) {
  return min(p.step->counts[extent], static_cast<uint32_t>(In::kRows));
}

template <int size, int extent, typename In, typename Out, uint64_t memory>
__device__ void allReduceOneShot(const LaunchParams &p) {
  using Unit = ReducedUnit<In, Out, 8>;
  using Values = typename Unit::Values;
  // Packets of one member.
  constexpr uint32_t kSlot = Unit::From::kTotal;
  static_assert(memory == packetMemory(size * int64_t(kSlot)),
                "the planner reserves what the kernel uses");
  uint32_t rows = realRows<extent, In>(p);
  Exchange<size> exchange(
      p, signatureOf(1, In::kRows, In::kCols, sizeof(typename In::Element)),
      rows);
  Packets<size> packets(exchange);
  uint32_t me = exchange.me, units = rows * Unit::From::kPerRow;
  constexpr int kUnits = kBatch<size, kSlot>;
  forEachBatch<kUnits>(units, [&](Batch<kUnits> batch) {
    Values own[kUnits];
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
        own[k] = Unit(p, batch.unit(k)).load();
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
#pragma unroll
        for (uint32_t ahead = 1; ahead < size; ++ahead)
          packets.send((me + ahead) % size, me * kSlot + batch.unit(k), own[k]);
  });
  bool came = true;
  forEachBatch<kUnits>(units, [&](Batch<kUnits> batch) {
    Values own[kUnits], sums[kUnits];
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
        own[k] = Unit(p, batch.unit(k)).load();
    came = came && addPackets<size, typename Unit::Sum>(
                       packets, me, batch, own,
                       [&](uint32_t member, int k) {
                         return member * kSlot + batch.unit(k);
                       },
                       sums);
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (came && batch.has(k))
        Unit(p, batch.unit(k)).store(sums[k]);
  });
  exchange.finish(size * kSlot);
}

template <int size, int extent, typename In, typename Out, uint64_t memory>
__device__ void allReduceTwoShots(const LaunchParams &p) {
  using Unit = ReducedUnit<In, Out, 8>;
  using Values = typename Unit::Values;
  // Packets of one member in one of the two shots.
  constexpr uint32_t kSlot = (Unit::From::kTotal + size - 1) / size;
  static_assert(memory == packetMemory(2 * size * int64_t(kSlot)),
                "the planner reserves what the kernel uses");
  uint32_t rows = realRows<extent, In>(p);
  Exchange<size> exchange(
      p, signatureOf(2, In::kRows, In::kCols, sizeof(typename In::Element)),
      rows);
  Packets<size> packets(exchange);
  // Member m owns units m * share .. (m + 1) * share - 1; a thread works on
  // unit i of every member's, so in place nothing is overwritten that another
  // thread still has to read.
  uint32_t me = exchange.me, units = rows * Unit::From::kPerRow;
  uint32_t share = (units + size - 1) / size;
  forEachUnit(share, [&](uint32_t i) {
    // Members that are read for together, before the first is sent.
    constexpr int kCount = kWave<size>;
#pragma unroll 1
    for (uint32_t first = 1; first < size; first += kCount) {
      Values own[kCount];
      auto owner = [&](int k) { return (me + first + k) % size; };
      auto exists = [&](int k) {
        return first + k < size && owner(k) * share + i < units;
      };
#pragma unroll
      for (int k = 0; k < kCount; ++k)
        if (exists(k))
          own[k] = Unit(p, owner(k) * share + i).load();
#pragma unroll
      for (int k = 0; k < kCount; ++k)
        if (exists(k))
          packets.send(owner(k), me * kSlot + i, own[k]);
    }
  });
  bool came = true;
  uint32_t begin = me * share;
  uint32_t mine = begin < units ? min(share, units - begin) : 0;
  constexpr int kUnits = kBatch<size, kSlot>;
  forEachBatch<kUnits>(mine, [&](Batch<kUnits> batch) {
    Values own[kUnits], sums[kUnits];
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
        own[k] = Unit(p, begin + batch.unit(k)).load();
    came = came && addPackets<size, typename Unit::Sum>(
                       packets, me, batch, own,
                       [&](uint32_t member, int k) {
                         return member * kSlot + batch.unit(k);
                       },
                       sums);
#pragma unroll
    for (int k = 0; k < kUnits; ++k) {
      if (!came || !batch.has(k))
        continue;
#pragma unroll
      for (uint32_t ahead = 1; ahead < size; ++ahead)
        packets.send((me + ahead) % size, (size + me) * kSlot + batch.unit(k),
                     sums[k]);
      Unit(p, begin + batch.unit(k)).store(sums[k]);
    }
  });
  forEachUnit(share, [&](uint32_t i) {
    constexpr int kCount = kWave<size>;
#pragma unroll 1
    for (uint32_t first = 0; first < size; first += kCount) {
      Values sums[kCount];
      auto owner = [&](int k) { return first + k; };
      auto isAwaited = [&](int k) {
        return owner(k) < size && owner(k) != me &&
               owner(k) * share + i < units;
      };
      came = came &&
             packets.collect(
                 sums, isAwaited,
                 [&](int k) { return (size + owner(k)) * kSlot + i; }, owner);
      if (!came)
        return;
#pragma unroll
      for (int k = 0; k < kCount; ++k)
        if (isAwaited(k))
          Unit(p, owner(k) * share + i).store(sums[k]);
    }
  });
  exchange.finish(2 * size * kSlot);
}

template <int size, int extent, typename In, typename Out, uint64_t memory>
__device__ void allReduceBulk(const LaunchParams &p) {
  using Unit = ReducedUnit<In, Out, 16>;
  using Values = typename Unit::Values;
  static_assert(memory == sizeof(ExchangeState),
                "the planner reserves what the kernel uses");
  // Units whose terms are under way together in a thread.
  constexpr int kUnroll = !Unit::From::kIsDense ? 1 : size >= 8 ? 2 : 16 / size;
  uint32_t rows = realRows<extent, In>(p);
  Exchange<size> exchange(
      p, signatureOf(3, In::kRows, In::kCols, sizeof(typename In::Element)),
      rows);
  uint32_t units = rows * Unit::From::kPerRow;
  uint32_t share = (units + size - 1) / size;
  uint32_t begin = exchange.me * share, end = min(begin + share, units);
  // All inputs are complete and nobody reads the old outputs any more.
  if (exchange.meet(0)) {
    using Spread = Distances<size, Unit::From::kIsDense && Unit::To::kIsDense>;
    Spread inOrder(exchange, 0), rotated(exchange, exchange.me);
    uint32_t step = gridDim.x * blockDim.x;
    for (uint32_t base = begin + blockIdx.x * blockDim.x + threadIdx.x;
         base < end; base += kUnroll * step) {
      typename Unit::Sum sums[kUnroll];
      // In rank order; what limits is how many reads are under way.
#pragma unroll Spread::kUnroll
      for (uint32_t member = 0; member < size; ++member)
#pragma unroll
        for (int k = 0; k < kUnroll; ++k)
          if (base + k * step < end) {
            Unit place(p, base + k * step);
            sums[k].add(
                Unit::From::load(inOrder.apply(member, place.in), place.width));
          }
#pragma unroll
      for (int k = 0; k < kUnroll; ++k)
        if (base + k * step < end) {
          Unit place(p, base + k * step);
          Values sum = sums[k].rounded();
        // Each rank begins with another one, so that no link is crowded.
#pragma unroll Spread::kUnroll
          for (uint32_t ahead = 0; ahead < size; ++ahead)
            Unit::To::store(rotated.apply(ahead, place.out), sum, place.width);
        }
    }
    // All inputs are read and all outputs written.
    exchange.meet(1);
  }
  exchange.finish();
}

} // namespace saddle::device
