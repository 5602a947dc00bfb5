// What all wgmma instructions share: tiles in shared memory and the order of
// groups of products (wgmma_rows.cuh has the products).

#pragma once

#include <cstdint>

namespace saddle::device {

/// Rows of 128 bytes one after the other, from a multiple of 1024 bytes on; the
/// 16-byte piece i of row r lies at piece i ^ (r % 8). Adding 2 to a descriptor
/// moves on by 32 bytes of k.
__device__ __forceinline__ uint64_t swizzledTile(uint32_t shared) {
  constexpr uint64_t kEightRows = 1024 / 16, kSwizzle128 = 1;
  return (shared & 0x3ffff) / 16 | uint64_t(1) << 16 | kEightRows << 32 |
         kSwizzle128 << 62;
}

/// Before the first wgmma, and after registers of d were touched.
__device__ __forceinline__ void wgmmaFence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Closes a group of products.
__device__ __forceinline__ void wgmmaCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most the last `pending` groups of products are under way.
template <int pending>
__device__ __forceinline__ void wgmmaWaitAllBut() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

/// Makes this thread's writes to shared memory visible to wgmma after a
/// barrier.
__device__ __forceinline__ void fenceForTensorCores() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

} // namespace saddle::device
