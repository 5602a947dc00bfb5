// rms_norm, several of them joined, add_rms_norm (also with its result
// encoded), sum_of_squares, rms_scale, scale_columns and divide_by_rms. The
// norms take one CTA per row: a row is read once, held in registers, summed
// over the CTA in a fixed order and written. Floor: the bytes of the rows; a
// single row costs a load, a reduction and a store, about 2 us. Rows of up to
// 32 values per thread (32768 for a CTA of 1024).

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/shared/limits.h"
#include "runtime/kernels/tile/quantize.cuh"
#include "runtime/kernels/tile/reduce.cuh"
#include "runtime/kernels/tile/vectors.cuh"

#include <type_traits>

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
      int column = columnOf(i);
      if (isThere(column))
        visit(i, column);
    }
  }
  static __device__ __forceinline__ int columnOf(int i) {
    return (i * threads + static_cast<int>(threadIdx.x)) * count;
  }
  static __device__ __forceinline__ bool isThere(int column) {
    return cols % (threads * count) == 0 || column < cols;
  }

  template <typename X>
  __device__ __forceinline__ void load(const void *x, int64_t row) {
    forEach([&](int i, int column) {
      auto loaded = loadVector<X, count>(x, row, column);
#pragma unroll
      for (int j = 0; j < count; ++j)
        values[i][j] = toFloat(loaded[j]);
    });
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

  /// Whether half a warp holds each group of `group` columns of Elements.
  template <typename Element, int group>
  static constexpr bool kHoldsGroups =
      group == 128 && count == 8 && sizeof(Element) == 2 && cols % group == 0;

  /// The row as codes, by all threads: of(i, column) are the values of this
  /// thread's vectors, which are rounded as Elements first.
  template <typename Element, typename Of>
  static __device__ __forceinline__ void encode(Of of, e4m3 *codes,
                                                float *factors) {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      int column = columnOf(i);
      float values[8] = {};
      if (isThere(column)) {
        auto found = of(i, column);
#pragma unroll
        for (int j = 0; j < 8; ++j)
          values[j] = rounded<Element>(found[j]);
      }
      uint2 mine;
      float scale = encodeHalfWarp(values, mine);
      if (!isThere(column))
        continue;
      *reinterpret_cast<uint2 *>(codes + column) = mine;
      if (threadIdx.x % 16 == 0)
        factors[column / 128] = scale;
    }
  }

  /// Weights of the row's columns, to be loaded with its values and not behind
  /// their sum, unless registers are short.
  struct Weights {
    static constexpr bool kAreHeld = kVectors * count <= 8;
    const float *weights;
    Vector<float, count> held[kAreHeld ? kVectors : 1];

    __device__ __forceinline__ explicit Weights(const void *weight)
        : weights(static_cast<const float *>(weight)) {
      if constexpr (kAreHeld)
        forEach([&](int i, int column) { held[i] = load(column); });
    }
    __device__ __forceinline__ Vector<float, count> at(int i,
                                                       int column) const {
      if constexpr (kAreHeld)
        return held[i];
      else
        return load(column);
    }

  private:
    __device__ __forceinline__ Vector<float, count> load(int column) const {
      return *reinterpret_cast<const Vector<float, count> *>(weights + column);
    }
  };

  /// This thread's values of the row * factor * weight.
  __device__ __forceinline__ Vector<float, count>
  scaled(float factor, const Weights &weights, int i, int column) const {
    auto result = weights.at(i, column);
#pragma unroll
    for (int j = 0; j < count; ++j)
      result[j] = values[i][j] * factor * result[j];
    return result;
  }
  /// out[row] = the row * factor * weight, rounded once.
  template <typename Out>
  __device__ __forceinline__ void storeScaled(float factor,
                                              const Weights &weights, void *out,
                                              int64_t row) const {
    forEach([&](int i, int column) {
      storeVector<Out, count>(out, row, column,
                              scaled(factor, weights, i, column).values);
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
  using Share = RowShare<X::kCols, kCount, threads>;
  typename Share::Weights weights(p.operands[1]);
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    Share share;
    share.template load<X>(p.operands[0], row);
    float sum = share.sumOfSquares(scratch);
    share.template storeScaled<Out>(rmsFactor(sum, X::kCols, eps), weights,
                                    p.operands[2], row);
  }
}

/// The columns of `Out` from `start` on.
template <int extent, int threads, int index, int start, typename Out,
          typename X, typename... Others>
__device__ __forceinline__ void normOfColumns(const LaunchParams &p,
                                              float eps) {
  if (blockIdx.y != index) {
    if constexpr (sizeof...(Others) > 0)
      normOfColumns<extent, threads, index + 1, start + X::kCols, Out,
                    Others...>(p, eps);
    return;
  }
  constexpr int kCount =
      start % commonVector<X, Out>() == 0 ? commonVector<X, Out>() : 1;
  __shared__ float scratch[threads / 32];
  void *out = static_cast<typename Out::Element *>(
                  p.operands[2 * (index + 1 + sizeof...(Others))]) +
              start;
  using Share = RowShare<X::kCols, kCount, threads>;
  typename Share::Weights weights(p.operands[2 * index + 1]);
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    Share share;
    share.template load<X>(p.operands[2 * index], row);
    float sum = share.sumOfSquares(scratch);
    share.template storeScaled<Out>(rmsFactor(sum, X::kCols, eps), weights, out,
                                    row);
  }
}

/// Norms of several rows, one behind the other. Operands: x and weight of each,
/// then the joined rows. Grid: rows x norms.
template <int extent, int threads, typename Out, typename... Inputs>
__device__ void normsConcat(const LaunchParams &p, float eps) {
  static_assert((Inputs::kCols + ...) == Out::kCols,
                "the inputs' columns are the output's");
  normOfColumns<extent, threads, 0, 0, Out, Inputs...>(p, eps);
}

/// The residual connection: a + b, or alpha * a + beta * b.
struct Added {
  __device__ __forceinline__ float operator()(float a, float b) const {
    return a + b;
  }
};
struct ScaledAdded {
  float alpha, beta;
  __device__ __forceinline__ float operator()(float a, float b) const {
    return alpha * a + beta * b;
  }
};

/// Operands a, b, weight: their sum is rounded, and kept as operand `sumAt`
/// unless that is 0; it may be exactly a or b. Calls store(row, share, factor,
/// weights): the norm of the rounded sum is the share times factor and weights.
template <int extent, int threads, int count, int sumAt, typename A, typename B,
          typename Sum, typename Combine, typename Store>
__device__ __forceinline__ void addRows(const LaunchParams &p, float eps,
                                        Combine combine, Store store) {
  static_assert(A::kCols == B::kCols && A::kCols == Sum::kCols,
                "the operands of a sum have one width");
  __shared__ float scratch[threads / 32];
  using Share = RowShare<A::kCols, count, threads>;
  typename Share::Weights weights(p.operands[2]);
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    Share share;
    share.forEach([&](int i, int column) {
      auto a = loadVector<A, count>(p.operands[0], row, column);
      auto b = loadVector<B, count>(p.operands[1], row, column);
#pragma unroll
      for (int j = 0; j < count; ++j)
        share.values[i][j] = rounded<typename Sum::Element>(
            combine(toFloat(a[j]), toFloat(b[j])));
      if constexpr (sumAt != 0)
        storeVector<Sum, count>(p.operands[sumAt], row, column,
                                share.values[i]);
    });
    float sum = share.sumOfSquares(scratch);
    store(row, share, rmsFactor(sum, A::kCols, eps), weights);
  }
}

/// The norm is operand 4; it, too, may be exactly a or b.
template <int extent, int threads, typename A, typename B, typename Sum,
          typename Out>
__device__ void addRmsNorm(const LaunchParams &p, float eps) {
  static_assert(A::kCols == Out::kCols, "a norm keeps the width");
  constexpr int kCount = commonVector<A, B, Sum, Out>();
  addRows<extent, threads, kCount, /*sumAt=*/3, A, B, Sum>(
      p, eps, Added{},
      [&](uint32_t row, auto &share, float factor, auto &weights) {
        share.template storeScaled<Out>(factor, weights, p.operands[4], row);
      });
}

/// Operands a, b, weight, out: the norm of alpha * a + beta * b, which nobody
/// else reads. Out may be exactly a or b.
template <int extent, int threads, typename A, typename B, typename Out>
__device__ void scaledAddRmsNorm(const LaunchParams &p, float alpha, float beta,
                                 float eps) {
  static_assert(A::kCols == Out::kCols, "a norm keeps the width");
  constexpr int kCount = commonVector<A, B, Out>();
  addRows<extent, threads, kCount, /*sumAt=*/0, A, B, A>(
      p, eps, ScaledAdded{alpha, beta},
      [&](uint32_t row, auto &share, float factor, auto &weights) {
        share.template storeScaled<Out>(factor, weights, p.operands[3], row);
      });
}

/// The row of a CTA leaves as codes: of(i, column) are the values of the
/// Share's vectors, rounded as elements of Row first. Other groups than those
/// of half a warp go through shared memory.
template <typename Share, int threads, int group, typename Row, typename Of>
__device__ __forceinline__ void encodeRow(Of of, e4m3 *codes, float *factors) {
  using Element = typename Row::Element;
  if constexpr (Share::template kHoldsGroups<Element, group>) {
    Share::template encode<Element>(of, codes, factors);
  } else {
    constexpr int kCols = Row::kCols, kGroups = (kCols + group - 1) / group;
    __shared__ __align__(16) Element row[kCols];
    Share::forEach([&](int i, int column) {
      storeVector<Row>(row, 0, column, of(i, column).values);
    });
    __syncthreads();
#pragma unroll 4
    for (int i = threadIdx.x / 32; i < kGroups; i += threads / 32) {
      int first = i * group, left = kCols - first;
      encodeGroup<group>(row + first, left < group ? left : group,
                         codes + first, factors + i);
    }
    __syncthreads();
  }
}

/// The norm, rounded as elements of Sum, leaves as codes and the factors of
/// groups of `group` columns.
template <int extent, int threads, int group, typename A, typename B,
          typename Sum, typename Codes, typename Factors>
__device__ void addRmsNormEncode(const LaunchParams &p, float eps, void *codes,
                                 void *factors) {
  using Element = typename Sum::Element;
  using Row = Matrix<Element, 1, A::kCols, A::kCols>;
  addRows<extent, threads, commonVector<A, B, Sum>(), /*sumAt=*/3, A, B, Sum>(
      p, eps, Added{},
      [&](uint32_t row, auto &share, float factor, auto &weights) {
        using Share = std::decay_t<decltype(share)>;
        encodeRow<Share, threads, group, Row>(
            [&](int i, int column) {
              return share.scaled(factor, weights, i, column);
            },
            Codes::row(codes, row), Factors::row(factors, row));
      });
}

/// Operands a, b, weight, sum, norm, codes, factors: the norm leaves both ways.
template <int extent, int threads, int group, typename A, typename B,
          typename Sum, typename Out, typename Codes, typename Factors>
__device__ void addRmsNormAndEncode(const LaunchParams &p, float eps) {
  using Row = Matrix<typename Sum::Element, 1, A::kCols, A::kCols>;
  addRows<extent, threads, commonVector<A, B, Sum, Out>(), /*sumAt=*/3, A, B,
          Sum>(
      p, eps, Added{},
      [&](uint32_t row, auto &share, float factor, auto &weights) {
        using Share = std::decay_t<decltype(share)>;
        share.template storeScaled<Out>(factor, weights, p.operands[4], row);
        encodeRow<Share, threads, group, Row>(
            [&](int i, int column) {
              return share.scaled(factor, weights, i, column);
            },
            Codes::row(p.operands[5], row), Factors::row(p.operands[6], row));
      });
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

/// The same by a warp, in each of its lanes.
template <typename X>
__device__ __forceinline__ float warpSumOfSquares(const void *x, uint32_t row) {
  constexpr int kCount = commonVector<X>();
  constexpr int kVectors = (X::kCols + 32 * kCount - 1) / (32 * kCount);
  constexpr int kTogether = kVectors < 16 ? kVectors : 16;
  float sum = 0;
#pragma unroll 1
  for (int first = 0; first < kVectors; first += kTogether) {
    Vector<typename X::Element, kCount> values[kTogether] = {};
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      int column = ((first + i) * 32 + threadIdx.x % 32) * kCount;
      if (column < X::kCols)
        values[i] = loadVector<X, kCount>(x, row, column);
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i)
#pragma unroll
      for (int j = 0; j < kCount; ++j)
        sum += toFloat(values[i][j]) * toFloat(values[i][j]);
  }
  return warpSum(sum);
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

/// Writes each row of x, scaled, to operand `outAt`: scaleOf(row, first) gives
/// what is applied to the values from column `first` on, scale(i, x). In place,
/// too.
template <int extent, typename X, typename Out, typename ScaleOf>
__device__ __forceinline__ void scaleRows(const LaunchParams &p, int outAt,
                                          ScaleOf scaleOf) {
  static_assert(X::kCols == Out::kCols, "scaling keeps the width");
  constexpr int kCount = commonVector<X, Out>();
  forEachVector<X::kCols, kCount>(
      p.step->counts[extent], [&](int64_t row, int64_t first) {
        auto scale = scaleOf(row, first);
        auto x = loadVector<X, kCount>(p.operands[0], row, first);
        float scaled[kCount];
#pragma unroll
        for (int i = 0; i < kCount; ++i)
          scaled[i] = scale(i, toFloat(x[i]));
        storeVector<Out, kCount>(p.operands[outAt], row, first, scaled);
      });
}

/// The weights from column `first` on that belong to a vector of scaleRows().
template <typename X, typename Out>
__device__ __forceinline__ auto columnWeights(const void *weights,
                                              int64_t first) {
  return *reinterpret_cast<const Vector<float, commonVector<X, Out>()> *>(
      static_cast<const float *>(weights) + first);
}

/// Operands x, sums, weight, out; may work in place.
template <int extent, typename X, typename Sums, typename Out>
__device__ void rmsScale(const LaunchParams &p, int column, float divisor,
                         float eps) {
  scaleRows<extent, X, Out>(p, 3, [&](int64_t row, int64_t first) {
    float factor =
        rmsFactor(Sums::row(p.operands[1], row)[column], divisor, eps);
    auto weight = columnWeights<X, Out>(p.operands[2], first);
    return [=](int i, float x) { return x * factor * weight[i]; };
  });
}

/// Operands x, weight, out; may work in place.
template <int extent, typename X, typename Out>
__device__ void scaleColumns(const LaunchParams &p) {
  scaleRows<extent, X, Out>(p, 2, [&](int64_t, int64_t first) {
    auto weight = columnWeights<X, Out>(p.operands[1], first);
    return [=](int i, float x) { return x * weight[i]; };
  });
}

/// Operands x, sums, out; may work in place.
template <int extent, typename X, typename Sums, typename Out>
__device__ void divideByRms(const LaunchParams &p, int column, float divisor,
                            float eps) {
  scaleRows<extent, X, Out>(p, 2, [&](int64_t row, int64_t) {
    float factor =
        rmsFactor(Sums::row(p.operands[1], row)[column], divisor, eps);
    return [=](int, float x) { return x * factor; };
  });
}

} // namespace saddle::device
