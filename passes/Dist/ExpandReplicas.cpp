// Bucket shapes are one replica's; global shapes are all replicas'.

#include "passes/Dist/Passes.h"
#include "passes/StraightLine.h"

#include "dialects/Dist/IR/DistDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace saddle::dist {
#define GEN_PASS_DEF_EXPANDREPLICAS
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle::dist;

static void multiplyRows(Value value, int64_t times) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type)
    return;
  SmallVector<int64_t> shape(type.getShape());
  shape[0] *= times;
  value.setType(RankedTensorType::get(shape, type.getElementType()));
}

namespace {

struct ExpandReplicas : saddle::dist::impl::ExpandReplicasBase<ExpandReplicas> {
  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    auto topology = getOperation()->getAttrOfType<DictionaryAttr>(
        DistDialect::kTopologyAttrName);
    auto dp = topology ? topology.getAs<IntegerAttr>("dp") : IntegerAttr();
    if (!dp) {
      getOperation().emitError(
          "module has no 'dist.topology'; run dist-attach-mesh first");
      return signalPassFailure();
    }
    if (dp.getInt() == 1)
      return;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      Block &body = function.getBody().front();
      for (BlockArgument argument : body.getArguments())
        multiplyRows(argument, dp.getInt());
      for (Operation &op : body)
        for (Value result : op.getResults())
          multiplyRows(result, dp.getInt());
      function.setFunctionType(
          FunctionType::get(&getContext(), body.getArgumentTypes(),
                            body.getTerminator()->getOperandTypes()));
    }
  }
};

} // namespace
