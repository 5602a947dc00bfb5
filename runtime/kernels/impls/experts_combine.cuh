// The last function of experts whose pairs were sorted: adds a token's experts.
// Floor: the bytes of the products. Many warps are under way at a time, and
// none waits for another: what a token chose comes from memory before it is
// known what to read.

#pragma once

#include "runtime/kernels/impls/experts.cuh"
#include "runtime/kernels/tile/vectors.cuh"

#include <cstring>
#include <type_traits>

namespace saddle::device {

/// A token's choices that are held here, in ascending order of experts and then
/// of slots: as SortedChoices, by a warp, each of whose lanes keeps one.
template <typename Weights, typename Experts, int64_t held>
class WarpChoices {
public:
  static constexpr int kCount = Experts::kCols;
  static_assert(kCount <= 32, "a lane has a choice");

  __device__ __forceinline__ WarpChoices(const LaunchParams &p, int64_t token) {
    int lane = threadIdx.x % 32;
    // Those of other ranks come last.
    auto expert = static_cast<int>(held);
    if (lane < kCount) {
      auto here = static_cast<int>(
          heldExpert<held>(p, Experts::row(p.operands[2], token)[lane]));
      expert = here < 0 ? expert : here;
      weight = Weights::row(p.operands[1], token)[lane];
    }
    int place = 0;
#pragma unroll
    for (int other = 0; other < kCount; ++other) {
      int it = __shfl_sync(kFullWarp, expert, other);
      place += it < expert || (it == expert && other < lane);
    }
    int from = 0;
#pragma unroll
    for (int other = 0; other < kCount; ++other)
      from = __shfl_sync(kFullWarp, place, other) == lane ? other : from;
    weight = __shfl_sync(kFullWarp, weight, from);
    slot = __shfl_sync(kFullWarp, expert, from) < held ? from : -1;
  }

  /// Of the i-th, by all lanes; -1 from the first one on that is not held here.
  __device__ __forceinline__ int slotOf(int i) const {
    return __shfl_sync(kFullWarp, slot, i);
  }
  __device__ __forceinline__ float weightOf(int i) const {
    return __shfl_sync(kFullWarp, weight, i);
  }

private:
  int slot;
  float weight = 0;
};

/// out = the sum over a token's experts held here of weight * product, in
/// ascending order of experts. A warp takes one of `parts` parts of a token's
/// columns, 16 bytes of products per lane at a time.
template <int extent, int operandOut, int64_t held, int parts, typename Weights,
          typename Experts, typename Out, typename Product>
__device__ void combineExperts(const LaunchParams &p, const Product *products) {
  constexpr int kSlots = Experts::kCols;
  constexpr int kMost = 16 / sizeof(Product);
  constexpr int kEach =
      Out::kCols % kMost == 0 && Out::isVectorizable(kMost) ? kMost : 1;
  uint32_t warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  int64_t token = warp / parts;
  if (token >= p.step->counts[extent])
    return;
  WarpChoices<Weights, Experts, held> choices(p, token);
  const Product *rows = products + token * kSlots * Out::kCols;
  constexpr int kChunk = 32 * kEach;
#pragma unroll 1
  for (int first = warp % parts * kChunk; first < Out::kCols;
       first += parts * kChunk) {
    int column = first + threadIdx.x % 32 * kEach;
    bool isInside = column < Out::kCols;
    // All loads first. Whole words stay in as many registers.
    using Values = Vector<Product, kEach>;
    using Words = std::conditional_t<sizeof(Values) == 16, uint4, Values>;
    Words words[kSlots] = {};
    bool isHeld[kSlots];
#pragma unroll
    for (int i = 0; i < kSlots; ++i) {
      int slot = choices.slotOf(i);
      isHeld[i] = slot >= 0;
      if (isHeld[i] && isInside)
        words[i] = *reinterpret_cast<const Words *>(
            rows + slot * static_cast<int>(Out::kCols) + column);
    }
    float sum[kEach] = {};
#pragma unroll
    for (int i = 0; i < kSlots; ++i) {
      float weight = choices.weightOf(i);
      Values values;
      memcpy(&values, &words[i], sizeof(values));
      if (isHeld[i])
#pragma unroll
        for (int j = 0; j < kEach; ++j)
          sum[j] += weight * toFloat(values[j]);
    }
    if (isInside)
      storeVector<Out, kEach>(p.operands[operandOut], token, column, sum);
  }
}

} // namespace saddle::device
