// States activation quantisation on every op that needs it; none is implicit
// afterwards.

#include "passes/Model/Passes.h"

#include "dialects/Model/IR/ModelDialect.h"

#include "mlir/IR/Builders.h"

#include <algorithm>

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
      if (auto linear = dyn_cast<LinearOp>(op)) {
        assign(linear, {linear.getWeightAttr()}, symbols);
      } else if (auto experts = dyn_cast<ExpertsOp>(op)) {
        SmallVector<FlatSymbolRefAttr> weights = {experts.getDownAttr()};
        llvm::append_range(weights,
                           experts.getGateUp().getAsRange<FlatSymbolRefAttr>());
        assign(experts, weights, symbols);
      }
    });
  }

private:
  /// Groups are as wide as the blocks of the scales; a whole row is one group,
  /// whichever of the weights it meets.
  template <typename OpTy>
  static void assign(OpTy op, ArrayRef<FlatSymbolRefAttr> weights,
                     const SymbolTable &symbols) {
    auto input = cast<RankedTensorType>(op.getInput().getType());
    if (!input.getElementType().isBF16())
      return;
    int64_t group = 0;
    for (FlatSymbolRefAttr symbol : weights) {
      auto weight = symbols.lookup<WeightOpInterface>(symbol.getValue());
      CompanionAttr scale =
          weight.getWeightStorage().find(CompanionKind::Scale);
      if (!scale)
        return;
      group = std::max(group,
                       scale.getBlocks(weight.getWeightType().getShape())[1]);
    }
    op.setActGroup(group);
  }
};

} // namespace
