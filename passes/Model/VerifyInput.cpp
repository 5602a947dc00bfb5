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

    bool hasStep = false;
    for (Operation &op : *module.getBody()) {
      if (auto function = dyn_cast<func::FuncOp>(op)) {
        if (function.getName() == "step")
          hasStep = true;
        else if (ModelDialect::getProgram(function) ==
                 ModelDialect::kMainProgram)
          return function.emitError("expected @step, and perhaps functions of "
                                    "other programs ('model.program'), but "
                                    "got @")
                 << function.getName();
        if (failed(verifyBody(function)))
          return failure();
      } else if (!isa<WeightOp, StateOpInterface>(op)) {
        return op.emitError("op '")
               << op.getName() << "' is not allowed in a model module";
      }
    }
    if (!hasStep)
      return module.emitError("module has no function @step");
    return verifyWeightsUsed(module);
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
  static LogicalResult verifyWeightsUsed(ModuleOp module) {
    llvm::DenseSet<StringAttr> used;
    for (auto function : module.getOps<func::FuncOp>())
      if (auto uses = SymbolTable::getSymbolUses(function))
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
