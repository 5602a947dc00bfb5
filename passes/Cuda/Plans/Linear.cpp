// linear and linear_scaled.

#include "passes/Cuda/Plans/Products.h"

#include "llvm/Support/FormatVariadic.h"

#include <limits>
#include <optional>

using namespace mlir;
using llvm::formatv;
using namespace saddle::cuda;

/// Kernels of impls/linear.cuh: for every shape, type and stride.
static KernelPlan planAnyShape(const LaunchDesc &launch,
                               const Operand &multipliers) {
  const Operand &x = launch.operands[0], &w = launch.operands[1],
                &out = launch.operands.back();
  KernelPlan plan;
  plan.headers = {"impls/linear.cuh"};
  int64_t group = launch.integer("act_group"), rows = x.shape[0],
          cols = x.shape[1];
  std::string xType = matrixType(x), from = "p.operands[0]";
  if (group > 0) {
    FunctionPlan round;
    round.suffix = "round";
    round.body = formatv("roundToGroups<{0}, {1}, {2}>(p, {3}, "
                         "p.workspace);",
                         extentNumber(launch), group, xType, from);
    round.block = kWarpsOfAnyShape * 32;
    round.grid[0] = blocksOfWarps(rows * ceilDiv(cols, group));
    plan.functions.push_back(std::move(round));
    plan.workspaceBytes = uint64_t(rows * cols) * sizeof(float);
    xType = formatv("Matrix<f32, {0}, {1}, {1}>", rows, cols);
    from = "p.workspace";
  }
  FunctionPlan product;
  product.suffix = group > 0 ? "product" : "";
  product.body =
      formatv("linearAnyShape<{0}, {1}, {2}, {3}, {4}>(p, {5});",
              extentNumber(launch), xType, matrixType(w), matrixType(out),
              scaleType(launch, multipliers, "block_rows", "block_cols"), from);
  product.block = kWarpsOfAnyShape * 32;
  product.grid[0] = blocksOfWarps(ceilDiv(rows, 4) * w.shape[0]);
  plan.functions.push_back(std::move(product));
  return plan;
}

/// Divides the rows of the weight over enough CTAs to fill the machine, then
/// its columns over the warps that are left.
static StreamShape chooseShape(int64_t tokens, const Operand &w, int64_t units,
                               bool scaled) {
  StreamShape shape = {};
  shape.weightBytes = w.element.getIntOrFloatBitWidth() / 8;
  shape.scaled = scaled;
  shape.units = units;
  shape.tokenTiles = std::min<int64_t>(ceilDiv(tokens, 8), 4);
  if (shape.tokenTiles == 3)
    shape.tokenTiles = 4;
  shape.rows = 16;
  constexpr int64_t kWarps = 8;
  int64_t stages = ceilDiv(w.shape[1], units * streamUnitColumns(w.element));
  shape.rowWarps = kWarps;
  auto blocks = [&] { return ceilDiv(w.shape[0], shape.ctaRows()); };
  while (shape.rowWarps > 1 && blocks() < 2 * kMultiprocessors)
    shape.rowWarps /= 2;
  if (blocks() < kMultiprocessors)
    shape.rows = 8;
  shape.columnWarps = std::min(kWarps / shape.rowWarps, stages);
  shape.chooseDepth(ceilDiv(stages, shape.columnWarps));
  return shape;
}

/// Kernels of impls/linear_stream.cuh, where the operands allow it. Workspace:
/// codes of x, then their factors.
static std::optional<KernelPlan> planStream(const LaunchDesc &launch,
                                            const Operand &multipliers) {
  const Operand &x = launch.operands[0], &w = launch.operands[1],
                &out = launch.operands.back();
  int64_t group = launch.integer("act_group"), tokens = x.shape[0],
          cols = x.shape[1];
  bool scaled = !multipliers.shape.empty();
  bool codes = isa<Float8E4M3FNType>(w.element);
  if (!canStreamWeights(w) || codes != (group > 0) || group > 512 ||
      cols > std::numeric_limits<int32_t>::max() / 2)
    return std::nullopt;

  KernelPlan plan;
  plan.headers = {"impls/linear_stream.cuh"};
  FunctionPlan product;
  std::string xType, scaleText = "Unscaled", tokensText = "PlainTokens";
  std::string from = "p.operands[0]", factors = "nullptr";
  int64_t units = 2;
  if (codes) {
    int64_t blockCols = scaled ? launch.integer("block_cols") : cols;
    if (scaled && launch.integer("block_rows") % 8 != 0 &&
        launch.integer("block_rows") < w.shape[0])
      return std::nullopt;
    units = streamUnits(cols, group, blockCols);
    if (units == 0)
      return std::nullopt;
    int64_t groups = ceilDiv(cols, group), stride = roundUp(cols, 16);
    int64_t codeBytes = roundUp(tokens * stride, 256);
    xType = formatv("Matrix<e4m3, {0}, {1}, {2}>", tokens, cols, stride);
    std::string factorsType =
        formatv("Matrix<f32, {0}, {1}, {1}>", tokens, groups);
    from = "p.workspace";
    factors = formatv("static_cast<uint8_t *>(p.workspace) + {0}", codeBytes);
    tokensText = formatv("ScaledTokens<{0}, {1}>", factorsType,
                         streamGroup(cols, group));
    if (scaled)
      scaleText =
          formatv("BlockScaled<{0}, {1}, {2}>", matrixType(multipliers),
                  launch.integer("block_rows"), streamGroup(cols, blockCols));
    plan.workspaceBytes = codeBytes + tokens * groups * sizeof(float);
    FunctionPlan encode;
    encode.suffix = "encode";
    encode.body = formatv(
        "encodeRows<{0}, {1}, {2}, {3}, {4}>(p, p.operands[0], {5}, {6});",
        extentNumber(launch), group, matrixType(x), xType, factorsType, from,
        factors);
    encode.block = kWarpsOfAnyShape * 32;
    encode.grid[0] = blocksOfWarps(tokens * groups);
    plan.functions.push_back(std::move(encode));
    product.suffix = "product";
  } else {
    if (!canStreamTokens(x, w.element))
      return std::nullopt;
    xType = matrixType(x);
  }
  StreamShape shape = chooseShape(tokens, w, units, codes);
  product.body =
      formatv("linearStream<{0}, {1}, {2}, {3}, {4}, {5}, {6}>(p, {7}, {8});",
              extentNumber(launch), xType, matrixType(w), matrixType(out),
              shape.text(), scaleText, tokensText, from, factors);
  product.block = shape.warps() * 32;
  product.sharedBytes = shape.sharedBytes();
  product.grid[0] = ceilDiv(w.shape[0], shape.ctaRows());
  product.grid[1] = ceilDiv(tokens, shape.tokens());
  plan.functions.push_back(std::move(product));
  return plan;
}

static KernelPlan planProduct(const LaunchDesc &launch,
                              const Operand &multipliers) {
  if (std::optional<KernelPlan> plan = planStream(launch, multipliers))
    return std::move(*plan);
  return planAnyShape(launch, multipliers);
}

FailureOr<KernelPlan> saddle::cuda::planLinear(const LaunchDesc &launch,
                                               std::string &) {
  return planProduct(launch, Operand());
}

FailureOr<KernelPlan> saddle::cuda::planLinearScaled(const LaunchDesc &launch,
                                                     std::string &) {
  return planProduct(launch, launch.operands[2]);
}
