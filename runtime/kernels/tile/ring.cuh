// A ring in shared memory through which some warps hand things to others.

#pragma once

#include "runtime/kernels/ptx/barrier.cuh"

namespace saddle::device {

/// The barriers of a ring of `depth` slots and where a thread is in it; all
/// threads walk through it alike. Slot i is filled by all that fill, each of
/// them arriving at filled() when it has done its part, and emptied by all
/// warps that empty it.
template <int depth>
struct Ring {
  static constexpr int kBarrierBytes = depth * 2 * 8;

  /// By one thread, before a barrier of all.
  __device__ __forceinline__ void begin(int fillers, int emptyingWarps) const {
    for (int i = 0; i < depth; ++i) {
      initBarrier(filledOf(i), fillers);
      initBarrier(emptiedOf(i), emptyingWarps);
    }
    fenceBarriers();
  }
  __device__ __forceinline__ uint32_t filled() const { return filledOf(slot); }
  __device__ __forceinline__ uint32_t emptied() const {
    return emptiedOf(slot);
  }
  __device__ __forceinline__ void waitFilled() const {
    waitForBarrier(filledOf(slot), parity);
  }
  __device__ __forceinline__ void waitEmptied() const {
    waitForBarrier(emptiedOf(slot), parity ^ 1);
  }
  /// A thread has done its part of the slot.
  __device__ __forceinline__ void fill() const { arriveAtBarrier(filled()); }
  /// A warp has done with the slot.
  __device__ __forceinline__ void release() const {
    __syncwarp();
    if (threadIdx.x % 32 == 0)
      arriveAtBarrier(emptied());
  }
  __device__ __forceinline__ void advance() {
    slot = slot + 1 == depth ? 0 : slot + 1;
    parity ^= slot == 0;
  }

  /// To where `steps` calls of advance() lead from the first slot. The compiler
  /// shall not keep slot and parity beside `steps`: registers are scarce.
  __device__ __forceinline__ void goTo(int steps) {
    asm volatile("" : "+r"(steps));
    slot = steps % depth;
    parity = steps / depth % 2;
  }

  uint32_t barriers; // in shared memory, kBarrierBytes
  int slot = 0;
  uint32_t parity = 0;

private:
  __device__ __forceinline__ uint32_t filledOf(int i) const {
    return barriers + i * 8;
  }
  __device__ __forceinline__ uint32_t emptiedOf(int i) const {
    return barriers + (depth + i) * 8;
  }
};

} // namespace saddle::device
