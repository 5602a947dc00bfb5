// The residual add, the norm behind it, and the only product that reads the
// norm, where activations are quantised: the norm leaves the first function as
// codes, so that no function in between encodes it, or is made by every CTA of
// the product for itself.

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Fusions/RowsLinear.h"
#include "passes/Target/Sm90a/Fusions/Steps.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Products.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

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
    if (std::optional<KernelPlan> plan = planFewTokens(launch))
      return std::move(*plan);
    uint32_t threads = threadsOfManyRows(launch, {&a, &b, &sum}, error);
    if (threads == 0)
      return failure();
    RowsFunction norm;
    norm.header = "impls/norm.cuh";
    norm.name = "addRmsNorm";
    norm.suffix = "norm";
    norm.types = matrixType(a) + ", " + matrixType(b) + ", " + matrixType(sum);
    norm.numbers = floatLiteral(launch.body[1].real("eps"));
    norm.threads = threads;
    norm.operands = {0, 1, 2, 5};
    return planRowsLinear(launch, norm, sum, {3, 4, 6}, error);
  }

private:
  /// The kernel of impls/norm_linear.cuh: of a token or two, adding and
  /// normalising in every CTA is cheaper than a function that does it once.
  static std::optional<KernelPlan> planFewTokens(const LaunchDesc &launch) {
    constexpr int64_t kMostTokens = 2, kGroup = 128, kMostOfThread = 32;
    const Operand &a = launch.operands[0], &b = launch.operands[1],
                  &sum = launch.operands[5];
    LaunchDesc linear = stepOf(launch, 2,
                               {valueBetween(sum, "x"), launch.operands[3],
                                launch.operands[4], launch.operands[6]});
    int64_t tokens = sum.shape[0], cols = sum.shape[1],
            vector = commonVector({&a, &b, &sum});
    if (tokens > kMostTokens || launch.inPlace ||
        linear.integer("act_group") != kGroup || cols % kGroup != 0 ||
        (vector != 4 && vector != 8))
      return std::nullopt;
    std::optional<ResidentProduct> product =
        planResidentProduct(linear, " normalised where they are used");
    // CTAs of a second round would do it behind the first.
    if (!product || tokens * cols > product->function.block * kMostOfThread ||
        product->function.grid[0] >
            kMultiprocessors * product->function.residentBlocks)
      return std::nullopt;
    KernelPlan step;
    step.products = {product->divided};
    step.headers = {"impls/norm_linear.cuh"};
    step.functions = {std::move(product->function)};
    step.functions.front().body = llvm::formatv(
        "addRmsNormLinear<{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}>(p, "
        "{9});",
        static_cast<int>(launch.extent), kGroup, matrixType(a), matrixType(b),
        matrixType(sum), matrixType(launch.operands[3]),
        matrixType(launch.operands[6]), product->shape, product->scales,
        floatLiteral(launch.body[1].real("eps")));
    StepPlace place;
    place.operands = {0, 3, 4, 6, 1, 2, 5};
    KernelPlan plan;
    appendStep(plan, step, place, "");
    return plan;
  }
};

} // namespace

const DeviceFusion *saddle::cuda::addRMSNormLinear() {
  static const AddRMSNormLinear fusion;
  return &fusion;
}
