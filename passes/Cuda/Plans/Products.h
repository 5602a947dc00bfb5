// What the planners of products with weights share.

#ifndef SADDLE_PASSES_CUDA_PLANS_PRODUCTS_H
#define SADDLE_PASSES_CUDA_PLANS_PRODUCTS_H

#include "passes/Cuda/Plans/Plans.h"

namespace saddle::cuda {

/// Multiprocessors of an H200. Grids are chosen for it; any number works.
constexpr int64_t kMultiprocessors = 132;

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

/// Units of a stage, at most two, such that a stage of e4m3 weights with `cols`
/// columns lies within groups of both extents; 0 when there is no such stage.
/// An extent of 0 stands for no groups.
int64_t streamUnits(int64_t cols, int64_t group, int64_t blockCols);

/// A group's extent as the device code gets it: a single group may be as wide
/// as any stage.
int64_t streamGroup(int64_t cols, int64_t group);

/// StreamShape of impls/linear_stream.cuh, and what follows from it.
struct StreamShape {
  int64_t rows, tokenTiles, units, depth, rowWarps, columnWarps;
  int64_t weightBytes; // of an element
  bool scaled;

  int64_t tokens() const { return tokenTiles * 8; }
  int64_t ctaRows() const { return rows * rowWarps; }
  int64_t warps() const { return rowWarps * columnWarps; }
  int64_t sharedBytes() const;
  /// Chooses the ring's depth for that many stages of a warp, with as much as
  /// two CTAs on a multiprocessor can have.
  void chooseDepth(int64_t stages);
  /// "StreamShape<16, 1, 2, 4, 1, 8>".
  std::string text() const;
};

} // namespace saddle::cuda

#endif // SADDLE_PASSES_CUDA_PLANS_PRODUCTS_H
