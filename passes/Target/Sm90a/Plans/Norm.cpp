// rms_norm, sum_of_squares, rms_scale, scale_columns and divide_by_rms.

#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"
#include "runtime/kernels/shared/limits.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle::cuda;

uint32_t saddle::cuda::blocksOfRows(const LaunchDesc &launch) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(launch.capacity, 1, kMultiprocessors * 16));
}

KernelPlan saddle::cuda::planOfRows(const LaunchDesc &launch, std::string body,
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

uint32_t saddle::cuda::threadsOfRow(const LaunchDesc &launch,
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

uint32_t saddle::cuda::threadsOfManyRows(const LaunchDesc &launch,
                                         uint32_t threads, int64_t vectors,
                                         int64_t width) {
  constexpr uint32_t kFewest = 128, kRowsToFill = 16 * kMultiprocessors;
  if (launch.capacity < kRowsToFill || threads <= kFewest)
    return threads;
  return std::max(kFewest, threadsFor(llvm::divideCeil(
                               vectors, saddle::device::kRowValues / width)));
}

uint32_t saddle::cuda::threadsOfManyRows(const LaunchDesc &launch,
                                         ArrayRef<const Operand *> operands,
                                         std::string &error) {
  int64_t width = commonVector(operands);
  return threadsOfManyRows(
      launch, threadsOfRow(launch, operands, error),
      llvm::divideCeil(operands.front()->shape.back(), width), width);
}

FailureOr<KernelPlan> saddle::cuda::planRMSNorm(const LaunchDesc &launch,
                                                std::string &error) {
  const Operand &x = launch.operands[0], &out = launch.operands[2];
  uint32_t threads = threadsOfManyRows(launch, {&x, &out}, error);
  if (threads == 0)
    return failure();
  return planOfRows(launch,
                    llvm::formatv("rmsNorm<{0}, {1}, {2}, {3}>(p, {4});",
                                  static_cast<int>(launch.extent), threads,
                                  matrixType(x), matrixType(out),
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

FailureOr<KernelPlan> saddle::cuda::planScaleColumns(const LaunchDesc &launch,
                                                     std::string &) {
  const Operand &x = launch.operands[0], &out = launch.operands[2];
  return planOfRows(
      launch,
      llvm::formatv("scaleColumns<{0}, {1}, {2}>(p);",
                    static_cast<int>(launch.extent), matrixType(x),
                    matrixType(out)),
      threadsFor(out.shape.back() / commonVector({&x, &out}), 256));
}

FailureOr<KernelPlan> saddle::cuda::planDivideByRMS(const LaunchDesc &launch,
                                                    std::string &) {
  const Operand &x = launch.operands[0], &sums = launch.operands[1],
                &out = launch.operands[2];
  return planOfRows(
      launch,
      llvm::formatv("divideByRms<{0}, {1}, {2}, {3}>(p, {4}, {5}, {6});",
                    static_cast<int>(launch.extent), matrixType(x),
                    matrixType(sums), matrixType(out), launch.integer("column"),
                    floatLiteral(launch.integer("divisor")),
                    floatLiteral(launch.real("eps"))),
      threadsFor(out.shape.back() / commonVector({&x, &out}), 256));
}
