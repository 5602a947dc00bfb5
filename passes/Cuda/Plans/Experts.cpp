// experts and experts_scaled.

#include "passes/Cuda/Plans/Products.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle::cuda;

namespace {
/// The operands by name; multipliers have no shape when there are none.
struct ExpertsLaunch {
  explicit ExpertsLaunch(const LaunchDesc &launch)
      : launch(launch), scaled(launch.op == "experts_scaled"),
        x(launch.operands[0]), weights(launch.operands[1]),
        experts(launch.operands[2]), w13(launch.operands[3]),
        w2(launch.operands[scaled ? 5 : 4]), out(launch.operands.back()),
        group(launch.integer("act_group")) {
    if (!scaled)
      return;
    scale13 = launch.operands[4];
    scale2 = launch.operands[6];
  }

  int64_t tokens() const { return x.shape[0]; }
  int64_t hidden() const { return x.shape[1]; }
  int64_t inner() const { return w2.shape[2]; }
  int64_t held() const { return w13.shape[0]; }
  int64_t slots() const { return experts.shape[1]; }
  int64_t pairs() const { return tokens() * slots(); }

  std::string scale13Type() const {
    return scaleType(launch, scale13, "block_rows13", "block_cols13");
  }
  std::string scale2Type() const {
    return scaleType(launch, scale2, "block_rows2", "block_cols2");
  }

  const LaunchDesc &launch;
  bool scaled;
  const Operand &x, &weights, &experts, &w13, &w2, &out;
  Operand scale13, scale2;
  int64_t group;
};
} // namespace

static FunctionPlan anyShapeFunction(StringRef suffix, std::string body,
                                     int64_t warps) {
  FunctionPlan function;
  function.suffix = suffix.str();
  function.body = std::move(body);
  function.block = kWarpsOfAnyShape * 32;
  function.grid[0] = blocksOfWarps(warps);
  return function;
}

/// Kernels of impls/experts.cuh: for every shape, type and stride. Workspace:
/// the rounded x (when quantised), then the activations of all pairs, in fp32.
static KernelPlan planAnyShape(const ExpertsLaunch &op) {
  KernelPlan plan;
  plan.headers = {"impls/experts.cuh"};
  int extent = extentNumber(op.launch);
  std::string xType = matrixType(op.x), from = "p.operands[0]";
  std::string experts = matrixType(op.experts);
  std::string inner = "p.workspace";
  if (op.group > 0) {
    plan.functions.push_back(anyShapeFunction(
        "round",
        llvm::formatv("roundToGroups<{0}, {1}, {2}>(p, {3}, p.workspace);",
                      extent, op.group, xType, from),
        op.tokens() * ceilDiv(op.hidden(), op.group)));
    plan.workspaceBytes = uint64_t(op.tokens() * op.hidden()) * sizeof(float);
    xType =
        llvm::formatv("Matrix<f32, {0}, {1}, {1}>", op.tokens(), op.hidden());
    from = "p.workspace";
    inner = llvm::formatv("static_cast<float *>(p.workspace) + {0}",
                          op.tokens() * op.hidden());
  }
  plan.workspaceBytes += uint64_t(op.pairs() * op.inner()) * sizeof(float);
  plan.functions.push_back(anyShapeFunction(
      "up",
      llvm::formatv("expertsUpAnyShape<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6}, "
                    "{7});",
                    extent, xType, experts, matrixType(op.w13), op.held(),
                    op.scale13Type(), from, inner),
      op.pairs() * op.inner()));
  if (op.group > 0)
    plan.functions.push_back(anyShapeFunction(
        "inner",
        llvm::formatv("roundInner<{0}, {1}, {2}, {3}, {4}>(p, {5});", extent,
                      op.group, op.inner(), experts, op.held(), inner),
        op.pairs() * ceilDiv(op.inner(), op.group)));
  plan.functions.push_back(anyShapeFunction(
      "down",
      llvm::formatv(
          "expertsDownAnyShape<{0}, {1}, {2}, {3}, {4}, {5}, {6}>(p, {7});",
          extent, matrixType(op.weights), experts, matrixType(op.w2),
          matrixType(op.out), op.held(), op.scale2Type(), inner),
      op.tokens() * op.hidden()));
  return plan;
}

/// Stacks of matrices are addressed as one matrix with all rows below each
/// other.
static bool isStack(const Operand &operand) {
  return operand.strides[0] == operand.shape[1] * operand.strides[1] ||
         operand.shape[0] == 1;
}

static FailureOr<KernelPlan> planMlps(const LaunchDesc &launch,
                                      std::string &error) {
  for (const Operand &operand : launch.operands) {
    if (operand.shape.size() != 3 || isStack(operand))
      continue;
    error = llvm::formatv(
        "operand \"{0}\" of {1}: one expert begins {2} elements after the "
        "last, expected its {3} rows of {4}; experts must follow each other "
        "without a gap",
        operand.name, launch.op, operand.strides[0], operand.shape[1],
        operand.strides[1]);
    return failure();
  }
  return planAnyShape(ExpertsLaunch(launch));
}

FailureOr<KernelPlan> saddle::cuda::planExperts(const LaunchDesc &launch,
                                                std::string &error) {
  return planMlps(launch, error);
}

FailureOr<KernelPlan> saddle::cuda::planExpertsScaled(const LaunchDesc &launch,
                                                      std::string &error) {
  return planMlps(launch, error);
}
