// Ops element by element, and copy.

#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Plans.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <optional>

using namespace mlir;
using namespace saddle::cuda;

/// Dimension 0 in rows, the others in one column dimension.
static Operand asRows(const Operand &operand) {
  Operand rows = operand;
  int64_t cols = operand.elements() / std::max<int64_t>(operand.shape[0], 1);
  rows.shape = {operand.shape[0], cols};
  rows.strides = {operand.strides[0], 1};
  return rows;
}

/// A kernel of impls/elementwise.cuh over all operands but one, if it says
/// which; `constants` follow them.
static FailureOr<KernelPlan>
planElementwise(const LaunchDesc &launch, StringRef function,
                StringRef constants, std::string &error,
                std::optional<size_t> exceptFor = {}) {
  std::string types;
  for (const auto &[i, operand] : llvm::enumerate(launch.operands)) {
    if (i == exceptFor)
      continue;
    if (operand.shape.empty() ||
        (operand.shape.size() > 2 && !operand.isContiguous())) {
      error = "operand \"" + operand.name + "\" of " + launch.op +
              " is not made of rows";
      return failure();
    }
    types += ", " + matrixType(asRows(operand));
  }
  KernelPlan plan;
  plan.headers = {"impls/elementwise.cuh"};
  FunctionPlan only;
  only.body = llvm::formatv("{0}<{1}{2}>(p{3});", function,
                            static_cast<int>(launch.extent), types, constants);
  // About eight vectors for each thread at most, until the machine is full.
  constexpr int64_t kThreads = 256, kMostBlocks = kMultiprocessors * 8;
  int64_t vectors = launch.operands.back().elements() / 4;
  only.block = kThreads;
  only.grid[0] = static_cast<uint32_t>(
      std::clamp<int64_t>(vectors / kThreads, 1, kMostBlocks));
  plan.functions.push_back(std::move(only));
  return plan;
}

FailureOr<KernelPlan> saddle::cuda::planAdd(const LaunchDesc &launch,
                                            std::string &error) {
  return planElementwise(launch, "add", "", error);
}

FailureOr<KernelPlan> saddle::cuda::planCopy(const LaunchDesc &launch,
                                             std::string &error) {
  return planElementwise(launch, "copy", "", error);
}

FailureOr<KernelPlan> saddle::cuda::planSiLU(const LaunchDesc &launch,
                                             std::string &error) {
  return planElementwise(launch, "silu", "", error);
}

FailureOr<KernelPlan> saddle::cuda::planSigmoidGate(const LaunchDesc &launch,
                                                    std::string &error) {
  return planElementwise(launch, "sigmoidGate", "", error);
}

FailureOr<KernelPlan> saddle::cuda::planScale(const LaunchDesc &launch,
                                              std::string &error) {
  return planElementwise(launch,
                         launch.integer("inverse") ? "divideBy" : "multiplyBy",
                         "", error, /*exceptFor=*/1);
}

FailureOr<KernelPlan> saddle::cuda::planScaledAdd(const LaunchDesc &launch,
                                                  std::string &error) {
  std::string constants = ", " + floatLiteral(launch.real("alpha")) + ", " +
                          floatLiteral(launch.real("beta"));
  return planElementwise(launch, "scaledAdd", constants, error);
}

FailureOr<KernelPlan> saddle::cuda::planSwiGLU(const LaunchDesc &launch,
                                               std::string &error) {
  return planElementwise(launch, "swiglu", "", error);
}

FailureOr<KernelPlan> saddle::cuda::planSwiGLUOAI(const LaunchDesc &launch,
                                                  std::string &error) {
  std::string constants = ", " + floatLiteral(launch.real("alpha")) + ", " +
                          floatLiteral(launch.real("limit"));
  return planElementwise(launch, "swigluOAI", constants, error);
}
