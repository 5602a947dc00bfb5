// cp.async: copies from global to shared memory that a thread waits for later.

#pragma once

#include "runtime/kernels/ptx/cache_policy.cuh"

#include <cstdint>

namespace saddle::device {

/// The 32-bit address of something in shared memory.
__device__ __forceinline__ uint32_t sharedAddress(const void *pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/// A number in shared memory, where 64 bits for its address are too many.
__device__ __forceinline__ float loadShared(uint32_t shared) {
  float value;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(shared));
  return value;
}

__device__ __forceinline__ uint4 loadShared16(uint32_t shared) {
  uint4 value;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(shared));
  return value;
}

/// The same for numbers of one, two or four bytes.
template <typename T>
__device__ __forceinline__ T loadSharedAs(uint32_t shared) {
  if constexpr (sizeof(T) == 4) {
    return loadShared(shared);
  } else {
    uint16_t bits;
    if constexpr (sizeof(T) == 2)
      asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(shared));
    else
      asm volatile("ld.shared.u8 %0, [%1];" : "=h"(bits) : "r"(shared));
    return static_cast<T>(bits);
  }
}

/// Copies the first `bytes` of 16 and fills the rest with zeros; both addresses
/// are multiples of 16. With 0 bytes nothing is read.
__device__ __forceinline__ void copyAsync16(uint32_t shared, const void *global,
                                            uint32_t bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared),
               "l"(global), "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void copyAsync16(uint32_t shared, const void *global,
                                            uint32_t bytes,
                                            CachePolicy policy) {
  asm volatile(
      "cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;" ::"r"(
          shared),
      "l"(global), "r"(bytes), "l"(policy.bits)
      : "memory");
}

/// The same for 8 or 4 bytes, through L1.
template <int size>
__device__ __forceinline__ void copyAsync(uint32_t shared, const void *global,
                                          uint32_t bytes = size) {
  static_assert(size == 4 || size == 8 || size == 16,
                "cp.async moves 4, 8 or 16 bytes");
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared),
               "l"(global), "n"(size), "r"(bytes)
               : "memory");
}

/// Closes a group of this thread's copies.
__device__ __forceinline__ void commitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most the last `pending` groups of this thread are under way.
template <int pending>
__device__ __forceinline__ void waitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

} // namespace saddle::device
