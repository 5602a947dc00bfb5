#include "passes/Cuda/Plans/Products.h"

#include "llvm/Support/FormatVariadic.h"

#include <algorithm>

using namespace saddle::cuda;

uint32_t saddle::cuda::blocksOfWarps(int64_t warps) {
  return static_cast<uint32_t>(std::clamp<int64_t>(
      ceilDiv(warps, kWarpsOfAnyShape), 1, kMultiprocessors * 8));
}

std::string saddle::cuda::scaleType(const LaunchDesc &launch,
                                    const Operand &multipliers,
                                    llvm::StringRef blockRows,
                                    llvm::StringRef blockCols) {
  if (multipliers.shape.empty())
    return "Unscaled";
  std::string member;
  if (multipliers.shape.size() == 3)
    member = ", " + std::to_string(multipliers.shape[1]);
  return llvm::formatv("BlockScaled<{0}, {1}, {2}{3}>", matrixType(multipliers),
                       launch.integer(blockRows), launch.integer(blockCols),
                       member);
}
