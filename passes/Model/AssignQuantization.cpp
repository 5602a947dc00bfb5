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
    getOperation().walk([&](MatmulOpInterface op) { assign(op, symbols); });
  }

private:
  /// Only where both factors are e4m3: other weights, and those that stand for
  /// rotated values, are multiplied by activations as they are. Groups are as
  /// wide as the blocks of the scales; a whole row is one group, whichever of
  /// the weights it meets.
  static void assign(MatmulOpInterface op, const SymbolTable &symbols) {
    if (!op.getInput().getType().getElementType().isBF16())
      return;
    int64_t group = 0;
    for (const WeightUse &use :
         cast<WeightUserOpInterface>(*op).getWeightUses()) {
      auto weight = symbols.lookup<WeightOpInterface>(use.symbol.getValue());
      CompanionAttr scale =
          weight.getWeightStorage().find(CompanionKind::Scale);
      // Scales of one byte belong to weights whose groups are finer than
      // products of e4m3 are.
      if (!scale || weight.getWeightStorage().getRotated() ||
          scale.getType().getIntOrFloatBitWidth() == 8 ||
          !isa<Float8E4M3FNType>(weight.getWeightType().getElementType()))
        return;
      group = std::max(group,
                       scale.getBlocks(weight.getWeightType().getShape())[1]);
    }
    op.setActGroup(group);
  }
};

} // namespace
