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

/// Adds the packets `numberOf(member)` of all members and this rank's own
/// values. False when one does not come.
template <int size, typename Sum, typename Values, typename Number>
__device__ __forceinline__ bool addPackets(Packets<size> &packets, uint32_t me,
                                           Values own, Number numberOf,
                                           Values &result) {
  constexpr int kCount = kWave<size>;
  Sum sum;
#pragma unroll 1
  for (uint32_t first = 0; first < size; first += kCount) {
    Values values[kCount];
    auto exists = [&](uint32_t member) {
      return size % kCount == 0 || member < size;
    };
    if (!packets.collect(
            values, first,
            [&](uint32_t member) { return exists(member) && member != me; },
            numberOf))
      return false;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      if (exists(first + i))
        sum.add(first + i == me ? own : values[i]);
  }
  result = sum.rounded();
  return true;
}

} // namespace saddle::device
