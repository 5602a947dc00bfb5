// linear for any shape, type and stride: a warp takes one row
// of the weight and up to four tokens. The fast kernels are in
// linear_stream.cuh; this one is for what they do not cover, and for f32.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/tile/quantize.cuh"
#include "runtime/kernels/tile/rotate.cuh"
#include "runtime/kernels/tile/weights.cuh"

namespace saddle::device {

/// out = what dynamic quantisation in groups of `group` makes of x, in fp32 and
/// dense. A warp takes a group.
template <int extent, int64_t group, typename X>
__device__ void roundToGroups(const LaunchParams &p, const void *x, void *out) {
  constexpr int64_t kGroups = (X::kCols + group - 1) / group;
  int64_t total = static_cast<int64_t>(p.step->counts[extent]) * kGroups;
  int64_t warps = static_cast<int64_t>(gridDim.x) * (blockDim.x / 32);
  for (int64_t i =
           (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
       i < total; i += warps) {
    int64_t first = i % kGroups * group;
    const typename X::Element *from = X::row(x, i / kGroups) + first;
    float *to = static_cast<float *>(out) + i / kGroups * X::kCols + first;
    int count =
        static_cast<int>(X::kCols - first < group ? X::kCols - first : group);
    float scale = encodeLongGroup(
        count, [&](int64_t k) { return toFloat(from[k]); },
        [&](int64_t k, e4m3 code) { to[k] = toFloat(code); });
    // The same lane wrote it.
    for (int k = threadIdx.x % 32; k < count; k += 32)
      to[k] *= scale;
  }
}

/// out = the values of rows that encodeRows() has encoded, in fp32 and dense.
template <int extent, int group, typename Codes, typename Factors>
__device__ void decodeRows(const LaunchParams &p, const void *codes,
                           const void *factors, void *out) {
  int64_t total = static_cast<int64_t>(p.step->counts[extent]) * Codes::kCols;
  int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < total; i += threads) {
    int64_t row = i / Codes::kCols, column = i % Codes::kCols;
    static_cast<float *>(out)[i] = toFloat(Codes::row(codes, row)[column]) *
                                   Factors::row(factors, row)[column / group];
  }
}

/// out = x w^T for the rows that are real. Operands: x, the StoredWeights w,
/// out; `x` says where to read x.
template <int extent, typename X, typename Weights, typename Out>
__device__ void linearAnyShape(const LaunchParams &p, const void *x) {
  static_assert(X::kCols == Weights::kCols && Weights::kRows == Out::kCols,
                "out is x times w transposed");
  constexpr int kTokens = 4;
  int64_t count = p.step->counts[extent];
  void *out = p.operands[1 + Weights::kOperands];
  int64_t total = (count + kTokens - 1) / kTokens * Weights::kRows;
  int64_t warps = static_cast<int64_t>(gridDim.x) * (blockDim.x / 32);
  for (int64_t i =
           (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
       i < total; i += warps) {
    int64_t row = i % Weights::kRows, token = i / Weights::kRows * kTokens;
    int tokens =
        static_cast<int>(count - token < kTokens ? count - token : kTokens);
    float sums[kTokens];
    dotRows(
        sums, tokens,
        [&](int t, int64_t k) { return toFloat(X::row(x, token + t)[k]); },
        typename Weights::Row(p.operands + 1, 0, 0, row), Weights::kCols);
#pragma unroll
    for (int t = 0; t < kTokens; ++t)
      if (t < tokens && threadIdx.x % 32 == 0)
        Out::row(out, token + t)[row] =
            fromFloat<typename Out::Element>(sums[t]);
  }
}

} // namespace saddle::device
