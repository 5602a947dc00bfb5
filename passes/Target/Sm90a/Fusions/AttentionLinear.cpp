// Attention and the only product that reads it, where activations are
// quantised and a head is a group: the function that combines the ranges of a
// head leaves its codes, so that no function in between encodes them.

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Fusions/Steps.h"
#include "passes/Target/Sm90a/Plans/Products.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

namespace {

class AttentionLinear : public DeviceFusion {
public:
  AttentionLinear()
      : DeviceFusion("attention_linear",
                     {part<model::AttentionOp>(), part<model::LinearOp>()}) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto attention = dyn_cast<model::AttentionOp>(anchor);
    model::LinearOp linear =
        attention ? quantisedReader(attention.getResult()) : model::LinearOp();
    if (!linear)
      return {};
    // With more tokens their heads fill the machine, and there are no ranges.
    constexpr int64_t kMostTokens = 16;
    auto rows = cast<RankedTensorType>(attention.getResult().getType());
    if (rows.isDynamicDim(0) || rows.getDimSize(0) > kMostTokens)
      return {};
    return {attention, linear};
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {"attention_linear"};
    return all;
  }

  // q, both caches, positions, sequences, block table, weight, scale; out. What
  // attention gives is between the steps.
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 1, 2, 3, 4, 5, 9}, {9, 6, 7, 8}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    const std::vector<Operand> &all = launch.operands;
    Operand attended = valueBetween(all[0], "out");
    LaunchDesc attention = stepOf(
        launch, 0, {all[0], all[1], all[2], all[3], all[4], all[5], attended});
    LaunchDesc linear =
        stepOf(launch, 1, {valueBetween(all[0], "x"), all[6], all[7], all[8]});

    FailureOr<KernelPlan> first = planAttention(attention, error);
    if (failed(first))
      return failure();
    for (const DividedProduct &divided : first->products)
      linear.waysBefore += divided.ways - 1;
    std::optional<KernelPlan> product = planLinearOfEncoded(linear);
    if (product) {
      // Codes lie behind the partial results of attention.
      uint64_t behind = roundUp(first->workspaceBytes, 256);
      EncodedTokens encoded(attended.shape[0], attended.shape[1],
                            linear.integer("act_group"), behind);
      if (auto plan = planAttentionEncoded(attention, encoded))
        return join(*plan, *product, 0, behind,
                    behind + product->workspaceBytes);
    }
    // Otherwise the rows themselves are in the workspace.
    FailureOr<KernelPlan> second = planLinear(linear, error);
    if (failed(second))
      return failure();
    uint64_t between = roundUp(first->workspaceBytes, 256);
    uint64_t behind =
        between + roundUp(attended.elements() *
                              (attended.element.getIntOrFloatBitWidth() / 8),
                          256);
    uint64_t bytes = behind + second->workspaceBytes;
    return join(*first, *second, between, behind, bytes);
  }

private:
  static KernelPlan join(const KernelPlan &attention, const KernelPlan &product,
                         uint64_t between, uint64_t behind, uint64_t bytes) {
    constexpr int64_t kBetween = StepPlace::kBetween;
    StepPlace first = {{0, 1, 2, 3, 4, 5, kBetween}, between},
              second = {{kBetween, 6, 7, 8}, between, behind};
    KernelPlan plan;
    appendStep(plan, attention, first, "attention");
    appendStep(plan, product, second, "product");
    plan.workspaceBytes = bytes;
    return plan;
  }
};

} // namespace

const DeviceFusion *saddle::cuda::attentionLinear() {
  static const AttentionLinear fusion;
  return &fusion;
}
