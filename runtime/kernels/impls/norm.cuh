// rms_norm, add_rms_norm, sum_of_squares and rms_scale. The norms take one CTA
// per row: a row is read once, held in registers, summed over the CTA in a
// fixed order and written. Floor: the bytes of the rows; a single row costs a
// load, a reduction and a store, about 2 us. Rows of up to 32 values per thread
// (32768 for a CTA of 1024).

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/shared/limits.h"
#include "runtime/kernels/tile/reduce.cuh"
#include "runtime/kernels/tile/vectors.cuh"

namespace saddle::device {

/// How a CTA of `threads` shares a row of `cols` values in vectors of `count`.
template <int64_t cols, int count, int threads>
struct RowShare {
  static constexpr int kVectors = (cols / count + threads - 1) / threads;
  static_assert(kVectors * count <= kRowValues,
                "a thread holds at most 32 values of a row");

  float values[kVectors][count];

  /// Calls visit(i, column) for each vector of this thread.
  template <typename Visit>
  static __device__ __forceinline__ void forEach(Visit visit) {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      int column = (i * threads + static_cast<int>(threadIdx.x)) * count;
      if (column < cols)
        visit(i, column);
    }
  }

  /// Over the whole row; the same bits in every thread.
  __device__ __forceinline__ float sumOfSquares(float *scratch) const {
    float sum = 0;
    forEach([&](int i, int) {
#pragma unroll
      for (int j = 0; j < count; ++j)
        sum += values[i][j] * values[i][j];
    });
    return blockSum<threads>(sum, scratch);
  }

  /// out[row] = the row * factor * weight, rounded once.
  template <typename Out>
  __device__ __forceinline__ void storeScaled(float factor, const void *weight,
                                              void *out, int64_t row) const {
    forEach([&](int i, int column) {
      auto gamma = *reinterpret_cast<const Vector<float, count> *>(
          static_cast<const float *>(weight) + column);
      float scaled[count];
#pragma unroll
      for (int j = 0; j < count; ++j)
        scaled[j] = values[i][j] * factor * gamma[j];
      storeVector<Out, count>(out, row, column, scaled);
    });
  }
};

/// 1 / rms from a sum of squares over `divisor` values.
__device__ __forceinline__ float rmsFactor(float sum, float divisor,
                                           float eps) {
  return 1.0f / sqrtf(sum / divisor + eps);
}

/// Operands x, weight, out; may work in place.
template <int extent, int threads, typename X, typename Out>
__device__ void rmsNorm(const LaunchParams &p, float eps) {
  static_assert(X::kCols == Out::kCols, "a norm keeps the width");
  constexpr int kCount = commonVector<X, Out>();
  __shared__ float scratch[threads / 32];
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    RowShare<X::kCols, kCount, threads> share;
    share.forEach([&](int i, int column) {
      auto x = loadVector<X, kCount>(p.operands[0], row, column);
#pragma unroll
      for (int j = 0; j < kCount; ++j)
        share.values[i][j] = toFloat(x[j]);
    });
    float sum = share.sumOfSquares(scratch);
    share.template storeScaled<Out>(rmsFactor(sum, X::kCols, eps),
                                    p.operands[1], p.operands[2], row);
  }
}

/// Operands a, b, weight, sum, out: sum = a + b, rounded; out = the norm of the
/// rounded sum. Either output may be exactly a or b.
template <int extent, int threads, typename A, typename B, typename Sum,
          typename Out>
__device__ void addRmsNorm(const LaunchParams &p, float eps) {
  static_assert(A::kCols == B::kCols && A::kCols == Sum::kCols &&
                    A::kCols == Out::kCols,
                "the operands of a sum have one width");
  constexpr int kCount = commonVector<A, B, Sum, Out>();
  __shared__ float scratch[threads / 32];
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    RowShare<A::kCols, kCount, threads> share;
    share.forEach([&](int i, int column) {
      auto a = loadVector<A, kCount>(p.operands[0], row, column);
      auto b = loadVector<B, kCount>(p.operands[1], row, column);
#pragma unroll
      for (int j = 0; j < kCount; ++j)
        share.values[i][j] = toFloat(
            fromFloat<typename Sum::Element>(toFloat(a[j]) + toFloat(b[j])));
      storeVector<Sum, kCount>(p.operands[3], row, column, share.values[i]);
    });
    float sum = share.sumOfSquares(scratch);
    share.template storeScaled<Out>(rmsFactor(sum, A::kCols, eps),
                                    p.operands[2], p.operands[4], row);
  }
}

/// The sum of squares of row `row` of one input, in every thread.
template <int threads, typename X>
__device__ __forceinline__ float rowSumOfSquares(const void *x, uint32_t row,
                                                 float *scratch) {
  constexpr int kCount = commonVector<X>();
  float sum = 0;
  for (int column = static_cast<int>(threadIdx.x) * kCount; column < X::kCols;
       column += threads * kCount) {
    auto values = loadVector<X, kCount>(x, row, column);
#pragma unroll
    for (int j = 0; j < kCount; ++j)
      sum += toFloat(values[j]) * toFloat(values[j]);
  }
  return blockSum<threads>(sum, scratch);
}

/// Operands x1 .. xm first: out[row, i] = the sum of squares of row `row` of
/// xi.
template <int extent, int threads, typename Out, typename... Inputs>
__device__ void sumOfSquares(const LaunchParams &p, void *out) {
  static_assert(sizeof...(Inputs) == Out::kCols,
                "the output has a column for each input");
  __shared__ float scratch[threads / 32];
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    int i = 0;
    float *sums = Out::row(out, row);
    ((sums[i] = rowSumOfSquares<threads, Inputs>(p.operands[i], row, scratch),
      ++i),
     ...);
  }
}

/// Operands x, sums, weight, out; may work in place.
template <int extent, typename X, typename Sums, typename Out>
__device__ void rmsScale(const LaunchParams &p, int column, float divisor,
                         float eps) {
  static_assert(X::kCols == Out::kCols, "scaling keeps the width");
  constexpr int kCount = commonVector<X, Out>();
  forEachVector<X::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t first) {
        float factor =
            rmsFactor(Sums::row(p.operands[1], row)[column], divisor, eps);
        auto x = loadVector<X, kCount>(p.operands[0], row, first);
        auto weight = *reinterpret_cast<const Vector<float, kCount> *>(
            static_cast<const float *>(p.operands[2]) + first);
        float scaled[kCount];
#pragma unroll
        for (int i = 0; i < kCount; ++i)
          scaled[i] = toFloat(x[i]) * factor * weight[i];
        storeVector<Out, kCount>(p.operands[3], row, first, scaled);
      });
}

} // namespace saddle::device
