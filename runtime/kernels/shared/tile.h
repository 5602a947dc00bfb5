// Shared memory of the products of many tokens (tile/product.cuh).

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_TILE_H
#define SADDLE_RUNTIME_KERNELS_SHARED_TILE_H

#include <cstdint>

namespace saddle::device {

/// `groups` warpgroups of 64 tokens each and 128 rows of weights; a ring of
/// `depth` stages with 128 bytes of each token and row.
struct TileLayout {
  int64_t groups, depth;

  static constexpr int64_t kRows = 128, kLineBytes = 128;
  constexpr int64_t tokens() const { return 64 * groups; }
  constexpr int64_t threads() const { return 128 * groups; }
  constexpr int64_t stageBytes() const {
    return (tokens() + kRows) * kLineBytes;
  }
  constexpr int64_t ringBytes() const { return depth * stageBytes(); }
};

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_TILE_H
