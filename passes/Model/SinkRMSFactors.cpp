// A norm's root mean square is one number for each token. Behind it stand a
// gate, element by element, and a product with a weight: all of them commute
// with it. So the product may run on rows that are not divided yet, and the
// division comes last, where the sum of squares can meet ranks in the same
// exchange as the product's partial sums, and where whatever makes the rows can
// make them gated.

#include "passes/Model/Passes.h"

#include "dialects/Model/IR/ModelDialect.h"
#include "passes/UserError.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace saddle::model {
#define GEN_PASS_DEF_SINKRMSFACTORS
#include "passes/Model/Passes.h.inc"
} // namespace saddle::model

using namespace mlir;
using namespace saddle::model;

/// The only user of `value` if it is an OpTy.
template <typename OpTy>
static OpTy onlyUser(Value value) {
  return value.hasOneUse() ? dyn_cast<OpTy>(*value.user_begin()) : OpTy();
}

/// Nobody else may see rows that are not divided: each value on the way has one
/// use, the scaled rows as what is gated, not as the gate. False where the
/// factor stays in front.
static bool sink(RMSScaleOp scale) {
  auto gate = onlyUser<SigmoidGateOp>(scale.getResult());
  if (!gate || gate.getInput() != scale.getResult())
    return false;
  auto linear = onlyUser<LinearOp>(gate.getResult());
  if (!linear)
    return false;
  OpBuilder builder(scale);
  Value columns =
      ScaleColumnsOp::create(builder, scale.getLoc(), scale.getType(),
                             scale.getInput(), scale.getWeightAttr());
  builder.setInsertionPointAfter(linear);
  auto divided = DivideByRMSOp::create(
      builder, scale.getLoc(), linear.getType(), linear.getResult(),
      scale.getSums(), scale.getColumnAttr(), scale.getDivisorAttr(),
      scale.getEpsAttr());
  linear.getResult().replaceAllUsesExcept(divided, divided);
  scale.replaceAllUsesWith(columns);
  scale.erase();
  return true;
}

namespace {

struct SinkRMSFactors
    : saddle::model::impl::SinkRMSFactorsBase<SinkRMSFactors> {
  void runOnOperation() override {
    bool decodes = false, sunk = false;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      auto phase =
          function->getAttrOfType<StringAttr>(ModelDialect::kPhaseAttrName);
      if (!phase || phase != "decode" || function.isDeclaration())
        continue;
      decodes = true;
      function.walk([&](RMSScaleOp scale) { sunk |= sink(scale); });
    }
    if (!decodes || sunk)
      return;
    saddle::asUserError("D7ba856", getOperation().emitError())
        << "rms-factors = sunk has no effect: no decode divides by a norm's "
           "root mean square in front of a gate and a product, as layers of "
           "linear attention do; leave it at reference";
    signalPassFailure();
  }
};

} // namespace
