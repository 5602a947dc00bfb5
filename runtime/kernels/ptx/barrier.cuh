// Barriers in shared memory (mbarrier) and of some warps, and the registers
// that warpgroups give and take: what a CTA needs whose warps have different
// work.

#pragma once

#include <cstdint>

namespace saddle::device {

/// A phase of the barrier ends with that many arrivals. A barrier of all
/// threads stands between this and its first use.
__device__ __forceinline__ void initBarrier(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier),
               "r"(arrivals)
               : "memory");
}

__device__ __forceinline__ void arriveAtBarrier(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// The phase does not end before bulk copies have brought that many bytes, too.
__device__ __forceinline__ void expectBytes(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.expect_tx.shared.b64 [%0], %1;" ::"r"(barrier),
               "r"(bytes)
               : "memory");
}

/// Makes barriers that this thread has begun known to bulk copies, behind a
/// barrier of all threads.
__device__ __forceinline__ void fenceBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/// Arrives when all copies (cp.async) that this thread has begun are complete.
__device__ __forceinline__ void arriveWithCopies(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier)
               : "memory");
}

/// Waits for the end of the phase of that parity. The first phase has parity 0;
/// the one before it counts as ended.
__device__ __forceinline__ void waitForBarrier(uint32_t barrier,
                                               uint32_t parity) {
  asm volatile("{\n"
               ".reg .pred ended;\n"
               "again:\n"
               "mbarrier.try_wait.parity.shared.b64 ended, [%0], %1;\n"
               "@!ended bra again;\n"
               "}" ::"r"(barrier),
               "r"(parity)
               : "memory");
}

/// Whole warps, `threads` in all, meet at barrier `id`, which is not 0: that is
/// the barrier of all threads.
template <int id, int threads>
__device__ __forceinline__ void meet() {
  static_assert(id > 0 && id < 16 && threads % 32 == 0, "see above");
  asm volatile("bar.sync %0, %1;" ::"n"(id), "n"(threads) : "memory");
}

/// The same, and whether any of them says so.
template <int id, int threads>
__device__ __forceinline__ bool meetAny(bool mine) {
  static_assert(id > 0 && id < 16 && threads % 32 == 0, "see above");
  int any;
  asm volatile("{\n"
               ".reg .pred mine, any;\n"
               "setp.ne.s32 mine, %1, 0;\n"
               "bar.red.or.pred any, %2, %3, mine;\n"
               "selp.s32 %0, 1, 0, any;\n"
               "}"
               : "=r"(any)
               : "r"(static_cast<int>(mine)), "n"(id), "n"(threads)
               : "memory");
  return any != 0;
}
/// The same, and how many of them say so.
template <int id, int threads>
__device__ __forceinline__ int meetCount(bool mine) {
  static_assert(id > 0 && id < 16 && threads % 32 == 0, "see above");
  int count;
  asm volatile("{\n"
               ".reg .pred mine;\n"
               "setp.ne.s32 mine, %1, 0;\n"
               "bar.red.popc.u32 %0, %2, %3, mine;\n"
               "}"
               : "=r"(count)
               : "r"(static_cast<int>(mine)), "n"(id), "n"(threads)
               : "memory");
  return count;
}

/// Two warpgroups, the first of the CTA, take turns: each waits in takeTurn()
/// until the other has called passTurn() once more. Barriers `id` and `id + 1`.
/// Which one is found anew each time, since registers are scarce.
template <int id>
__device__ __forceinline__ void takeTurn() {
  asm volatile("{\n"
               ".reg .pred first;\n"
               ".reg .b32 thread;\n"
               "mov.u32 thread, %%tid.x;\n"
               "setp.lt.u32 first, thread, 128;\n"
               "@first bar.sync %0, 256;\n"
               "@!first bar.sync %1, 256;\n"
               "}" ::"n"(id),
               "n"(id + 1)
               : "memory");
}
template <int id>
__device__ __forceinline__ void passTurn() {
  asm volatile("{\n"
               ".reg .pred first;\n"
               ".reg .b32 thread;\n"
               "mov.u32 thread, %%tid.x;\n"
               "setp.lt.u32 first, thread, 128;\n"
               "@first bar.arrive %1, 256;\n"
               "@!first bar.arrive %0, 256;\n"
               "}" ::"n"(id),
               "n"(id + 1)
               : "memory");
}

/// A warpgroup gives registers back, down to that many for a thread.
template <int count>
__device__ __forceinline__ void keepRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
/// A warpgroup takes registers, once others have given enough.
template <int count>
__device__ __forceinline__ void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

} // namespace saddle::device
