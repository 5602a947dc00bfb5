// router_topk.

#include "passes/Cuda/Plans/Literals.h"
#include "passes/Cuda/Plans/Plans.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle::cuda;

FailureOr<KernelPlan> saddle::cuda::planRouterTopK(const LaunchDesc &launch,
                                                   std::string &error) {
  const Operand &logits = launch.operands[0], &weights = launch.operands[2],
                &experts = launch.operands[3];
  // What the registers of a warp hold (impls/router.cuh).
  constexpr int64_t kMostExperts = 1024, kWarps = 4;
  if (logits.shape.back() > kMostExperts) {
    error = llvm::formatv("router_topk chooses among {0} experts, expected {1} "
                          "at most",
                          logits.shape.back(), kMostExperts);
    return failure();
  }
  FunctionPlan only;
  only.body =
      llvm::formatv("routerTopK<{0}, {1}, {2}, {3}, {4}>(p, {5});",
                    static_cast<int>(launch.extent), kWarps, matrixType(logits),
                    matrixType(weights), matrixType(experts),
                    floatLiteral(launch.real("routed_scale")));
  only.block = kWarps * 32;
  only.grid[0] = static_cast<uint32_t>(std::clamp<int64_t>(
      llvm::divideCeil(launch.capacity, kWarps), 1, 132 * 16));
  KernelPlan plan;
  plan.headers = {"impls/router.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}
