// wgmma with both operands in shared memory and rows that are k
// (swizzledColumns()): d += a^T b, where a has 64 columns and b as many as d.
// Otherwise as wgmma_rows.cuh.

#pragma once

#include "runtime/kernels/ptx/wgmma_rows.cuh"

namespace saddle::device {

/// d += a^T b, or d = a^T b when not `adds`; k = 16, of bf16.
template <bool adds>
__device__ __forceinline__ void wgmmaTilesBf16(float (&d)[8][4], uint64_t a,
                                               uint64_t b) {
  asm volatile("{ .reg .pred adds; setp.ne.b32 adds, %34, 0; "
               "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16"
               " {" SADDLE_PLACES_32 "}, %32, %33, adds, 1, 1, 1, 1; }"
               : SADDLE_ROWS_8(d, 0)
               : "l"(a), "l"(b), "n"(adds ? 1 : 0));
}
template <bool adds>
__device__ __forceinline__ void wgmmaTilesBf16(float (&d)[16][4], uint64_t a,
                                               uint64_t b) {
  asm volatile("{ .reg .pred adds; setp.ne.b32 adds, %66, 0; "
               "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16"
               " {" SADDLE_PLACES_64 "}, %64, %65, adds, 1, 1, 1, 1; }"
               : SADDLE_ROWS_8(d, 0), SADDLE_ROWS_8(d, 8)
               : "l"(a), "l"(b), "n"(adds ? 1 : 0));
}

} // namespace saddle::device
