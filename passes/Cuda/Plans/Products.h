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

} // namespace saddle::cuda

#endif // SADDLE_PASSES_CUDA_PLANS_PRODUCTS_H
