// What the planners of products with weights share.

#ifndef SADDLE_PASSES_TARGET_SM90A_PLANS_PRODUCTS_H
#define SADDLE_PASSES_TARGET_SM90A_PLANS_PRODUCTS_H

#include "passes/Target/Sm90a/Plans/Plans.h"

#include <algorithm>

namespace saddle::cuda {

/// Warps of a CTA of the kernels for any shape.
constexpr int64_t kWarpsOfAnyShape = 8;

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t roundUp(int64_t a, int64_t unit) {
  return ceilDiv(a, unit) * unit;
}

/// The grid of such a kernel that has work for that many warps, until the
/// machine is full.
uint32_t blocksOfWarps(int64_t warps);

/// The index of the launch's extent in Step::counts.
inline int extentNumber(const LaunchDesc &launch) {
  return static_cast<int>(launch.extent);
}

/// "BlockScaled<Matrix<f32, ...>, 128, 128>" with the block extents of two
/// constants of the launch, or "Unscaled" when `multipliers` has no shape. A
/// stack of multipliers says the rows of a member too.
std::string scaleType(const LaunchDesc &launch, const Operand &multipliers,
                      llvm::StringRef blockRows, llvm::StringRef blockCols);

//===--- Streaming products (tile/stream.cuh) -----------------------------===//

/// Whether a warp can stream rows of `w`: its type has a StreamType and rows
/// begin at multiples of 16 bytes.
bool canStreamWeights(const Operand &w);

/// Whether rows of `x` can be the tokens of weights of that type, without
/// encoding.
bool canStreamTokens(const Operand &x, mlir::Type weight);

/// Columns of a unit of such weights: four lanes' 64 bytes.
int64_t streamUnitColumns(mlir::Type weight);

/// Units whose products are scaled together, such that they lie within groups
/// of both extents: 2 or 1; 0 when there is no such number. For e4m3 weights
/// with `cols` columns.
int64_t streamScaleUnits(int64_t cols, int64_t group, int64_t blockCols);

/// Units of a stage: as many as `wanted` or a few more or less, in whole groups
/// of `scaleUnits` that divide the columns evenly.
int64_t streamUnits(int64_t cols, int64_t unitColumns, int64_t scaleUnits,
                    int64_t wanted);

/// A group's extent as the device code gets it: a single group may be as wide
/// as any stage.
int64_t streamGroup(int64_t cols, int64_t group);

/// StreamShape of impls/linear_stream.cuh, and what follows from it.
struct StreamShape {
  int64_t rows, tokenTiles, units, scaleUnits, depth, rowWarps, columnWarps;
  int64_t weightBytes; // of an element
  /// Tokens that a CTA (or, in the down product of decode, a warp) encodes for
  /// itself, and their columns and groups.
  int64_t residentTokens = 0, residentCols = 0, residentGroups = 0;

  int64_t tokens() const { return tokenTiles * 8; }
  int64_t ctaRows() const { return rows * rowWarps; }
  int64_t warps() const { return rowWarps * columnWarps; }
  int64_t sharedBytes() const;
  /// Of all warps' rings.
  int64_t ringBytes() const;
  /// Of sharedBytes(), what resident tokens take.
  int64_t residentBytes() const;

  /// Chooses the ring's depth for that many stages of a warp, with `most` bytes
  /// of shared memory where possible; false when a CTA cannot have so much as
  /// it needs.
  bool chooseDepth(int64_t stages, int64_t most = 112 * 1024);
  /// "StreamShape<16, 1, 4, 2, 3, 1, 8>".
  std::string text() const;
};

//===--- Tiles of many tokens (tile/product.cuh) --------------------------===//

/// TileProduct<X, W, ...> and what follows from it.
struct TileShape {
  int64_t groups, depth;
  /// 64 or 128 for scaled e4m3, else 0; with the extents of the groups.
  int64_t scaleColumns = 0, tokenGroup = 1, weightGroup = 1;

  int64_t tokens() const { return 64 * groups; }
  int64_t threads() const { return 128 * groups; }
  int64_t sharedBytes() const { return depth * (tokens() + 128) * 128; }
  /// CTAs on a multiprocessor at a time.
  int64_t resident() const {
    return std::min<int64_t>(kSharedMemory / sharedBytes(), 2 / groups);
  }
  std::string text(llvm::StringRef x, llvm::StringRef w) const;
};

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PLANS_PRODUCTS_H
