// Waiting that ends: when what is awaited comes, when the time is up, or when
// somebody else gave up. Whoever gives up writes down why (Fault, abi.h).

#pragma once

#include "runtime/kernels/abi.h"
#include "runtime/kernels/ptx/system.cuh"

namespace saddle::device {

/// Writes the record unless another kernel has or does. `mark` is in this
/// rank's block; who may write is settled in the first member's, as devices
/// have no atomics on the host's memory. (Two groups that fail in the same
/// microsecond can still mix their records, which are about the same trouble
/// then.)
__device__ __forceinline__ void raiseFault(const LaunchParams &p,
                                           FaultMark *mark, uint32_t peer,
                                           FaultReason reason,
                                           uint32_t expected, uint32_t found) {
  storeRelaxed(&mark->broken, 1);
  uint32_t *claimed = reinterpret_cast<uint32_t *>(
      reinterpret_cast<char *>(&mark->claimed) + p.group->peers[0]);
  Fault *fault = p.fault;
  if (atomicCAS_system(claimed, 0, 1) != 0 || loadRelaxed(&fault->raised) != 0)
    return;
  fault->rank = p.group->rank;
  fault->peer = peer;
  fault->command = p.command;
  fault->reason = reason;
  fault->expected = expected;
  fault->found = found;
  storeRelease(&fault->raised, 1);
}

/// One thread's wait for one thing. Local memory is looked at with every poll,
/// the clock and the block's mark with every 64th, the host's memory, which is
/// a microsecond away and shared by all, with every 1024th.
class Patience {
public:
  /// Whether to poll again.
  __device__ __forceinline__ bool lasts(const LaunchParams &p, FaultMark *mark,
                                        uint32_t peer, uint32_t expected,
                                        uint32_t found) {
    uint64_t now = globalTimer();
    if (start == 0)
      start = now;
    if (loadRelaxed(&mark->broken) != 0)
      return false;
    if (polls % 1024 == 0 && loadRelaxed(&p.fault->raised) != 0) {
      storeRelaxed(&mark->broken, 1);
      return false;
    }
    if (now - start > p.step->timeoutNs) {
      raiseFault(p, mark, peer, kFaultTimeout, expected, found);
      return false;
    }
    __nanosleep(100);
    return true;
  }

  /// Counts a poll; whether it is time to ask lasts().
  __device__ __forceinline__ bool runsOut() { return ++polls % 64 == 0; }

private:
  uint32_t polls = 0;
  uint64_t start = 0;
};

} // namespace saddle::device
