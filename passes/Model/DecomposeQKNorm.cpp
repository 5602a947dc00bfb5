// QK norm to sum of squares and scalings: shows the reduction that tensor
// parallelism has to make across ranks.

#include "passes/Model/Passes.h"

#include "dialects/Model/IR/ModelDialect.h"

#include "mlir/IR/Builders.h"

namespace saddle::model {
#define GEN_PASS_DEF_DECOMPOSEQKNORM
#include "passes/Model/Passes.h.inc"
} // namespace saddle::model

using namespace mlir;
using namespace saddle::model;

static Value scale(OpBuilder &builder, Location loc, Value input, Value sums,
                   int64_t column, FlatSymbolRefAttr weight, FloatAttr eps) {
  int64_t columns = cast<RankedTensorType>(input.getType()).getDimSize(1);
  return RMSScaleOp::create(builder, loc, input.getType(), input, sums,
                            builder.getI64IntegerAttr(column), weight,
                            builder.getI64IntegerAttr(columns), eps);
}

namespace {

struct DecomposeQKNorm
    : saddle::model::impl::DecomposeQKNormBase<DecomposeQKNorm> {
  void runOnOperation() override {
    getOperation().walk([](QKNormOp op) {
      OpBuilder builder(op);
      int64_t tokens =
          cast<RankedTensorType>(op.getQ().getType()).getDimSize(0);
      auto sumsType = RankedTensorType::get({tokens, 2}, builder.getF32Type());
      Value sums = SumOfSquaresOp::create(builder, op.getLoc(), sumsType,
                                          ValueRange{op.getQ(), op.getK()});
      Value q = scale(builder, op.getLoc(), op.getQ(), sums, 0,
                      op.getQWeightAttr(), op.getEpsAttr());
      Value k = scale(builder, op.getLoc(), op.getK(), sums, 1,
                      op.getKWeightAttr(), op.getEpsAttr());
      op.replaceAllUsesWith(ValueRange{q, k});
      op.erase();
    });
  }
};

} // namespace
