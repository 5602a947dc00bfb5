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
template <typename RouterOp>
static model::LinearOp routerOf(model::RMSNormOp norm) {
  for (Operation *user : norm->getUsers())
    if (auto linear = dyn_cast<model::LinearOp>(user))
      if (linear->hasOneUse() && isa<RouterOp>(*linear->user_begin()))
        return linear;
  return {};
}

namespace {

/// `sumLeaves`: whether others read the sum; where not, it is no result.
template <typename AddOp, typename RouterOp, bool sumLeaves>
class NormRouter : public DeviceFusion {
public:
  explicit NormRouter(llvm::StringLiteral name)
      : DeviceFusion(name, {part<AddOp>(), part<model::RMSNormOp>(),
                            part<model::LinearOp>(), part<RouterOp>()}),
        names{name} {}

  // The norm is the anchor, as of the smaller fusions, which are tried later.
  SmallVector<Operation *> match(Operation *anchor) const override {
    auto ops = matchAddNorm<AddOp>(anchor);
    model::LinearOp router =
        ops ? routerOf<RouterOp>(ops->norm) : model::LinearOp();
    if (!router || ops->sumLeaves() != sumLeaves || router.getActGroup())
      return {};
    auto rows = cast<RankedTensorType>(ops->norm.getResult().getType()),
         logits = cast<RankedTensorType>(router.getResult().getType());
    if (rows.isDynamicDim(0) ||
        !NormRouterLayout::fits(rows.getDimSize(0), rows.getDimSize(1),
                                logits.getDimSize(1)))
      return {};
    return {ops->add, ops->norm, router, *router->user_begin()};
  }

  ArrayRef<llvm::StringLiteral> signatures() const override { return names; }

protected:
  /// `types` are those of the operands with these numbers; a sum that does not
  /// leave is like a.
  FailureOr<KernelPlan> planAs(const LaunchDesc &launch, StringRef function,
                               ArrayRef<int64_t> types, int64_t sumAt,
                               int64_t normAt, StringRef constants,
                               std::string &error) const {
    const Operand &sum = launch.operands[sumAt],
                  &norm = launch.operands[normAt], &w = launch.operands[3];
    auto bytes = [](const Operand &operand) {
      return operand.element.getIntOrFloatBitWidth() / 8;
    };
    if (w.strides[0] % 4 != 0 || w.alignment < 16) {
      error = launch.op + " needs rows of \"" + w.name +
              "\" that begin at multiples of four elements";
      return failure();
    }
    FunctionPlan only;
    std::string list;
    for (int64_t index : types)
      list += ", " + matrixType(launch.operands[index]);
    only.body = llvm::formatv("{0}<{1}{2}>(p, {3});", function,
                              static_cast<int>(launch.extent), list, constants);
    only.block = NormRouterLayout::kThreads;
    only.cluster = only.grid[0] =
        NormRouterLayout::ctas(w.shape[0], w.shape[1]);
    only.sharedBytes = NormRouterLayout::sharedBytes(
        norm.shape[0], norm.shape[1], bytes(sum), bytes(norm));
    // Left to itself, ptxas spills registers of narrow rows to have more CTAs.
    only.residentBlocks = 1;
    only.waitsItself = true;
    KernelPlan plan;
    plan.headers = {"impls/norm_router.cuh"};
    plan.functions.push_back(std::move(only));
    return plan;
  }

private:
  llvm::StringLiteral names[1];
};

class AddRMSNormRouter
    : public NormRouter<model::AddOp, model::RouterOp, /*sumLeaves=*/true> {
public:
  AddRMSNormRouter() : NormRouter("add_rms_norm_router") {}

  // a, b, weight of the norm, weight of the router, bias; sum, norm, weights,
  // experts. The logits are between the steps.
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 1, 5}, {5, 2, 6}, {6, 3, 9}, {9, 4, 7, 8}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    std::string constants = floatLiteral(launch.body[1].real("eps")) + ", " +
                            floatLiteral(launch.body[3].real("routed_scale"));
    return planAs(launch, "addRmsNormRouter", {0, 1, 5, 6, 3, 7, 8},
                  /*sumAt=*/5, /*normAt=*/6, constants, error);
  }
};

class ScaledAddRMSNormRouter
    : public NormRouter<model::ScaledAddOp, model::SoftmaxRouterOp,
                        /*sumLeaves=*/false> {
public:
  ScaledAddRMSNormRouter() : NormRouter("scaled_add_rms_norm_router") {}

  // a, b, weight of the norm, weight of the router; norm, weights, experts. Sum
  // and logits are between the steps.
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 1, 7}, {7, 2, 4}, {4, 3, 8}, {8, 5, 6}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    std::string constants = floatLiteral(launch.body[0].real("alpha")) + ", " +
                            floatLiteral(launch.body[0].real("beta")) + ", " +
                            floatLiteral(launch.body[1].real("eps"));
    return planAs(launch, "scaledAddRmsNormRouter", {0, 1, 4, 3, 5, 6},
                  /*sumAt=*/0, /*normAt=*/4, constants, error);
  }
};

} // namespace

const DeviceFusion *saddle::cuda::addRMSNormRouter() {
  static const AddRMSNormRouter fusion;
  return &fusion;
}

const DeviceFusion *saddle::cuda::scaledAddRMSNormRouter() {
  static const ScaledAddRMSNormRouter fusion;
  return &fusion;
}
