// Pipeline stages: straight-line code cut at layer boundaries.

#include "passes/Dist/Passes.h"

#include "dialects/Dist/IR/DistDialect.h"
#include "passes/StraightLine.h"
#include "passes/UserError.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"

#include <numeric>

namespace saddle::dist {
#define GEN_PASS_DEF_SPLITSTAGES
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

namespace {

struct SplitStages : saddle::dist::impl::SplitStagesBase<SplitStages> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    ModuleOp module = getOperation();
    auto topology =
        module->getAttrOfType<DictionaryAttr>(DistDialect::kTopologyAttrName);
    auto pp = topology ? topology.getAs<IntegerAttr>("pp") : IntegerAttr();
    if (!pp) {
      module.emitError(
          "module has no 'dist.topology'; run dist-attach-mesh first");
      return signalPassFailure();
    }
    SmallVector<func::FuncOp> functions(module.getOps<func::FuncOp>());
    for (func::FuncOp function : functions) {
      if (pp.getInt() == 1)
        continue;
      // What has no layers to deal runs where the residual stream ends.
      bool isWhole =
          function.getBody().getOps<model::LayerBoundaryOp>().empty();
      if (failed(isWhole && model::ModelDialect::getProgram(function) !=
                                model::ModelDialect::kMainProgram
                     ? leave(function, pp.getInt())
                     : split(function, pp.getInt())))
        return signalPassFailure();
    }
    module.walk([](model::LayerBoundaryOp op) {
      op.replaceAllUsesWith(op.getInput());
      op.erase();
    });
  }

private:
  /// First layer of each stage but the first.
  FailureOr<SmallVector<int64_t>> cuts(func::FuncOp function, int64_t stages) {
    int64_t total =
        llvm::range_size(function.getBody().getOps<model::LayerBoundaryOp>());
    SmallVector<int64_t> counts(layers.begin(), layers.end());
    if (counts.empty() && stages <= total)
      for (int64_t stage = 0; stage < stages; ++stage)
        counts.push_back(total / stages + (stage < total % stages));
    int64_t sum = std::accumulate(counts.begin(), counts.end(), int64_t(0));
    if (static_cast<int64_t>(counts.size()) != stages || sum != total ||
        llvm::any_of(counts, [](int64_t count) { return count < 1; })) {
      InFlightDiagnostic diag =
          asUserError("Dfc7ad9", function.emitError("num_hidden_layers = "))
          << total << " cannot be dealt over pp = " << stages
          << " stages, at least one layer each";
      if (!layers.empty()) {
        diag << "; the given layers are ";
        llvm::interleaveComma(counts, diag);
      } else {
        diag << "; legal pp: 1 to " << total;
      }
      return failure();
    }
    SmallVector<int64_t> firsts;
    int64_t first = 0;
    for (int64_t count : ArrayRef<int64_t>(counts).drop_back())
      firsts.push_back(first += count);
    return firsts;
  }

  LogicalResult split(func::FuncOp function, int64_t stages) {
    auto firsts = cuts(function, stages);
    if (failed(firsts))
      return failure();
    // Ops of each stage, in order; a boundary opens the next one.
    SmallVector<SmallVector<Operation *>> parts(1);
    SmallVector<model::LayerBoundaryOp> crossings;
    for (Operation &op : function.getBody().front().without_terminator()) {
      auto boundary = dyn_cast<model::LayerBoundaryOp>(op);
      if (boundary && llvm::is_contained(*firsts, boundary.getLayer())) {
        crossings.push_back(boundary);
        parts.emplace_back();
        continue;
      }
      parts.back().push_back(&op);
    }
    if (static_cast<int64_t>(parts.size()) != stages)
      return function.emitError("expected boundaries of layers 0 to ")
             << firsts->back() << ", but found " << parts.size() - 1
             << " of the cuts";

    Operation *end = function.getBody().front().getTerminator();
    for (int64_t stage = 0; stage < stages; ++stage) {
      bool last = stage == stages - 1;
      func::FuncOp part = beginPart(function, stage, last);
      IRMapping mapping;
      Block *body = &part.getBody().front();
      mapping.map(function.getArguments(), body->getArguments());
      OpBuilder inside = OpBuilder::atBlockBegin(body);
      if (stage > 0)
        for (Value value : carried(crossings[stage - 1]))
          mapping.map(value,
                      ReceiveOp::create(inside, value.getLoc(), value.getType())
                          .getResult());
      for (Operation *op : parts[stage]) {
        for (Value operand : op->getOperands())
          if (!mapping.contains(operand))
            return op->emitError("value crosses a stage boundary beside the "
                                 "residual stream");
        inside.clone(*op, mapping);
      }
      if (last) {
        inside.clone(*end, mapping);
        continue;
      }
      model::LayerBoundaryOp to = crossings[stage];
      mapping.map(to.getResult(), mapping.lookup(to.getInput()));
      for (Value value : carried(to))
        SendOp::create(inside, value.getLoc(), mapping.lookup(value));
      func::ReturnOp::create(inside, end->getLoc());
    }
    function.erase();
    return success();
  }

  /// What the stage before a cut hands to the one behind it: the residual
  /// stream there, then as it was at earlier boundaries where something behind
  /// the cut still looks at it.
  static SmallVector<Value> carried(model::LayerBoundaryOp cut) {
    SmallVector<Value> values = {cut.getResult()};
    for (auto earlier : cut->getBlock()->getOps<model::LayerBoundaryOp>())
      if (earlier->isBeforeInBlock(cut) &&
          llvm::any_of(earlier->getUsers(), [&](Operation *user) {
            return cut->isBeforeInBlock(user);
          }))
        values.push_back(earlier.getResult());
    return values;
  }

  /// The whole function in the last stage, and nothing in those before it.
  LogicalResult leave(func::FuncOp function, int64_t stages) {
    Operation *end = function.getBody().front().getTerminator();
    for (int64_t stage = 0; stage < stages; ++stage) {
      bool last = stage == stages - 1;
      func::FuncOp part = beginPart(function, stage, last);
      Block *body = &part.getBody().front();
      OpBuilder inside = OpBuilder::atBlockBegin(body);
      if (!last) {
        func::ReturnOp::create(inside, end->getLoc());
        continue;
      }
      IRMapping mapping;
      mapping.map(function.getArguments(), body->getArguments());
      for (Operation &op : function.getBody().front())
        inside.clone(op, mapping);
    }
    function.erase();
    return success();
  }

  /// A function for one stage, with an empty block, that returns what
  /// `function` returns if it is the last one.
  func::FuncOp beginPart(func::FuncOp function, int64_t stage, bool last) {
    OpBuilder builder(function);
    Operation *end = function.getBody().front().getTerminator();
    auto type = FunctionType::get(&getContext(), function.getArgumentTypes(),
                                  last ? TypeRange(end->getOperandTypes())
                                       : TypeRange());
    auto part = func::FuncOp::create(
        builder, function.getLoc(),
        (function.getName() + ".stage_" + Twine(stage)).str(), type);
    for (NamedAttribute attr : function->getDiscardableAttrs())
      part->setAttr(attr.getName(), attr.getValue());
    part->setAttr(DistDialect::kEntryAttrName,
                  builder.getStringAttr(function.getName()));
    part->setAttr(DistDialect::kStageAttrName,
                  builder.getI64IntegerAttr(stage));
    part.addEntryBlock();
    return part;
  }
};

} // namespace
