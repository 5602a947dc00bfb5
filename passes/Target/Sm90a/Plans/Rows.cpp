// embedding and select_rows.

#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Plans.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle::cuda;

/// A kernel of impls/rows.cuh with a vector of the output per thread.
static KernelPlan planRows(const LaunchDesc &launch, StringRef function,
                           const Operand &source) {
  const Operand &out = launch.operands.back();
  constexpr int64_t kThreads = 256, kMostBlocks = kMultiprocessors * 8;
  int64_t vectors = out.elements() / commonVector({&source, &out});
  FunctionPlan only;
  only.body = llvm::formatv("{0}<{1}, {2}, {3}>(p);", function,
                            static_cast<int>(launch.extent), matrixType(source),
                            matrixType(out));
  only.block = kThreads;
  only.grid[0] = static_cast<uint32_t>(
      std::clamp<int64_t>(vectors / kThreads, 1, kMostBlocks));
  KernelPlan plan;
  plan.headers = {"impls/rows.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}

FailureOr<KernelPlan> saddle::cuda::planEmbedding(const LaunchDesc &launch,
                                                  std::string &) {
  return planRows(launch, "embedding", launch.operands[1]);
}

FailureOr<KernelPlan> saddle::cuda::planSelectRows(const LaunchDesc &launch,
                                                   std::string &) {
  return planRows(launch, "selectRows", launch.operands[0]);
}
