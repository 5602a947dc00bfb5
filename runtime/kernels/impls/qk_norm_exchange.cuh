// qk_norm_all_reduce_rope_kv_append: as qk_norm_rope_kv_append, of rows whose
// columns lie on several ranks. The two sums of a token go to all members of
// the group between the two halves of the work, as one packet each: one hop,
// about 2 us, instead of a collective and four launches around it.
//
// Few tokens: one launch, a token per CTA in turn, all of them sent before the
// first is waited for. Many: the halves are launches of their own that fill the
// machine, and only the exchange between them runs on CTAs that wait.

#pragma once

#include "runtime/kernels/comm/scalars.cuh"
#include "runtime/kernels/impls/qk_norm.cuh"

namespace saddle::device {

/// Tells this exchange from those of other kernels.
template <typename Q>
constexpr uint32_t kQKNormSignature =
    signatureOf(ExchangeKind::QKNorm, Q::kRows, 2, sizeof(float));

/// One launch of at most `blocks` CTAs, all resident. `memory` bytes of
/// exchange memory.
template <int size, uint64_t memory, int blocks, int extent, int threads,
          int headDim, int rotaryDim, typename Q, typename K, typename V,
          typename Out, typename Cache>
__device__ void qkNormAllReduceRopeKVAppend(const LaunchParams &p,
                                            float qDivisor, float kDivisor,
                                            float eps,
                                            const float *frequencies) {
  using Row = QKNormRow<threads, headDim, rotaryDim, Q, K, V, Out, Cache>;
  using Exchanged = ExchangedScalars<size, Q::kRows>;
  static_assert(Exchanged::kMemory == memory,
                "the planner reserves what the kernel uses");
  __shared__ Rotation rotations[rotaryDim / 2];
  __shared__ float scratch[Row::kScratch];
  __shared__ float2 total;
  uint32_t rows = min(p.step->counts[extent], static_cast<uint32_t>(Q::kRows));
  Exchanged exchange(p, kQKNormSignature<Q>, rows);
  bool speaks = threadIdx.x < 32;

  auto send = [&](const Row &mine, uint32_t row, float (&sums)[2]) {
    mine.sums(sums, scratch);
    if (speaks)
      exchange.send(row, {sums[0], sums[1]});
  };
  // False, in all threads, when a member does not come.
  auto finish = [&](Row &mine, uint32_t row, const float (&sums)[2]) {
    fillRotations<rotaryDim / 2>(
        frequencies, static_cast<const i32 *>(p.operands[5])[row], rotations);
    bool came = true;
    if (speaks) {
      float2 values = {sums[0], sums[1]};
      came = exchange.sum(row, values);
      if (threadIdx.x == 0)
        total = values;
    }
    if (!__syncthreads_and(came))
      return false;
    float factors[2] = {rmsFactor(total.x, qDivisor, eps),
                        rmsFactor(total.y, kDivisor, eps)};
    mine.finish(factors, rotations);
    __syncthreads();
    return true;
  };

  float sums[2];
  if constexpr (Q::kRows <= blocks) {
    if (blockIdx.x < rows) {
      Row mine(p, blockIdx.x);
      send(mine, blockIdx.x, sums);
      finish(mine, blockIdx.x, sums);
    }
  } else {
    for (uint32_t row = blockIdx.x; row < rows; row += gridDim.x)
      send(Row(p, row), row, sums);
    for (uint32_t row = blockIdx.x; row < rows; row += gridDim.x) {
      Row mine(p, row);
      mine.sums(sums, scratch); // the same bits again
      if (!finish(mine, row, sums))
        break;
    }
  }
  exchange.finish();
}

/// Second of three launches: the sums of squares in the workspace, which
/// sumOfSquares() put there, become those over all members. A warp per token in
/// turn; all CTAs resident.
template <int size, uint64_t memory, int extent, typename Q>
__device__ void qkNormExchange(const LaunchParams &p) {
  using Exchanged = ExchangedScalars<size, Q::kRows>;
  static_assert(Exchanged::kMemory == memory,
                "the planner reserves what the kernel uses");
  uint32_t rows = min(p.step->counts[extent], static_cast<uint32_t>(Q::kRows));
  auto *sums = static_cast<float2 *>(p.workspace);
  uint32_t first = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  uint32_t step = gridDim.x * blockDim.x / 32;
  Exchanged exchange(p, kQKNormSignature<Q>, rows);
  for (uint32_t row = first; row < rows; row += step)
    exchange.send(row, sums[row]);
  for (uint32_t row = first; row < rows; row += step) {
    float2 values = sums[row];
    if (!exchange.sum(row, values))
      break;
    if (threadIdx.x % 32 == 0)
      sums[row] = values;
  }
  exchange.finish();
}

/// Third: everything behind the sums.
template <int extent, int threads, int headDim, int rotaryDim, typename Q,
          typename K, typename V, typename Out, typename Cache>
__device__ void qkNormFinish(const LaunchParams &p, float qDivisor,
                             float kDivisor, float eps,
                             const float *frequencies) {
  using Row = QKNormRow<threads, headDim, rotaryDim, Q, K, V, Out, Cache>;
  __shared__ Rotation rotations[rotaryDim / 2];
  for (uint32_t row = blockIdx.x; row < p.step->counts[extent];
       row += gridDim.x) {
    Row mine(p, row);
    fillRotations<rotaryDim / 2>(
        frequencies, static_cast<const i32 *>(p.operands[5])[row], rotations);
    float2 sums = static_cast<const float2 *>(p.workspace)[row];
    __syncthreads();
    float factors[2] = {rmsFactor(sums.x, qDivisor, eps),
                        rmsFactor(sums.y, kDivisor, eps)};
    mine.finish(factors, rotations);
    __syncthreads();
  }
}

} // namespace saddle::device
