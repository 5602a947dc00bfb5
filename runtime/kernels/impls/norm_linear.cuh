// add_rms_norm_linear for a token or two, in one function: every CTA of the
// streaming product (impls/linear_stream.cuh) adds and normalises the tokens
// for itself, while its weights arrive, and keeps them as codes. Floor: the
// bytes of w over the memory bandwidth, hidden behind the kernel before, then
// two loads, two sums and the product: some 3.5 us. Limits: groups of 128
// columns, whole; the sum lies neither in a nor in b, which other CTAs may
// still read when it is written.

#pragma once

#include "runtime/kernels/impls/linear_stream.cuh"
#include "runtime/kernels/impls/norm.cuh"

namespace saddle::device {

/// Operands a, w, its scale, out, b, weight of the norm, sum: the product's are
/// where streamLinear() has them. Waits itself.
template <int extent, int group, typename A, typename B, typename Sum,
          typename W, typename Out, typename Shape, typename Scale>
__device__ void addRmsNormLinear(const LaunchParams &p, float eps) {
  constexpr int kMost = A::kRows < Shape::kTokens ? A::kRows : Shape::kTokens;
  constexpr int kThreads = 32 * Shape::kRowWarps * Shape::kColumnWarps;
  constexpr int kCols = A::kCols, kCount = commonVector<A, B, Sum>();
  using Resident = ResidentTokens<group, kMost, W, Shape>;
  using Codes = typename Resident::Encoder;
  constexpr int kRounds = (Codes::kPadded / kCount + kThreads - 1) / kThreads;
  using Element = typename Sum::Element;
  using Gammas = Vector<float, kCount>;
  __shared__ float scratch[kMost * kThreads / 32];
  auto columnOf = [](int round) {
    return (round * kThreads + static_cast<int>(threadIdx.x)) * kCount;
  };
  Gammas gammas[kRounds];
  streamLinear<extent, Resident::kGroup, typename Resident::Stream, W, Out,
               Shape, Scale>(
      p,
      [&](auto &, int, int) {
#pragma unroll
        for (int i = 0; i < kRounds; ++i)
          if (columnOf(i) < kCols)
            gammas[i] = *reinterpret_cast<const Gammas *>(
                static_cast<const float *>(p.operands[5]) + columnOf(i));
      },
      [&](auto &source, int first, int count) {
        extern __shared__ __align__(16) uint8_t shared[];
        float values[kMost][kRounds][kCount] = {}, squares[kMost] = {};
#pragma unroll
        for (int token = 0; token < kMost; ++token)
#pragma unroll
          for (int i = 0; i < kRounds; ++i) {
            int column = columnOf(i);
            if (column >= kCols || first + token >= count)
              continue;
            auto a =
                loadVector<A, kCount>(p.operands[0], first + token, column);
            auto b =
                loadVector<B, kCount>(p.operands[4], first + token, column);
            auto &sum = values[token][i];
#pragma unroll
            for (int j = 0; j < kCount; ++j) {
              sum[j] =
                  toFloat(fromFloat<Element>(toFloat(a[j]) + toFloat(b[j])));
              squares[token] += sum[j] * sum[j];
            }
            if (blockIdx.x == 0)
              storeVector<Sum, kCount>(p.operands[6], first + token, column,
                                       sum);
          }
        blockSums<kThreads>(squares, scratch);
        uint8_t *codes = shared + Resident::kOffset;
#pragma unroll
        for (int token = 0; token < kMost; ++token) {
          float factor = rmsFactor(squares[token], kCols, eps);
#pragma unroll
          for (int i = 0; i < kRounds; ++i) {
            auto &norm = values[token][i];
            if (columnOf(i) < kCols)
#pragma unroll
              for (int j = 0; j < kCount; ++j)
                norm[j] = toFloat(
                    fromFloat<Element>(norm[j] * factor * gammas[i][j]));
            Codes::storeLanes(codes, token, columnOf(i), norm);
          }
        }
        Resident::attach(source, codes);
        __syncthreads();
      });
}

} // namespace saddle::device
