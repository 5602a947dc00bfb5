// How L2 treats what is read.

#pragma once

#include <cstdint>

namespace saddle::device {

struct CachePolicy {
  uint64_t bits;
};

/// For what is read once in a step, such as weights: it makes room before what
/// is read again (results, small tables, code).
__device__ __forceinline__ CachePolicy evictFirst() {
  CachePolicy policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;"
      : "=l"(policy.bits));
  return policy;
}

/// Asks for the line that `from` lies in, and does not wait for it.
__device__ __forceinline__ void prefetchToL2(const void *from) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
}

} // namespace saddle::device
