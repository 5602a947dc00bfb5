// router_topk, softmax_topk and shared_gate.

#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Plans.h"
#include "runtime/kernels/shared/limits.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle::cuda;

/// A kernel of impls/router.cuh over operands of these numbers; `constants`
/// follow them.
static FailureOr<KernelPlan> planRouter(const LaunchDesc &launch,
                                        StringRef function, int64_t weights,
                                        StringRef constants,
                                        std::string &error) {
  int64_t experts = launch.operands[0].shape.back();
  constexpr int64_t kMostExperts = saddle::device::kMostRoutedExperts;
  if (experts > kMostExperts) {
    error = llvm::formatv("{0} chooses among {1} experts, expected {2} at most",
                          launch.op, experts, kMostExperts);
    return failure();
  }
  // From so many tokens on every multiprocessor has several: a warp for each. A
  // lane holds its experts in registers.
  constexpr int64_t kManyTokens = kMultiprocessors * 4, kWarps = 8,
                    kMostOfWarp = 512, kMostChosen = 32;
  int64_t chosen = launch.operands[weights].shape.back();
  bool warps = launch.capacity >= kManyTokens && experts <= kMostOfWarp &&
               chosen <= kMostChosen;
  FunctionPlan only;
  std::string types =
      llvm::formatv("{0}, {1}, {2}", matrixType(launch.operands[0]),
                    matrixType(launch.operands[weights]),
                    matrixType(launch.operands[weights + 1]));
  int extent = static_cast<int>(launch.extent);
  int64_t ctas = launch.capacity;
  if (warps) {
    only.block = kWarps * 32;
    only.body = llvm::formatv("{0}OfWarps<{1}, {2}>(p{3});", function, extent,
                              types, constants);
    ctas = llvm::divideCeil(launch.capacity, kWarps);
  } else {
    only.block = static_cast<uint32_t>(llvm::alignTo(experts, 32));
    only.body = llvm::formatv("{0}<{1}, {2}, {3}>(p{4});", function, extent,
                              only.block, types, constants);
  }
  only.grid[0] =
      static_cast<uint32_t>(std::clamp<int64_t>(ctas, 1, kMultiprocessors * 8));
  KernelPlan plan;
  plan.headers = {"impls/router.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}

FailureOr<KernelPlan> saddle::cuda::planRouterTopK(const LaunchDesc &launch,
                                                   std::string &error) {
  return planRouter(launch, "routerTopK", /*weights=*/2,
                    ", " + floatLiteral(launch.real("routed_scale")), error);
}

FailureOr<KernelPlan> saddle::cuda::planSoftmaxTopK(const LaunchDesc &launch,
                                                    std::string &error) {
  return planRouter(launch, "softmaxTopK", /*weights=*/1, "", error);
}

FailureOr<KernelPlan> saddle::cuda::planSharedGate(const LaunchDesc &launch,
                                                   std::string &error) {
  std::string types;
  for (const Operand &operand : launch.operands)
    types += ", " + matrixType(operand);
  FunctionPlan only;
  only.body = llvm::formatv("sharedGate<{0}{1}>(p);",
                            static_cast<int>(launch.extent), types);
  constexpr int64_t kThreads = 128;
  only.block = kThreads;
  only.grid[0] = static_cast<uint32_t>(std::clamp<int64_t>(
      llvm::divideCeil(launch.capacity, kThreads), 1, kMultiprocessors * 8));
  KernelPlan plan;
  plan.headers = {"impls/router.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}
