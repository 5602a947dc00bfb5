// The residual add, the norm behind it, and the only product that reads the
// norm, where activations are quantised: the norm leaves the first function as
// codes, so that no function in between encodes it.

#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Products.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;
using llvm::formatv;

/// A step's function within the launch: its operands are those of numbers
/// `from`; kInWorkspace is the workspace from `offset` on.
constexpr int64_t kInWorkspace = -1;
static std::string withOperands(StringRef body, ArrayRef<int64_t> from,
                                uint64_t offset) {
  std::string text = "const LaunchParams &launch = p;\n{\n"
                     "LaunchParams p = launch;\n";
  for (auto [index, value] : llvm::enumerate(from)) {
    std::string operand =
        value == kInWorkspace
            ? formatv("static_cast<uint8_t *>(launch.workspace) + {0}", offset)
                  .str()
            : formatv("launch.operands[{0}]", value).str();
    text += formatv("p.operands[{0}] = {1};\n", index, operand);
  }
  return text + body.str() + "\n}";
}

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
    auto norm = dyn_cast<model::RMSNormOp>(anchor);
    auto add =
        norm ? norm.getInput().getDefiningOp<model::AddOp>() : model::AddOp();
    if (!add || !norm->hasOneUse())
      return {};
    auto linear = dyn_cast<model::LinearOp>(*norm->user_begin());
    if (!linear || !linear.getActGroup())
      return {};
    return {add, norm, linear};
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
    LaunchDesc linear = linearOf(launch);
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
      return join(launch, body, threads, std::move(*product), 0, 0);
    }
    // Other layouts: the norm itself is in the workspace, behind what the
    // product needs there.
    FailureOr<KernelPlan> any = planLinear(linear, error);
    if (failed(any))
      return failure();
    uint64_t offset = roundUp(any->workspaceBytes, 256);
    std::string body =
        formatv("addRmsNorm<{0}, {1}, {2}, {3}>(p, {4});", extentNumber(launch),
                threads, sumTypes, matrixType(linear.operands[0]), eps);
    return join(launch, body, threads, std::move(*any), offset,
                sum.shape[0] * rowBytes);
  }

private:
  /// The last step as a launch of its own.
  static LaunchDesc linearOf(const LaunchDesc &launch) {
    const Operand &sum = launch.operands[5];
    LaunchDesc linear = launch;
    linear.op = launch.body[2].op;
    linear.constants = launch.body[2].constants;
    linear.body.clear();
    Operand norm = sum;
    norm.name = "x";
    norm.strides = {norm.shape[1], 1};
    norm.alignment = 256;
    linear.operands = {norm, launch.operands[3], launch.operands[4],
                       launch.operands[6]};
    return linear;
  }

  /// The norm's function in front of the product's. The norm itself, if it is
  /// in memory, is in the workspace from `offset` on.
  static KernelPlan join(const LaunchDesc &launch, std::string body,
                         uint32_t threads, KernelPlan product, uint64_t offset,
                         uint64_t normBytes) {
    KernelPlan plan = planOfRows(
        launch, withOperands(body, {0, 1, 2, 5, kInWorkspace}, offset),
        threads);
    plan.functions.front().suffix = "norm";
    llvm::append_range(plan.headers, product.headers);
    plan.workspaceBytes = offset + normBytes;
    if (normBytes == 0)
      plan.workspaceBytes = product.workspaceBytes;
    for (FunctionPlan &function : product.functions) {
      function.body =
          withOperands(function.body, {kInWorkspace, 3, 4, 6}, offset);
      if (function.suffix.empty())
        function.suffix = "product";
      plan.functions.push_back(std::move(function));
    }
    return plan;
  }
};

} // namespace

const DeviceFusion *saddle::cuda::addRMSNormLinear() {
  static const AddRMSNormLinear fusion;
  return &fusion;
}
