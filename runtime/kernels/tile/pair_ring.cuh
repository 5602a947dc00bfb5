// A ring of tile/ring.cuh in each CTA of a cluster of two, both of which walk
// alike: a slot has what those that fill here wrote, and bytes that the others
// sent (sendToCluster(), copyBoxTo()); it is filled again when both CTAs have
// emptied theirs.

#pragma once

#include "runtime/kernels/ptx/cluster.cuh"
#include "runtime/kernels/tile/ring.cuh"

namespace saddle::device {

template <int depth>
struct PairRing : Ring<depth> {
  using Mine = Ring<depth>;

  /// Counts are those of one CTA. A barrier of the cluster stands between this
  /// and the first use.
  __device__ __forceinline__ void begin(int fillers, int emptyingWarps) const {
    Mine::begin(fillers, 2 * emptyingWarps);
  }
  /// A warp has done with the slot here, which both CTAs write to.
  __device__ __forceinline__ void release() const {
    Mine::release();
    if (threadIdx.x % 32 == 0)
      arriveInCluster(there(Mine::emptied()));
  }
  /// The same place of the other CTA's shared memory.
  static __device__ __forceinline__ uint32_t there(uint32_t address) {
    return addressInCluster(address, clusterRank() ^ 1);
  }
};

} // namespace saddle::device
