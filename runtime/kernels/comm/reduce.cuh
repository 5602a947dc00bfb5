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
            [&](int i) { return numberOf(member(i), i / kCount); }, member))
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

} // namespace saddle::device
