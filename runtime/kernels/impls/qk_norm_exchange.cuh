// qk_norm_all_reduce_rope_kv_append: as qk_norm_rope_kv_append, of rows whose
// columns lie on several ranks (rows_across_ranks.cuh).

#pragma once

#include "runtime/kernels/impls/qk_norm.cuh"
#include "runtime/kernels/impls/rows_across_ranks.cuh"

namespace saddle::device {

/// Tells this exchange from those of other kernels.
template <typename Q>
constexpr uint32_t kQKNormSignature =
    signatureOf(ExchangeKind::QKNorm, Q::kRows, 2, sizeof(float));

/// One launch of at most `blocks` CTAs, all resident. `memory` bytes of
/// exchange memory.
template <int size, uint64_t memory, int blocks, int extent, int threads,
          int headDim, int rotaryDim, typename Q, typename K, typename V,
          typename Out, typename Cache, bool scaled = false>
__device__ void qkNormAllReduceRopeKVAppend(const LaunchParams &p,
                                            float qDivisor, float kDivisor,
                                            float eps,
                                            const float *frequencies) {
  using Row =
      QKNormRow<threads, headDim, rotaryDim, Q, K, V, Out, Cache, scaled>;
  __shared__ Rotation rotations[rotaryDim / 2];
  __shared__ float scratch[Row::kScratch];
  rowsAcrossRanks<size, memory, blocks, Q::kRows>(
      p, kQKNormSignature<Q>, rowsOf<extent, Q>(p),
      [&](uint32_t row) { return Row(p, row); },
      [&](const Row &mine, float (&sums)[2]) { mine.sums(sums, scratch); },
      [&](Row &mine, uint32_t row) {
        mine.fetchWeights();
        fillRotations<rotaryDim / 2>(
            frequencies,
            static_cast<const i32 *>(
                p.operands[QKNormOperands<scaled>::kPositions])[row],
            rotations);
      },
      [&](Row &mine, float2 total) {
        float factors[2] = {rmsFactor(total.x, qDivisor, eps),
                            rmsFactor(total.y, kDivisor, eps)};
        mine.template finish</*fetched=*/true>(factors, rotations);
      });
}

/// First of three launches.
template <int extent, typename Q, typename K>
__device__ void qkNormSums(const LaunchParams &p) {
  rowSumsToWorkspace<extent, Q, K>(p);
}

/// Second.
template <int size, uint64_t memory, int extent, typename Q>
__device__ void qkNormExchange(const LaunchParams &p) {
  exchangeRowSums<size, memory, Q::kRows, 2>(p, kQKNormSignature<Q>,
                                             rowsOf<extent, Q>(p));
}

/// Third: everything behind the sums. No warp waits for another.
template <int extent, int threads, int headDim, int rotaryDim, typename Q,
          typename K, typename V, typename Out, typename Cache,
          bool scaled = false>
__device__ void qkNormFinish(const LaunchParams &p, float qDivisor,
                             float kDivisor, float eps,
                             const float *frequencies) {
  using Row =
      QKNormRow<threads, headDim, rotaryDim, Q, K, V, Out, Cache, scaled>;
  __shared__ Rotation tables[threads / 32][rotaryDim / 2];
  Rotation *rotations = tables[threadIdx.x / 32];
  WarpRotations<rotaryDim / 2> turning(frequencies);
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    Row mine(p, row);
    float2 sums = static_cast<const float2 *>(p.workspace)[row];
    turning.fill(static_cast<const i32 *>(
                     p.operands[QKNormOperands<scaled>::kPositions])[row],
                 rotations);
    float factors[2] = {rmsFactor(sums.x, qDivisor, eps),
                        rmsFactor(sums.y, kDivisor, eps)};
    mine.finish(factors, rotations);
  }
}

} // namespace saddle::device
