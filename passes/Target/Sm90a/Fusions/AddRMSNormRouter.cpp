// The residual add, the norm behind it, the router's product and the choice of
// experts, for few tokens: four small ops that wait for each other.

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Plans.h"
#include "runtime/kernels/shared/norm_router.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;
using device::NormRouterLayout;

/// The product of the norm that only a choice of experts reads; null without.
static model::LinearOp routerOf(model::RMSNormOp norm) {
  for (Operation *user : norm->getUsers())
    if (auto linear = dyn_cast<model::LinearOp>(user))
      if (linear->hasOneUse() && isa<model::RouterOp>(*linear->user_begin()))
        return linear;
  return {};
}

namespace {

class AddRMSNormRouter : public DeviceFusion {
public:
  AddRMSNormRouter()
      : DeviceFusion("add_rms_norm_router",
                     {part<model::AddOp>(), part<model::RMSNormOp>(),
                      part<model::LinearOp>(), part<model::RouterOp>()}) {}

  // The norm is the anchor, as of the smaller fusions, which are tried later.
  SmallVector<Operation *> match(Operation *anchor) const override {
    auto ops = matchAddNorm(anchor);
    model::LinearOp router = ops ? routerOf(ops->norm) : model::LinearOp();
    if (!router || !ops->sumLeaves() || router.getActGroup())
      return {};
    auto rows = cast<RankedTensorType>(ops->norm.getResult().getType()),
         logits = cast<RankedTensorType>(router.getResult().getType());
    if (rows.isDynamicDim(0) ||
        !NormRouterLayout::fits(rows.getDimSize(0), rows.getDimSize(1),
                                logits.getDimSize(1)))
      return {};
    return {ops->add, ops->norm, router, *router->user_begin()};
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {"add_rms_norm_router"};
    return all;
  }

  // a, b, weight of the norm, weight of the router, bias; sum, norm, weights,
  // experts. The logits are between the steps.
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 1, 5}, {5, 2, 6}, {6, 3, 9}, {9, 4, 7, 8}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    const Operand &sum = launch.operands[5], &norm = launch.operands[6],
                  &w = launch.operands[3];
    auto bytes = [](const Operand &operand) {
      return operand.element.getIntOrFloatBitWidth() / 8;
    };
    if (w.strides[0] % 4 != 0 || w.alignment < 16) {
      error = launch.op + " needs rows of \"" + w.name +
              "\" that begin at multiples of four elements";
      return failure();
    }
    FunctionPlan only;
    std::string types;
    for (int64_t index : {0, 1, 5, 6, 3, 7, 8})
      types += ", " + matrixType(launch.operands[index]);
    only.body =
        llvm::formatv("addRmsNormRouter<{0}{1}>(p, {2}, {3});",
                      static_cast<int>(launch.extent), types,
                      floatLiteral(launch.body[1].real("eps")),
                      floatLiteral(launch.body[3].real("routed_scale")));
    only.block = NormRouterLayout::kThreads;
    only.cluster = only.grid[0] = NormRouterLayout::ctas(w.shape[0]);
    only.sharedBytes = NormRouterLayout::sharedBytes(sum.shape[0], sum.shape[1],
                                                     bytes(sum), bytes(norm));
    // Left to itself, ptxas spills registers of narrow rows to have more CTAs.
    only.residentBlocks = 1;
    only.waitsItself = true;
    KernelPlan plan;
    plan.headers = {"impls/norm_router.cuh"};
    plan.functions.push_back(std::move(only));
    return plan;
  }
};

} // namespace

const DeviceFusion *saddle::cuda::addRMSNormRouter() {
  static const AddRMSNormRouter fusion;
  return &fusion;
}
