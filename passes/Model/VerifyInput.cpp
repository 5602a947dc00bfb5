// Opens the model level: checks what an importer hands in, so that later
// passes may rely on it. Op-local rules are the verifiers' business.

#include "passes/Model/Passes.h"

#include "dialects/Model/IR/ModelDialect.h"
#include "passes/StraightLine.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"

namespace saddle::model {
#define GEN_PASS_DEF_VERIFYINPUT
#include "passes/Model/Passes.h.inc"
} // namespace saddle::model

using namespace mlir;
using namespace saddle::model;

namespace {

struct VerifyInput : saddle::model::impl::VerifyInputBase<VerifyInput> {
  void runOnOperation() override {
    if (failed(verify(getOperation())))
      signalPassFailure();
  }

private:
  static LogicalResult verify(ModuleOp module) {
    if (!module->hasAttr(ModelDialect::kConfigAttrName))
      return module.emitError("module has no 'model.config' attribute");
    if (failed(Limits::get(module)))
      return failure();

    func::FuncOp step;
    for (Operation &op : *module.getBody()) {
      if (auto function = dyn_cast<func::FuncOp>(op)) {
        if (step || function.getName() != "step")
          return function.emitError("expected one function, @step, but got @")
                 << function.getName();
        step = function;
      } else if (!isa<WeightOp, StateOpInterface>(op)) {
        return op.emitError("op '")
               << op.getName() << "' is not allowed in a model module";
      }
    }
    if (!step)
      return module.emitError("module has no function @step");
    if (failed(verifyBody(step)))
      return failure();
    return verifyWeightsUsed(module, step);
  }

  static LogicalResult verifyBody(func::FuncOp step) {
    if (failed(saddle::verifyStraightLine(step)))
      return failure();
    for (Operation &op : step.getBody().front())
      if (!isa<func::ReturnOp>(op) && !isa<ModelDialect>(op.getDialect()))
        return op.emitError("op '") << op.getName() << "' is not a model op";
    return success();
  }

  /// A weight that nothing reads is a tensor that would silently be dropped.
  static LogicalResult verifyWeightsUsed(ModuleOp module, func::FuncOp step) {
    llvm::DenseSet<StringAttr> used;
    if (auto uses = SymbolTable::getSymbolUses(step))
      for (SymbolTable::SymbolUse use : *uses)
        used.insert(use.getSymbolRef().getRootReference());
    for (auto weight : module.getOps<WeightOp>())
      if (!used.contains(weight.getSymNameAttr()))
        return weight.emitError("weight @")
               << weight.getSymName() << " is never used";
    return success();
  }
};

} // namespace
