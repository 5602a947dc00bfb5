// Closes the dist level.

#include "passes/Dist/Passes.h"

#include "dialects/Dist/IR/DistDialect.h"
#include "passes/StraightLine.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace saddle::dist {
#define GEN_PASS_DEF_VERIFYSPMD
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

namespace {

struct VerifySPMD : saddle::dist::impl::VerifySPMDBase<VerifySPMD> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    WalkResult result = getOperation().walk([&](Operation *op) {
      return failed(verify(op, symbols)) ? WalkResult::interrupt()
                                         : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }

private:
  static LogicalResult verify(Operation *op, const SymbolTable &symbols) {
    if (isa<ReshardOp>(op))
      return op->emitError("reshard is left; run dist-lower-reshards");
    for (StringRef name :
         {DistDialect::kShardingAttrName, DistDialect::kShardingsAttrName})
      if (op->hasAttr(name))
        return op->emitError("attribute '")
               << name << "' is left; run dist-partition";
    // Straight-line code: a collective under a condition could be met by some
    // ranks and not by others.
    if (auto function = dyn_cast<func::FuncOp>(op))
      return verifyStraightLine(function);
    if (!op->getParentOfType<func::FuncOp>())
      return success();
    if (op->getNumRegions() != 0)
      return op->emitError("op '")
             << op->getName() << "' has a region; expected straight-line code";
    for (NamedAttribute attr : op->getAttrs()) {
      WalkResult result = attr.getValue().walk([&](FlatSymbolRefAttr symbol) {
        return symbols.lookup<model::WeightOp>(symbol.getValue())
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      });
      if (result.wasInterrupted())
        return op->emitError("op '")
               << op->getName()
               << "' reads a whole weight; expected a 'dist.weight_shard'";
    }
    return success();
  }
};

} // namespace
