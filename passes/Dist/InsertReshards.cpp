// Makes every edge agree: producer's sharding on one side, what the consumer
// asks for on the other.

#include "passes/Dist/Passes.h"
#include "passes/StraightLine.h"

#include "dialects/Dist/Interfaces/Sharding.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace saddle::dist {
#define GEN_PASS_DEF_INSERTRESHARDS
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle::dist;

namespace {

struct InsertReshards : saddle::dist::impl::InsertReshardsBase<InsertReshards> {
  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    ShardingState state(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      // One reshard for each (value, wanted sharding).
      llvm::DenseMap<std::pair<Value, Attribute>, Value> made;
      for (Operation &op :
           llvm::make_early_inc_range(function.getBody().front())) {
        auto rule = getShardingRule(&op, state);
        if (failed(rule))
          return signalPassFailure();
        for (auto [operand, wanted] :
             llvm::zip_equal(op.getOpOperands(), rule->operands)) {
          if (!wanted)
            continue;
          ShardingAttr current = state.ofValue(operand.get());
          if (current == wanted)
            continue;
          Value &reshard = made[{operand.get(), wanted}];
          if (!reshard) {
            OpBuilder builder(&op);
            // The place of a collective is that of the op whose result it
            // completes.
            reshard = ReshardOp::create(builder, operand.get().getLoc(),
                                        operand.get().getType(), operand.get(),
                                        current, wanted);
          }
          operand.set(reshard);
        }
      }
    }
  }
};

} // namespace
