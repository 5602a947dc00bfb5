// Kernels around an exchange that is repeated: new inputs in every iteration,
// and a check of the result, without the host.

#ifndef SADDLE_TEST_GPU_EXCHANGECHECK_ITERATIONS_H
#define SADDLE_TEST_GPU_EXCHANGECHECK_ITERATIONS_H

#include "test/gpu/ExchangeCheck/Bodies.h"
#include "test/gpu/ExchangeCheck/Checks.h"

namespace saddle::device {

inline __device__ uint32_t hashOf(uint32_t value) {
  value = (value ^ 61) ^ (value >> 16);
  value *= 9;
  value ^= value >> 4;
  value *= 0x27d4eb2d;
  return value ^ (value >> 15);
}

/// Small whole numbers, so that sums are exact in bf16 for a few ranks.
inline __device__ float valueOf(uint32_t iteration, uint32_t rank,
                                uint32_t index) {
  return float(hashOf(iteration * 7919 + rank * 104729 + index) % 16);
}

/// A rank's iterations so far and wrong values; lies at kTally.
struct Tally {
  uint32_t iteration, errors;
};
constexpr uint64_t kTally = 16384;

inline void clearTallies(Ranks &ranks) {
  for (uint32_t r = 0; r < ranks.count; ++r) {
    ranks.use(r);
    CUDA(cudaMemset(ranks.at(r, kTally), 0, sizeof(Tally)));
  }
}

/// New inputs, then a wait of a random while, so that ranks drift apart.
template <typename M>
__global__ void produce(const __grid_constant__ LaunchParams p) {
  waitForPrevious();
  auto *tally = reinterpret_cast<Tally *>(p.workspace);
  uint32_t iteration = tally->iteration, rank = p.group->rank;
  uint32_t total = p.step->counts[1] * uint32_t(M::kCols);
  for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < total;
       i += gridDim.x * blockDim.x)
    M::row(p.operands[0], i / M::kCols)[i % M::kCols] =
        fromFloat<typename M::Element>(valueOf(iteration, rank, i));
  uint64_t end =
      globalTimer() + hashOf(iteration * 31 + rank) % p.rankValues[0];
  while (globalTimer() < end) {
  }
}
/// The sum of all ranks' inputs.
template <typename M, int size>
__global__ void verifySum(const __grid_constant__ LaunchParams p) {
  waitForPrevious();
  auto *tally = reinterpret_cast<Tally *>(p.workspace);
  uint32_t iteration = tally->iteration;
  uint32_t total = p.step->counts[1] * uint32_t(M::kCols);
  for (uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < total;
       i += gridDim.x * blockDim.x) {
    float sum = 0;
    for (uint32_t r = 0; r < size; ++r)
      sum += valueOf(iteration, r, i);
    if (toFloat(M::row(p.operands[1], i / M::kCols)[i % M::kCols]) != sum)
      atomicAdd(&tally->errors, 1);
  }
}
static __global__ void advance(const __grid_constant__ LaunchParams p) {
  waitForPrevious();
  ++reinterpret_cast<Tally *>(p.workspace)->iteration;
}

inline uint32_t errorsOf(Ranks &ranks, uint32_t *iterations = nullptr) {
  ranks.sync();
  uint32_t errors = 0;
  for (uint32_t r = 0; r < ranks.count; ++r) {
    Tally tally;
    ranks.use(r);
    CUDA(cudaMemcpy(&tally, ranks.at(r, kTally), sizeof(tally),
                    cudaMemcpyDeviceToHost));
    errors += tally.errors;
    if (iterations)
      *iterations = tally.iteration;
  }
  return errors;
}

} // namespace saddle::device

#endif // SADDLE_TEST_GPU_EXCHANGECHECK_ITERATIONS_H
