// rms_norm, add_rms_norm, sum_of_squares and rms_scale.

#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Plans.h"
#include "runtime/kernels/shared/limits.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle::cuda;

/// CTAs that take rows in turn: one each, until the machine is full.
static uint32_t blocksOfRows(const LaunchDesc &launch) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(launch.capacity, 1, 132 * 16));
}

static KernelPlan planOfRows(const LaunchDesc &launch, std::string body,
                             uint32_t threads) {
  FunctionPlan only;
  only.body = std::move(body);
  only.block = threads;
  only.grid[0] = blocksOfRows(launch);
  KernelPlan plan;
  plan.headers = {"impls/norm.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}

/// Threads that hold a row between them, a vector or more each; 0 with an error
/// when a row is too wide for a CTA.
static uint32_t threadsOfRow(const LaunchDesc &launch,
                             ArrayRef<const Operand *> operands,
                             std::string &error) {
  constexpr int64_t kMost =
      saddle::device::kMostThreads * saddle::device::kRowValues;
  int64_t cols = operands.front()->shape.back();
  if (cols > kMost) {
    error = llvm::formatv("{0} has rows of {1} elements, expected {2} at most",
                          launch.op, cols, kMost);
    return 0;
  }
  return threadsFor(llvm::divideCeil(cols, commonVector(operands)));
}

FailureOr<KernelPlan> saddle::cuda::planRMSNorm(const LaunchDesc &launch,
                                                std::string &error) {
  const Operand &x = launch.operands[0], &out = launch.operands[2];
  uint32_t threads = threadsOfRow(launch, {&x, &out}, error);
  if (threads == 0)
    return failure();
  return planOfRows(launch,
                    llvm::formatv("rmsNorm<{0}, {1}, {2}, {3}>(p, {4});",
                                  static_cast<int>(launch.extent), threads,
                                  matrixType(x), matrixType(out),
                                  floatLiteral(launch.real("eps"))),
                    threads);
}

FailureOr<KernelPlan> saddle::cuda::planAddRMSNorm(const LaunchDesc &launch,
                                                   std::string &error) {
  const Operand &a = launch.operands[0], &b = launch.operands[1],
                &sum = launch.operands[3], &out = launch.operands[4];
  uint32_t threads = threadsOfRow(launch, {&a, &b, &sum, &out}, error);
  if (threads == 0)
    return failure();
  return planOfRows(
      launch,
      llvm::formatv("addRmsNorm<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6});",
                    static_cast<int>(launch.extent), threads, matrixType(a),
                    matrixType(b), matrixType(sum), matrixType(out),
                    floatLiteral(launch.real("eps"))),
      threads);
}

FailureOr<KernelPlan> saddle::cuda::planSumOfSquares(const LaunchDesc &launch,
                                                     std::string &) {
  auto inputs = ArrayRef(launch.operands).drop_back();
  int64_t vectors = 1;
  std::string types;
  for (const Operand &input : inputs) {
    vectors = std::max(vectors, input.shape.back() / commonVector({&input}));
    types += ", " + matrixType(input);
  }
  uint32_t threads = threadsFor(vectors, 512);
  return planOfRows(launch,
                    llvm::formatv("sumOfSquares<{0}, {1}, {2}{3}>(p, "
                                  "p.operands[{4}]);",
                                  static_cast<int>(launch.extent), threads,
                                  matrixType(launch.operands.back()), types,
                                  inputs.size()),
                    threads);
}

FailureOr<KernelPlan> saddle::cuda::planRMSScale(const LaunchDesc &launch,
                                                 std::string &) {
  const Operand &x = launch.operands[0], &sums = launch.operands[1],
                &out = launch.operands[3];
  uint32_t threads =
      threadsFor(out.shape.back() / commonVector({&x, &out}), 256);
  return planOfRows(
      launch,
      llvm::formatv("rmsScale<{0}, {1}, {2}, {3}>(p, {4}, {5}, {6});",
                    static_cast<int>(launch.extent), matrixType(x),
                    matrixType(sums), matrixType(out), launch.integer("column"),
                    floatLiteral(launch.integer("divisor")),
                    floatLiteral(launch.real("eps"))),
      threads);
}
