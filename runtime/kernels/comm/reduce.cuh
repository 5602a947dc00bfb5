// Sums over the members of a group, in rank order.

#pragma once

#include "runtime/kernels/comm/packets.cuh"
#include "runtime/kernels/comm/units.cuh"

namespace saddle::device {

/// A sum in fp32 in the order of the additions, rounded once.
template <typename T, int count>
class UnitSum {
public:
  __device__ __forceinline__ void add(Vector<T, count> values) {
#pragma unroll
    for (int i = 0; i < count; ++i)
      sums[i] = isEmpty ? toFloat(values[i]) : sums[i] + toFloat(values[i]);
    isEmpty = false;
  }
  __device__ __forceinline__ Vector<T, count> rounded() const {
    Vector<T, count> values;
#pragma unroll
    for (int i = 0; i < count; ++i)
      values[i] = fromFloat<T>(sums[i]);
    return values;
  }

private:
  float sums[count];
  bool isEmpty = true;
};

/// Adds the packets numberOf(member, k) of all members and this rank's own
/// values, for each unit k of the batch. False when one does not come.
template <int size, typename Sum, typename Values, int batchSize,
          typename Number>
__device__ __forceinline__ bool
addPackets(Packets<size> &packets, uint32_t me, const Batch<batchSize> &batch,
           const Values (&own)[batchSize], Number numberOf,
           Values (&result)[batchSize]) {
  constexpr int kCount = kWave<size>;
  Sum sums[batchSize];
#pragma unroll 1
  for (uint32_t first = 0; first < size; first += kCount) {
    Values values[batchSize * kCount];
    auto member = [&](int i) { return first + i % kCount; };
    auto exists = [&](int i) {
      return (size % kCount == 0 || member(i) < size) && batch.has(i / kCount);
    };
    if (!packets.collect(
            values, [&](int i) { return exists(i) && member(i) != me; },
            [&](int i) {
              return numberOf(packets.slotOf(member(i)), i / kCount);
            },
            member))
      return false;
#pragma unroll
    for (int i = 0; i < batchSize * kCount; ++i)
      if (exists(i))
        sums[i / kCount].add(member(i) == me ? own[i / kCount] : values[i]);
  }
#pragma unroll
  for (int k = 0; k < batchSize; ++k)
    result[k] = sums[k].rounded();
  return true;
}

/// Sums of units 0 .. count - 1: own values are load(unit), those of the others
/// are packets member * slot + unit. Calls store(unit, sum). False when one
/// does not come; later ones are not stored then.
template <int size, uint32_t slot, typename Sum, typename Values, typename Load,
          typename Store>
__device__ __forceinline__ bool addUnits(Packets<size> &packets, uint32_t me,
                                         uint32_t count, Load load,
                                         Store store) {
  constexpr int kUnits = kBatch<size, slot>;
  bool came = true;
  forEachBatch<kUnits>(count, [&](Batch<kUnits> batch) {
    Values own[kUnits], sums[kUnits];
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
        own[k] = load(batch.unit(k));
    came = came && addPackets<size, Sum>(
                       packets, me, batch, own,
                       [&](uint32_t member, int k) {
                         return member * slot + batch.unit(k);
                       },
                       sums);
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (came && batch.has(k))
        store(batch.unit(k), sums[k]);
  });
  return came;
}

/// Sums of units 0 .. count - 1 that are read where the members have them,
/// load(member, unit), in rank order. Calls store(unit, sum). `dense`: a read
/// is one access, and many of a thread are under way together, which is what
/// limits. `unroll`: of the members (Distances).
template <int size, bool dense, int unroll, typename Sum, typename Load,
          typename Store>
__device__ __forceinline__ void addInPlace(uint32_t count, Load load,
                                           Store store) {
  constexpr int kUnits = !dense ? 1 : size >= 8 ? 2 : 16 / size;
  forEachBatch<kUnits>(count, [&](Batch<kUnits> batch) {
    Sum sums[kUnits];
#pragma unroll unroll
    for (uint32_t member = 0; member < size; ++member)
#pragma unroll
      for (int k = 0; k < kUnits; ++k)
        if (batch.has(k))
          sums[k].add(load(member, batch.unit(k)));
#pragma unroll
    for (int k = 0; k < kUnits; ++k)
      if (batch.has(k))
        store(batch.unit(k), sums[k].rounded());
  });
}

} // namespace saddle::device
