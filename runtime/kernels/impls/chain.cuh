// What stands behind a step of a chain: takes its tokens, writes the inputs of
// the next step (chain.h says how).
//
// One CTA, a thread for each sequence, and all of them for the header and the
// block table. Floor: the latency of a few dependent reads; at most some
// sequences have some rows each.

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/chain.h"

namespace saddle::device {

/// The threads of a CTA.
struct CtaTeam {
  __device__ __forceinline__ uint32_t index() const { return threadIdx.x; }
  __device__ __forceinline__ uint32_t size() const { return blockDim.x; }
  __device__ __forceinline__ bool all(bool holds) const {
    return __syncthreads_and(holds) != 0;
  }
};

/// Operands: the chain, the link.
__device__ __forceinline__ void chainSteps(const LaunchParams &p) {
  ChainWork<CtaTeam>(*static_cast<Chain *>(p.operands[0]),
                     *static_cast<const ChainLink *>(p.operands[1]), CtaTeam())
      .run();
}

} // namespace saddle::device
