// Forward inference of shardings by the ops' rules (ShardingRuleOpInterface).

#include "passes/Dist/Passes.h"
#include "passes/StraightLine.h"

#include "dialects/Dist/Interfaces/Sharding.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace saddle::dist {
#define GEN_PASS_DEF_PROPAGATE
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle::dist;

namespace {

struct Propagate : saddle::dist::impl::PropagateBase<Propagate> {
  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    ShardingState state(getOperation());
    Builder builder(&getContext());
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (Operation &op : function.getBody().front()) {
        auto rule = getShardingRule(&op, state);
        if (failed(rule))
          return signalPassFailure();
        if (op.getNumResults() == 0)
          continue;
        SmallVector<Attribute> shardings(rule->results.begin(),
                                         rule->results.end());
        op.setAttr(DistDialect::kShardingsAttrName,
                   builder.getArrayAttr(shardings));
      }
  }
};

} // namespace
