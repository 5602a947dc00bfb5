// Closes the model level.

#include "passes/Model/Passes.h"

#include "dialects/Model/IR/ModelDialect.h"
#include "passes/StraightLine.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace saddle::model {
#define GEN_PASS_DEF_VERIFYSTATIC
#include "passes/Model/Passes.h.inc"
} // namespace saddle::model

using namespace mlir;
using namespace saddle::model;

namespace {

struct VerifyStatic : saddle::model::impl::VerifyStaticBase<VerifyStatic> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(verify(function)))
        return signalPassFailure();
  }

private:
  static bool isStatic(Type type) {
    auto tensor = dyn_cast<TensorType>(type);
    return !tensor || tensor.hasStaticShape();
  }

  static LogicalResult verify(func::FuncOp function) {
    if (!function->hasAttr(ModelDialect::kPhaseAttrName))
      return function.emitError("function @")
             << function.getName() << " has no 'model.phase'";
    if (failed(saddle::verifyStraightLine(function)))
      return failure();
    for (BlockArgument argument : function.getArguments())
      if (!isStatic(argument.getType()))
        return function.emitError(
                   "expected static shapes by now, but argument ")
               << argument.getArgNumber() << " of @" << function.getName()
               << " is " << argument.getType();
    WalkResult result = function.walk([](Operation *op) {
      if (isa<QKNormOp>(op)) {
        op->emitError("op 'model.qk_norm' must be decomposed by now");
        return WalkResult::interrupt();
      }
      for (Type type : op->getResultTypes())
        if (!isStatic(type)) {
          op->emitError("expected static shapes by now, but got ") << type;
          return WalkResult::interrupt();
        }
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }
};

} // namespace
