// Of a norm that is divided by behind the next product: its sum of squares, its
// weight, and the gate behind it.

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

namespace {

class SquaresGate : public DeviceFusion {
public:
  SquaresGate()
      : DeviceFusion("squares_gate", {part<model::SumOfSquaresOp>(),
                                      part<model::ScaleColumnsOp>(),
                                      part<model::SigmoidGateOp>()}) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto squares = dyn_cast<model::SumOfSquaresOp>(anchor);
    if (!squares || squares.getInputs().size() != 1)
      return {};
    auto scale = soleUser<model::ScaleColumnsOp>(squares.getInputs()[0]);
    if (!scale || !scale->hasOneUse() || !squares->isBeforeInBlock(scale))
      return {};
    auto gate = dyn_cast<model::SigmoidGateOp>(*scale->user_begin());
    if (!gate || gate.getInput() != scale.getResult())
      return {};
    return {squares, scale, gate};
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {"squares_gate"};
    return all;
  }

  // impls/norm_gate.cuh, Operand; then the scaled rows.
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 3}, {0, 1, 5}, {5, 2, 4}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    const Operand &x = launch.operands[0], &gate = launch.operands[2],
                  &sums = launch.operands[3], &out = launch.operands[4];
    uint32_t threads = threadsOfManyRows(launch, {&x, &gate, &out}, error);
    if (threads == 0)
      return failure();
    KernelPlan plan = planOfRows(
        launch,
        llvm::formatv("squaresGate<{0}, {1}, {2},\n    {3},\n    {4},\n    "
                      "{5}>(p);",
                      static_cast<int>(launch.extent), threads, matrixType(x),
                      matrixType(gate), matrixType(sums), matrixType(out)),
        threads);
    plan.headers = {"impls/norm_gate.cuh"};
    return plan;
  }
};

} // namespace

const DeviceFusion *saddle::cuda::squaresGate() {
  static const SquaresGate fusion;
  return &fusion;
}
