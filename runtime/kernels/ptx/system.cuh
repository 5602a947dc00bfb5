// Accesses that other devices take part in, and the clock that all of them
// share. "Relaxed" orders nothing; a release and the acquire that reads it
// order everything before the one in front of everything after the other.

#pragma once

#include "runtime/kernels/shared/exchange.h"

namespace saddle::device {

__device__ __forceinline__ void storeRelaxed(WordPair *at, WordPair value) {
  asm volatile("st.relaxed.sys.global.v2.b64 [%0], {%1, %2};" ::"l"(at),
               "l"(value.first), "l"(value.second)
               : "memory");
}
__device__ __forceinline__ WordPair loadRelaxed(const WordPair *at) {
  WordPair value;
  asm volatile("ld.relaxed.sys.global.v2.b64 {%0, %1}, [%2];"
               : "=l"(value.first), "=l"(value.second)
               : "l"(at)
               : "memory");
  return value;
}

__device__ __forceinline__ void storeRelaxed(uint32_t *at, uint32_t value) {
  asm volatile("st.relaxed.sys.global.u32 [%0], %1;" ::"l"(at), "r"(value)
               : "memory");
}
__device__ __forceinline__ uint32_t loadRelaxed(const uint32_t *at) {
  uint32_t value;
  asm volatile("ld.relaxed.sys.global.u32 %0, [%1];"
               : "=r"(value)
               : "l"(at)
               : "memory");
  return value;
}

__device__ __forceinline__ void storeRelease(uint32_t *at, uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(at), "r"(value)
               : "memory");
}
__device__ __forceinline__ uint32_t loadAcquire(const uint32_t *at) {
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];"
               : "=r"(value)
               : "l"(at)
               : "memory");
  return value;
}

/// One more, for this device; what it was. Whoever looks at that late does not
/// wait for it (atomicAdd() of a lane becomes one of its warp, which does).
__device__ __forceinline__ uint32_t countRelaxed(uint32_t *at) {
  uint32_t before;
  asm volatile("atom.relaxed.gpu.global.add.u32 %0, [%1], 1;"
               : "=r"(before)
               : "l"(at)
               : "memory");
  return before;
}

/// Nanoseconds; advances in steps of up to a microsecond.
__device__ __forceinline__ uint64_t globalTimer() {
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

} // namespace saddle::device
