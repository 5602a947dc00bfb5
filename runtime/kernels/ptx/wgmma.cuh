// wgmma: a warpgroup's product of 64 rows and 128 columns, both in shared
// memory with consecutive k, added to fp32 registers. Thread 32 w + 4 g + t
// holds rows 16 w + g and 16 w + g + 8; of columns 8 j + 2 t and 8 j + 2 t + 1,
// d[4 j] and d[4 j + 1] are of the first row, d[4 j + 2] and d[4 j + 3] of the
// second.

#pragma once

#include "runtime/kernels/ptx/registers.cuh"

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

/// d = a * b, or d += a * b when `add`. `shape` has the k, and `transposed`
/// says for types that can be so that neither operand is.
#define SADDLE_WGMMA_128(name, shape, type, transposed)                        \
  __device__ __forceinline__ void name(float (&d)[64], uint64_t a, uint64_t b, \
                                       bool add) {                             \
    asm volatile("{\n"                                                         \
                 ".reg .pred p;\n"                                             \
                 "setp.ne.b32 p, %66, 0;\n"                                    \
                 "wgmma.mma_async.sync.aligned." shape ".f32." type "." type   \
                 " {" SADDLE_PLACES_64 "}, %64, %65, p, 1, 1" transposed ";\n" \
                 "}\n"                                                         \
                 : SADDLE_REGISTERS_64(d)                                      \
                 : "l"(a), "l"(b), "r"(static_cast<int>(add)));                \
  }

/// k = 32.
SADDLE_WGMMA_128(wgmmaE4m3, "m64n128k32", "e4m3", "")
/// k = 16.
SADDLE_WGMMA_128(wgmmaBf16, "m64n128k16", "bf16", ", 0, 0")

#undef SADDLE_WGMMA_128

/// Before the first wgmma, and after registers of d were touched.
__device__ __forceinline__ void wgmmaFence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Closes a group of products.
__device__ __forceinline__ void wgmmaCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits for all groups. Names d, so that no use of it moves up.
__device__ __forceinline__ void wgmmaWait(float (&d)[64]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
  for (int i = 0; i < 64; ++i)
    asm volatile("" : "+f"(d[i])::"memory");
}

/// Makes this thread's writes to shared memory visible to wgmma after a
/// barrier.
__device__ __forceinline__ void fenceForTensorCores() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

} // namespace saddle::device
