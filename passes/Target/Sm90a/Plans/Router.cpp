// router_topk.

#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Plans.h"
#include "runtime/kernels/shared/limits.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle::cuda;

FailureOr<KernelPlan> saddle::cuda::planRouterTopK(const LaunchDesc &launch,
                                                   std::string &error) {
  const Operand &logits = launch.operands[0], &weights = launch.operands[2],
                &experts = launch.operands[3];
  constexpr int64_t kMostExperts = saddle::device::kMostRoutedExperts;
  if (logits.shape.back() > kMostExperts) {
    error = llvm::formatv("router_topk chooses among {0} experts, expected {1} "
                          "at most",
                          logits.shape.back(), kMostExperts);
    return failure();
  }
  FunctionPlan only;
  only.block = static_cast<uint32_t>(llvm::alignTo(logits.shape.back(), 32));
  only.body = llvm::formatv("routerTopK<{0}, {1}, {2}, {3}, {4}>(p, {5});",
                            static_cast<int>(launch.extent), only.block,
                            matrixType(logits), matrixType(weights),
                            matrixType(experts),
                            floatLiteral(launch.real("routed_scale")));
  only.grid[0] =
      static_cast<uint32_t>(std::clamp<int64_t>(launch.capacity, 1, 132 * 8));
  KernelPlan plan;
  plan.headers = {"impls/router.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}
