// SiLU of the projections within the recurrence that reads them. In prompts the
// two CTAs of a head of 128 columns activate its q and k together.

#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Fusions/Steps.h"
#include "passes/Target/Sm90a/Plans/Plans.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

namespace {

class SiLUDecayScan : public DeviceFusion {
public:
  SiLUDecayScan()
      : DeviceFusion("silu_decay_scan",
                     {part<model::SiLUOp>(), part<model::DecayScanOp>()}) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto scan = dyn_cast<model::DecayScanOp>(anchor);
    auto silu =
        scan ? scan.getQkv().getDefiningOp<model::SiLUOp>() : model::SiLUOp();
    if (!silu || !silu->hasOneUse())
      return {};
    return {silu, scan};
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {"silu_decay_scan"};
    return all;
  }

  // qkv, positions, sequences; out, state. What is activated is between.
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 5}, {5, 1, 2, 4, 3}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    const std::vector<Operand> &all = launch.operands;
    return planSiLUDecayScan(
        stepOf(launch, 1, {all[0], all[1], all[2], all[4], all[3]}), error);
  }
};

} // namespace

const DeviceFusion *saddle::cuda::siluDecayScan() {
  static const SiLUDecayScan fusion;
  return &fusion;
}
