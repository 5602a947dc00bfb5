// The norm behind a recurrence, the gate of its output, and the only product
// that reads it, where a rank holds whole rows and activations are quantised:
// the gated rows leave the first function as codes, so that no function in
// between encodes them.

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

class NormGateLinear : public DeviceFusion {
public:
  NormGateLinear()
      : DeviceFusion("norm_gate_linear",
                     {part<model::SumOfSquaresOp>(), part<model::RMSScaleOp>(),
                      part<model::SigmoidGateOp>(), part<model::LinearOp>()}) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto found = matchNormGate(anchor);
    model::LinearOp linear =
        found ? quantisedReader(found->gate.getResult()) : model::LinearOp();
    if (!linear || found->reduce || !found->keepsTheRest())
      return {};
    SmallVector<Operation *> ops = found->ops();
    ops.push_back(linear);
    return ops;
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {"norm_gate_linear"};
    return all;
  }

  // x, weight of the norm, gate, weight of the linear, its scale; out. Then the
  // sums, the scaled rows and the gated ones.
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 6}, {0, 6, 1, 7}, {7, 2, 8}, {8, 3, 4, 5}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    const Operand &x = launch.operands[0], &gate = launch.operands[2];
    uint32_t threads = threadsOfManyRows(launch, {&x, &gate}, error);
    if (threads == 0)
      return failure();
    LaunchDesc linear = stepOf(launch, 3,
                               {valueBetween(x, "x"), launch.operands[3],
                                launch.operands[4], launch.operands[5]});
    const Operand &gated = linear.operands[0];
    std::string types = matrixType(x) + ", " + matrixType(gate),
                divisor = floatLiteral(launch.body[1].integer("divisor")),
                eps = floatLiteral(launch.body[1].real("eps"));
    int64_t rowBytes = x.shape[1] * (x.element.getIntOrFloatBitWidth() / 8);
    constexpr int64_t kMostRowBytes = 32 * 1024; // static shared memory

    std::optional<KernelPlan> product = planLinearOfEncoded(linear);
    if (product && rowBytes <= kMostRowBytes) {
      EncodedTokens encoded(x.shape[0], x.shape[1],
                            linear.integer("act_group"));
      std::string body = formatv(
          "normGateEncode<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6}, {7}, "
          "p.workspace, {8});",
          extentNumber(launch), threads, linear.integer("act_group"), types,
          encoded.codes, encoded.factors, divisor, eps, encoded.factorsAt);
      uint64_t bytes = product->workspaceBytes;
      return join(launch, body, threads, *product, 0, bytes);
    }
    // Other layouts: the gated rows themselves are in the workspace, behind
    // what the product needs there.
    FailureOr<KernelPlan> any = planLinear(linear, error);
    if (failed(any))
      return failure();
    uint64_t between = roundUp(any->workspaceBytes, 256);
    std::string body = formatv("normGate<{0}, {1}, {2}, {3}>(p, {4}, {5});",
                               extentNumber(launch), threads, types,
                               matrixType(gated), divisor, eps);
    return join(launch, body, threads, *any, between,
                between + x.shape[0] * rowBytes);
  }

private:
  /// The rows' function in front of the product's. The gated rows, if they are
  /// in memory, are in the workspace from `between` on.
  static KernelPlan join(const LaunchDesc &launch, std::string body,
                         uint32_t threads, const KernelPlan &product,
                         uint64_t between, uint64_t bytes) {
    constexpr int64_t kBetween = StepPlace::kBetween;
    StepPlace first = {{0, 1, 2, kBetween}, between},
              second = {{kBetween, 3, 4, 5}, between};
    KernelPlan plan, rows = planOfRows(launch, std::move(body), threads);
    rows.headers = {"impls/norm_gate.cuh"};
    appendStep(plan, rows, first, "rows");
    appendStep(plan, product, second, "product");
    plan.workspaceBytes = bytes;
    return plan;
  }
};

} // namespace

const DeviceFusion *saddle::cuda::normGateLinear() {
  static const NormGateLinear fusion;
  return &fusion;
}
