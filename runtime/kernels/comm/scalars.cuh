// A few numbers per row summed over the group in the middle of a kernel: the
// sums of squares of a norm whose row is spread over ranks. One hop, no launch
// of its own.

#pragma once

#include "runtime/kernels/comm/packets.cuh"

namespace saddle::device {

/// Sums of pairs of floats for up to `rows` rows. All threads of all CTAs
/// construct it and call finish(), in uniform control flow; in between, a warp
/// calls send(row) and later sum(row), once for each real row in all of the
/// grid, with all lanes. The grid is a waiting one: all its CTAs must be
/// resident at a time. Exchange memory of the kernel: kMemory.
template <int size, int64_t rows>
class ExchangedScalars {
  static_assert(size <= 32, "a lane for each member");

public:
  static constexpr uint64_t kMemory = packetMemory(size * rows);

  /// `signature`: 16 bits that tell kernels apart that do not fit together;
  /// `count`: the real rows.
  __device__ __forceinline__ ExchangedScalars(const LaunchParams &p,
                                              uint32_t signature,
                                              uint32_t count)
      : exchange(p, signature, count) {}

  /// Tells all others; every lane has the same values.
  __device__ __forceinline__ void send(uint32_t row, float2 values) {
    uint32_t lane = threadIdx.x % 32;
    if (lane < size && lane != exchange.me)
      Packets<size>(exchange).send(
          lane, exchange.me * static_cast<uint32_t>(rows) + row, values);
  }

  /// `values`, which were sent, become the sums over the members in rank order:
  /// the same bits in all lanes on all ranks. False when a member's do not
  /// come.
  __device__ __forceinline__ bool sum(uint32_t row, float2 &values) {
    uint32_t lane = threadIdx.x % 32;
    float2 got[1] = {values};
    bool came = Packets<size>(exchange).collect(
        got, [&](int) { return lane < size && lane != exchange.me; },
        [&](int) {
          return exchange.slotOf(lane) * static_cast<uint32_t>(rows) + row;
        },
        [&](int) { return lane; });
    if (!__all_sync(0xffffffffu, came))
      return false;
    float2 total;
#pragma unroll
    for (int member = 0; member < size; ++member) {
      float x = __shfl_sync(0xffffffffu, got[0].x, member),
            y = __shfl_sync(0xffffffffu, got[0].y, member);
      total.x = member == 0 ? x : total.x + x;
      total.y = member == 0 ? y : total.y + y;
    }
    values = total;
    return true;
  }

  __device__ __forceinline__ void finish() {
    exchange.finish(size * static_cast<uint32_t>(rows));
  }

private:
  Exchange<size> exchange;
};

} // namespace saddle::device
