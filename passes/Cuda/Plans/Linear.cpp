// linear and linear_scaled.

#include "passes/Cuda/Plans/Products.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
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
    round.body = llvm::formatv("roundToGroups<{0}, {1}, {2}>(p, {3}, "
                               "p.workspace);",
                               extentNumber(launch), group, xType, from);
    round.block = kWarpsOfAnyShape * 32;
    round.grid[0] = blocksOfWarps(rows * ceilDiv(cols, group));
    plan.functions.push_back(std::move(round));
    plan.workspaceBytes = uint64_t(rows * cols) * sizeof(float);
    xType = llvm::formatv("Matrix<f32, {0}, {1}, {1}>", rows, cols);
    from = "p.workspace";
  }
  FunctionPlan product;
  product.suffix = group > 0 ? "product" : "";
  product.body = llvm::formatv(
      "linearAnyShape<{0}, {1}, {2}, {3}, {4}>(p, {5});", extentNumber(launch),
      xType, matrixType(w), matrixType(out),
      scaleType(launch, multipliers, "block_rows", "block_cols"), from);
  product.block = kWarpsOfAnyShape * 32;
  product.grid[0] = blocksOfWarps(ceilDiv(rows, 4) * w.shape[0]);
  plan.functions.push_back(std::move(product));
  return plan;
}

FailureOr<KernelPlan> saddle::cuda::planLinear(const LaunchDesc &launch,
                                               std::string &) {
  return planAnyShape(launch, Operand());
}

FailureOr<KernelPlan> saddle::cuda::planLinearScaled(const LaunchDesc &launch,
                                                     std::string &) {
  return planAnyShape(launch, launch.operands[2]);
}
