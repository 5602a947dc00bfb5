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

//===--- Streaming products -----------------------------------------------===//

static int64_t elementBytes(mlir::Type type) {
  return type.getIntOrFloatBitWidth() / 8;
}

bool saddle::cuda::canStreamWeights(const Operand &w) {
  if (!w.element.isF32() && !w.element.isBF16() &&
      !llvm::isa<mlir::Float8E4M3FNType>(w.element))
    return false;
  int64_t stride = w.strides[w.strides.size() - 2];
  return w.alignment >= 16 && stride * elementBytes(w.element) % 16 == 0;
}

bool saddle::cuda::canStreamTokens(const Operand &x, mlir::Type weight) {
  // The bytes of a lane's piece: as many bf16 as the weight has in 16 bytes.
  int64_t bytes = 32 / elementBytes(weight);
  return x.element.isBF16() && !llvm::isa<mlir::Float8E4M3FNType>(weight) &&
         x.alignment >= bytes && x.strides[0] * 2 % bytes == 0;
}

int64_t saddle::cuda::streamUnitColumns(mlir::Type weight) {
  return 64 / elementBytes(weight);
}

int64_t saddle::cuda::streamGroup(int64_t cols, int64_t group) {
  return cols <= group ? roundUp(cols, 128) : group;
}

int64_t saddle::cuda::streamUnits(int64_t cols, int64_t group,
                                  int64_t blockCols) {
  for (int64_t units : {2, 1}) {
    int64_t stage = units * 64;
    if (units == 2 && cols % stage != 0 && cols > 64)
      continue; // half a stage would be zeros
    if (streamGroup(cols, group) % stage == 0 &&
        streamGroup(cols, blockCols) % stage == 0)
      return units;
  }
  return 0;
}

int64_t saddle::cuda::StreamShape::sharedBytes() const {
  // WarpStream::kStageBytes.
  int64_t tiles = ceilDiv(rows, 16);
  int64_t tokenBytes = weightBytes == 4 ? 8 : 16;
  int64_t stage = units * (tiles * 2 * 512 + tokenTiles * 32 * tokenBytes) +
                  (scaled ? (tokens() + 2 * tiles) * 4 : 0);
  int64_t rings = warps() * depth * roundUp(stage, 16);
  int64_t sums = columnWarps * tokens() * (ctaRows() + 4) * 4;
  return std::max(rings, sums);
}

void saddle::cuda::StreamShape::chooseDepth(int64_t stages) {
  constexpr int64_t kMost = 112 * 1024;
  depth = std::clamp<int64_t>(stages + 1, 2, 8);
  while (depth > 2 && sharedBytes() > kMost)
    --depth;
}

std::string saddle::cuda::StreamShape::text() const {
  return llvm::formatv("StreamShape<{0}, {1}, {2}, {3}, {4}, {5}>", rows,
                       tokenTiles, units, depth, rowWarps, columnWarps);
}
