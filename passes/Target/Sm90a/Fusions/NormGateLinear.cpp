// The norm behind a recurrence, the gate of its output, and the only product
// that reads it, where a rank holds whole rows and activations are quantised:
// the gated rows leave the first function as codes, so that no function in
// between encodes them.

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Fusions/RowsLinear.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

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
    RowsFunction gated;
    gated.header = "impls/norm_gate.cuh";
    gated.name = "normGate";
    gated.suffix = "rows";
    gated.types = matrixType(x) + ", " + matrixType(gate);
    gated.numbers = floatLiteral(launch.body[1].integer("divisor")) + ", " +
                    floatLiteral(launch.body[1].real("eps"));
    gated.threads = threads;
    gated.operands = {0, 1, 2};
    return planRowsLinear(launch, gated, x, {3, 4, 5}, error);
  }
};

} // namespace

const DeviceFusion *saddle::cuda::normGateLinear() {
  static const NormGateLinear fusion;
  return &fusion;
}
