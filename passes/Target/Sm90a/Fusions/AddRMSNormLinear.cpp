// The residual add, the norm behind it, and the only product that reads the
// norm, where activations are quantised: the norm leaves the first function as
// codes, so that no function in between encodes it.

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Fusions/Steps.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Products.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;
using llvm::formatv;

namespace {

class AddRMSNormLinear : public DeviceFusion {
public:
  AddRMSNormLinear()
      : DeviceFusion("add_rms_norm_linear",
                     {part<model::AddOp>(), part<model::RMSNormOp>(),
                      part<model::LinearOp>()}) {}

  // The norm is the anchor: it is met before the linear, and so before it
  // becomes a group without.
  SmallVector<Operation *> match(Operation *anchor) const override {
    auto ops = matchAddNorm(anchor);
    model::LinearOp linear =
        ops ? quantisedReader(ops->norm.getResult()) : model::LinearOp();
    if (!linear || !ops->sumLeaves())
      return {};
    return {ops->add, ops->norm, linear};
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {"add_rms_norm_linear"};
    return all;
  }

  // a, b, weight of the norm, weight of the linear, its scale; sum, out. The
  // norm is between the steps.
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 1, 5}, {5, 2, 7}, {7, 3, 4, 6}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    const Operand &a = launch.operands[0], &b = launch.operands[1],
                  &sum = launch.operands[5];
    uint32_t threads = threadsOfRow(launch, {&a, &b, &sum}, error);
    if (threads == 0)
      return failure();
    LaunchDesc linear = stepOf(launch, 2,
                               {valueBetween(sum, "x"), launch.operands[3],
                                launch.operands[4], launch.operands[6]});
    std::string sumTypes =
        formatv("{0}, {1}, {2}", matrixType(a), matrixType(b), matrixType(sum));
    std::string eps = floatLiteral(launch.body[1].real("eps"));
    int64_t rowBytes = sum.shape[1] * (sum.element.getIntOrFloatBitWidth() / 8);
    constexpr int64_t kMostRowBytes = 32 * 1024; // static shared memory

    std::optional<KernelPlan> product = planLinearOfEncoded(linear);
    if (product && rowBytes <= kMostRowBytes) {
      EncodedTokens encoded(sum.shape[0], sum.shape[1],
                            linear.integer("act_group"));
      std::string body = formatv(
          "addRmsNormEncode<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6}, "
          "p.workspace, {7});",
          extentNumber(launch), threads, linear.integer("act_group"), sumTypes,
          encoded.codes, encoded.factors, eps, encoded.factorsAt);
      uint64_t bytes = product->workspaceBytes;
      return join(launch, body, threads, *product, 0, bytes);
    }
    // Other layouts: the norm itself is in the workspace, behind what the
    // product needs there.
    FailureOr<KernelPlan> any = planLinear(linear, error);
    if (failed(any))
      return failure();
    uint64_t between = roundUp(any->workspaceBytes, 256);
    std::string body =
        formatv("addRmsNorm<{0}, {1}, {2}, {3}>(p, {4});", extentNumber(launch),
                threads, sumTypes, matrixType(linear.operands[0]), eps);
    return join(launch, body, threads, *any, between,
                between + sum.shape[0] * rowBytes);
  }

private:
  /// The norm's function in front of the product's. The norm itself, if it is
  /// in memory, is in the workspace from `between` on.
  static KernelPlan join(const LaunchDesc &launch, std::string body,
                         uint32_t threads, const KernelPlan &product,
                         uint64_t between, uint64_t bytes) {
    constexpr int64_t kBetween = StepPlace::kBetween;
    StepPlace first = {{0, 1, 2, 5, kBetween}, between},
              second = {{kBetween, 3, 4, 6}, between};
    KernelPlan plan;
    appendStep(plan, planOfRows(launch, std::move(body), threads), first,
               "norm");
    appendStep(plan, product, second, "product");
    plan.workspaceBytes = bytes;
    return plan;
  }
};

} // namespace

const DeviceFusion *saddle::cuda::addRMSNormLinear() {
  static const AddRMSNormLinear fusion;
  return &fusion;
}
