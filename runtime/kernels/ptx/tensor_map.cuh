// Bulk copies of boxes of a matrix (cp.async.bulk.tensor) to shared memory,
// swizzled as wgmma wants them (ptx/wgmma.cuh), and the tensor maps that
// describe the matrix. A map is made by the kernel that uses it: all its fields
// can be set there (tensormap.replace), so that nothing of it stands in the
// engine.

#pragma once

#include "runtime/kernels/ptx/copy_async.cuh"

namespace saddle::device {

/// A warp makes the map of a matrix of `rows` x `cols` bytes, rows `stride`
/// bytes apart (a multiple of 16), for boxes of 128 bytes of `boxRows` rows. A
/// map takes 128 bytes at a multiple of them: `shared` is room for one, `map`
/// in global memory is where it ends. The thread that uses it calls fenceMap()
/// first.
__device__ __forceinline__ void makeMatrixMap(uint8_t *map, uint8_t *shared,
                                              const void *data, uint32_t rows,
                                              uint32_t cols, uint64_t stride,
                                              uint32_t boxRows) {
  int lane = threadIdx.x % 32;
  reinterpret_cast<uint32_t *>(shared)[lane] = 0;
  __syncwarp();
  uint32_t at = sharedAddress(shared);
  if (lane == 0) {
#define SADDLE_MAP_FIELD(field, bits, constraint, value)                       \
  asm volatile("tensormap.replace.tile." field ".shared::cta.b1024.b" bits     \
               ", %1;" ::"r"(at),                                              \
               constraint(value)                                               \
               : "memory")
    SADDLE_MAP_FIELD("global_address", "64 [%0]", "l", data);
    SADDLE_MAP_FIELD("rank", "32 [%0]", "r", 1); // dimensions - 1
    SADDLE_MAP_FIELD("box_dim", "32 [%0], 0", "r", 128);
    SADDLE_MAP_FIELD("box_dim", "32 [%0], 1", "r", boxRows);
    SADDLE_MAP_FIELD("global_dim", "32 [%0], 0", "r", cols);
    SADDLE_MAP_FIELD("global_dim", "32 [%0], 1", "r", rows);
    SADDLE_MAP_FIELD("global_stride", "64 [%0], 0", "l", stride);
    SADDLE_MAP_FIELD("element_stride", "32 [%0], 0", "r", 1);
    SADDLE_MAP_FIELD("element_stride", "32 [%0], 1", "r", 1);
    SADDLE_MAP_FIELD("elemtype", "32 [%0]", "n", 0);          // bytes
    SADDLE_MAP_FIELD("interleave_layout", "32 [%0]", "n", 0); // none
    SADDLE_MAP_FIELD("swizzle_mode", "32 [%0]", "n", 3);      // 128 bytes
    SADDLE_MAP_FIELD("fill_mode", "32 [%0]", "n", 0);         // zeros
#undef SADDLE_MAP_FIELD
  }
  __syncwarp();
  asm volatile("tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic"
               ".release.gpu.sync.aligned [%0], [%1], 128;" ::"l"(map),
               "r"(at)
               : "memory");
}

/// After a barrier behind makeMatrixMap(), before the first copy.
__device__ __forceinline__ void fenceMap(const uint8_t *map) {
  asm volatile(
      "fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map)
      : "memory");
}

/// Copies the box from (row, column in bytes) on to `shared`, a multiple of
/// 1024, and tells `barrier`.
__device__ __forceinline__ void copyBox(uint32_t shared, const uint8_t *map,
                                        int32_t row, int32_t column,
                                        uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx"
      "::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(shared),
      "l"(map), "r"(column), "r"(row), "r"(barrier)
      : "memory");
}
/// The same to that place of each CTA of the cluster whose bit of `ctas` is
/// set, and to its barrier.
__device__ __forceinline__ void copyBoxTo(uint16_t ctas, uint32_t shared,
                                          const uint8_t *map, int32_t row,
                                          int32_t column, uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx"
      "::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(
          shared),
      "l"(map), "r"(column), "r"(row), "r"(barrier), "h"(ctas)
      : "memory");
}

} // namespace saddle::device
