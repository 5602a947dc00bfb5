// States activation quantisation on every op that needs it; none is implicit
// afterwards.

#include "passes/Model/Passes.h"

#include "dialects/Model/IR/ModelDialect.h"

#include "mlir/IR/Builders.h"

namespace saddle::model {
#define GEN_PASS_DEF_ASSIGNQUANTIZATION
#include "passes/Model/Passes.h.inc"
} // namespace saddle::model

using namespace mlir;
using namespace saddle::model;

namespace {

struct AssignQuantization
    : saddle::model::impl::AssignQuantizationBase<AssignQuantization> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    getOperation().walk([&](Operation *op) {
      if (auto linear = dyn_cast<LinearOp>(op))
        assign(linear, linear.getWeight(), symbols);
      else if (auto experts = dyn_cast<ExpertsOp>(op))
        assign(experts, experts.getDown(), symbols);
    });
  }

private:
  template <typename OpTy>
  static void assign(OpTy op, StringRef weight, const SymbolTable &symbols) {
    auto stored = cast<WeightOpInterface>(symbols.lookup(weight));
    auto input = cast<RankedTensorType>(op.getInput().getType());
    if (stored.getWeightScaleBlock().empty() ||
        !input.getElementType().isBF16())
      return;
    op.setActGroup(stored.getWeightScaleBlock().back());
  }
};

} // namespace
