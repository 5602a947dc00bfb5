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
    getOperation().walk([&](MatmulOpInterface op) { assign(op, symbols); });
  }

private:
  /// Columns of the input that meet one block of the last weight share a scale.
  static void assign(MatmulOpInterface op, const SymbolTable &symbols) {
    if (!op.getInput().getType().getElementType().isBF16())
      return;
    ArrayRef<int64_t> blocks;
    for (const WeightUse &use :
         cast<WeightUserOpInterface>(*op).getWeightUses())
      blocks = symbols.lookup<WeightOpInterface>(use.symbol.getValue())
                   .getWeightScaleBlock();
    if (!blocks.empty())
      op.setActGroup(blocks.back());
  }
};

} // namespace
