// add_rms_norm_router and scaled_add_rms_norm_router: the residual add, the
// norm behind it, the router's product and the choice of experts, for few
// tokens, by one cluster. A warp holds one expert's weights in registers, or a
// part of them, fetched before the kernels before are complete. Every CTA adds
// and normalises all tokens for itself; scores meet in the shared memory of the
// CTA that chooses for their token. Floor: the bytes of the router's weights
// over what 16 multiprocessors read, hidden behind the kernel before, then some
// 3 us of dependent steps. Limits: shared/norm_router.h.

#pragma once

#include "runtime/kernels/impls/norm.cuh"
#include "runtime/kernels/impls/router.cuh"
#include "runtime/kernels/ptx/cluster.cuh"
#include "runtime/kernels/ptx/launch.cuh"
#include "runtime/kernels/shared/norm_router.h"

namespace saddle::device {

/// NormRouterLayout for these extents.
template <int64_t tokens, int64_t cols, int64_t experts>
struct NormRouterShape {
  static constexpr bool kFits = NormRouterLayout::fits(tokens, cols, experts);
  static constexpr int kParts = NormRouterLayout::parts(cols);
  static constexpr int kCtas = NormRouterLayout::ctas(experts, cols);
  static constexpr int kPlaces = NormRouterLayout::places(tokens);
};

/// `cols` columns of a row of weights, spread over a warp: lane l has the
/// columns 4l .. 4l + 3 of every 128.
template <typename W, int cols>
struct WarpRow {
  static constexpr int kChunks = cols / 128;
  static_assert(cols % 128 == 0 && W::isVectorizable(4),
                "a lane reads four weights at a time");
  Vector<typename W::Element, 4> values[kChunks];

  __device__ __forceinline__ void load(const void *base, int row, int first,
                                       int lane) {
#pragma unroll
    for (int i = 0; i < kChunks; ++i)
      values[i] = loadVector<W, 4>(base, row, first + i * 128 + lane * 4);
  }
  /// The product with these columns of a row in shared memory, in every lane.
  template <typename T>
  __device__ __forceinline__ float dot(const T *row, int lane) const {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kChunks; ++i) {
      auto x =
          *reinterpret_cast<const Vector<T, 4> *>(row + i * 128 + lane * 4);
#pragma unroll
      for (int j = 0; j < 4; ++j)
        sum = fmaf(toFloat(x[j]), toFloat(values[i][j]), sum);
    }
    return warpSum(sum);
  }
};

/// Operands a, b, weight of the norm, weight of the router; from `normAt` on
/// the norm, weights and numbers of the chosen experts, and, unless `sumAt` is
/// 0, there the sum. Sum and norm may be exactly a or b. A single cluster;
/// waits itself.
template <int extent, int sumAt, int normAt, typename A, typename B,
          typename Sum, typename Norm, typename W, typename Weights,
          typename Experts, typename Combine, typename Scores>
__device__ __forceinline__ void combineRmsNormRouter(const LaunchParams &p,
                                                     float eps, Combine combine,
                                                     const Scores &rule) {
  using Layout = NormRouterLayout;
  using Shape = NormRouterShape<A::kRows, A::kCols, W::kRows>;
  constexpr int kCols = A::kCols, kExperts = W::kRows;
  static_assert(B::kCols == kCols && Sum::kCols == kCols &&
                    Norm::kCols == kCols && W::kCols == kCols,
                "the operands have one width");
  static_assert(Shape::kFits, "a warp for each part, and few tokens");
  constexpr int kCtas = Shape::kCtas, kPlaces = Shape::kPlaces;
  constexpr int kParts = Shape::kParts, kOfPart = kCols / kParts;
  constexpr int kCount = commonVector<A, B, Sum, Norm>();
  // Threads that have a token between them.
  constexpr int kThreads = Layout::kThreads / kPlaces;
  constexpr int kWarps = kThreads / 32;
  // Tokens that a CTA chooses for.
  constexpr int kChoices = kPlaces < kCtas ? 1 : kPlaces / kCtas;

  using SumElement = typename Sum::Element;
  using NormElement = typename Norm::Element;
  extern __shared__ __align__(16) uint8_t shared[];
  auto *sums = reinterpret_cast<SumElement *>(shared);
  auto *norms = reinterpret_cast<NormElement *>(sums + kPlaces * kCols);
  __shared__ float scratch[Layout::kWarps];
  __shared__ float logits[kChoices][kExperts][kParts];

  allowNext();
  arriveAtCluster(); // nobody writes to a CTA that has not begun
  int thread = static_cast<int>(threadIdx.x), warp = thread / 32,
      lane = thread % 32, cta = static_cast<int>(clusterRank());
  int mine = cta * static_cast<int>(Layout::kWarps) + warp;
  int expert = mine / kParts, part = mine % kParts;
  WarpRow<W, kOfPart> weights;
  if (expert < kExperts)
    weights.load(p.operands[3], expert, part * kOfPart, lane);
  int token = thread / kThreads, first = thread % kThreads;
  constexpr int kRounds = (kCols + kThreads * kCount - 1) / (kThreads * kCount);
  using Gammas = Vector<float, kCount>;
  auto gammasAt = [&](int column) {
    return *reinterpret_cast<const Gammas *>(
        static_cast<const float *>(p.operands[2]) + column);
  };
  // Fetched before the wait, too, where registers suffice.
  Gammas early;
  if (kRounds == 1 && first * kCount < kCols)
    early = gammasAt(first * kCount);
  int count = static_cast<int>(p.step->counts[extent]);
  waitForPrevious();

  float squares = 0;
  if (token < count)
    for (int column = first * kCount; column < kCols;
         column += kThreads * kCount) {
      auto a = loadVector<A, kCount>(p.operands[0], token, column);
      auto b = loadVector<B, kCount>(p.operands[1], token, column);
      Vector<SumElement, kCount> sum;
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        sum[i] = fromFloat<SumElement>(combine(toFloat(a[i]), toFloat(b[i])));
        squares += toFloat(sum[i]) * toFloat(sum[i]);
      }
      *reinterpret_cast<Vector<SumElement, kCount> *>(sums + token * kCols +
                                                      column) = sum;
    }
  squares = warpSum(squares);
  if (lane == 0)
    scratch[warp] = squares;
  __syncthreads();
  squares = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i)
    squares += scratch[token * kWarps + i];
  if (token < count) {
    float factor = rmsFactor(squares, kCols, eps);
    for (int column = first * kCount; column < kCols;
         column += kThreads * kCount) {
      auto sum = *reinterpret_cast<const Vector<SumElement, kCount> *>(
          sums + token * kCols + column);
      Gammas gammas = kRounds == 1 ? early : gammasAt(column);
      Vector<NormElement, kCount> norm;
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        norm[i] = fromFloat<NormElement>(toFloat(sum[i]) * factor * gammas[i]);
      *reinterpret_cast<Vector<NormElement, kCount> *>(norms + token * kCols +
                                                       column) = norm;
    }
  }
  __syncthreads();
  waitForCluster();
  if (expert < kExperts)
    for (int i = 0; i < count; ++i) {
      float logit = weights.dot(norms + i * kCols + part * kOfPart, lane);
      if (lane == 0)
        storeInCluster(&logits[i / kCtas][expert][part], i % kCtas, logit);
    }
  // All have read a and b, and all scores are where they are wanted.
  arriveAtCluster();
  waitForCluster();

  for (int i = cta; i < count; i += kCtas) {
    for (int column = thread * kCount; column < kCols;
         column += Layout::kThreads * kCount) {
      using Sums = Vector<SumElement, kCount>;
      using Norms = Vector<NormElement, kCount>;
      if constexpr (sumAt != 0)
        *reinterpret_cast<Sums *>(Sum::row(p.operands[sumAt], i) + column) =
            *reinterpret_cast<const Sums *>(sums + i * kCols + column);
      *reinterpret_cast<Norms *>(Norm::row(p.operands[normAt], i) + column) =
          *reinterpret_cast<const Norms *>(norms + i * kCols + column);
    }
    chooseExperts<(kExperts + 31) / 32 * 32, kExperts, Weights::kCols>(
        [&](int each) {
          float logit = logits[i / kCtas][each][0];
#pragma unroll
          for (int j = 1; j < kParts; ++j)
            logit += logits[i / kCtas][each][j];
          return logit;
        },
        rule, Weights::row(p.operands[normAt + 1], i),
        Experts::row(p.operands[normAt + 2], i));
    __syncthreads(); // before the next token's choice
  }
}

/// Operands a, b, weights of norm and router, bias; sum, norm, weights and
/// numbers of the chosen experts.
template <int extent, typename A, typename B, typename Sum, typename Norm,
          typename W, typename Weights, typename Experts>
__device__ void addRmsNormRouter(const LaunchParams &p, float eps,
                                 float routedScale) {
  combineRmsNormRouter<extent, /*sumAt=*/5, /*normAt=*/6, A, B, Sum, Norm, W,
                       Weights, Experts>(
      p, eps, Added{},
      SigmoidScores{static_cast<const float *>(p.operands[4]), routedScale});
}

/// Operands a, b, weights of norm and router; norm, weights and numbers of the
/// chosen experts. Nobody else reads alpha * a + beta * b.
template <int extent, typename A, typename B, typename Norm, typename W,
          typename Weights, typename Experts>
__device__ void scaledAddRmsNormRouter(const LaunchParams &p, float alpha,
                                       float beta, float eps) {
  combineRmsNormRouter<extent, /*sumAt=*/0, /*normAt=*/4, A, B, A, Norm, W,
                       Weights, Experts>(p, eps, ScaledAdded{alpha, beta},
                                         SoftmaxScores{});
}

} // namespace saddle::device
