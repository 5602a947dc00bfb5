// One function with static shapes for each bucket. A bucket is an upper bound:
// the runtime picks the smallest entry that fits and says how many tokens are
// real.

#include "passes/Model/Passes.h"

#include "dialects/Model/IR/ModelDialect.h"
#include "passes/StraightLine.h"
#include "passes/UserError.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

#include <set>

namespace saddle::model {
#define GEN_PASS_DEF_SPECIALIZEBUCKETS
#include "passes/Model/Passes.h.inc"
} // namespace saddle::model

using namespace mlir;
using namespace saddle;
using namespace saddle::model;

/// Fewest logits rows that a prefill function offers, chunk permitting: a
/// caller that wants the logits of every prompt token gets this many a step.
static constexpr int64_t kMinPrefillRows = 32;

static RankedTensorType withTokens(Type type, int64_t tokens) {
  auto tensor = cast<RankedTensorType>(type);
  SmallVector<int64_t> shape(tensor.getShape());
  shape[0] = tokens;
  return RankedTensorType::get(shape, tensor.getElementType());
}

/// Replaces every dynamic token dimension of `function`. Results take the
/// extent of the operand that has as many rows.
static void makeStatic(func::FuncOp function, int64_t tokens, int64_t rows) {
  Block &entry = function.getBody().front();
  for (BlockArgument argument : entry.getArguments())
    if (isa<RankedTensorType>(argument.getType()))
      argument.setType(withTokens(argument.getType(), tokens));
  function.walk([&](SelectRowsOp op) {
    op.getRows().setType(withTokens(op.getRows().getType(), rows));
  });
  for (Operation &op : entry.without_terminator()) {
    auto launch = dyn_cast<LaunchOpInterface>(op);
    Value extent = launch ? launch.getRowOperand() : op.getOperand(0);
    int64_t count = cast<RankedTensorType>(extent.getType()).getDimSize(0);
    for (Value result : op.getResults())
      result.setType(withTokens(result.getType(), count));
  }
  function.setFunctionType(
      FunctionType::get(function.getContext(), entry.getArgumentTypes(),
                        entry.getTerminator()->getOperandTypes()));
}

namespace {

struct SpecializeBuckets
    : saddle::model::impl::SpecializeBucketsBase<SpecializeBuckets> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    ModuleOp module = getOperation();
    auto limits = Limits::get(module);
    if (failed(limits))
      return signalPassFailure();
    if (!module.lookupSymbol<func::FuncOp>("step")) {
      module.emitError("module has no function @step");
      return signalPassFailure();
    }

    std::set<int64_t> decode(buckets.begin(), buckets.end());
    if (decode.empty()) {
      int64_t size = 1;
      for (; size <= limits->maxBatch / 2; size *= 2) // which cannot overflow
        decode.insert(size);
      if (size < limits->maxBatch)
        decode.insert(size);
      decode.insert(limits->maxBatch);
    }
    if (*decode.begin() < 1 || *decode.rbegin() > limits->maxBatch) {
      asUserError(
          "De0f753",
          module.emitError("expected decode buckets from 1 to max_batch = "))
          << limits->maxBatch << ", but got "
          << (*decode.begin() < 1 ? *decode.begin() : *decode.rbegin());
      return signalPassFailure();
    }
    if (*decode.rbegin() < limits->maxBatch) {
      asUserError("D92cf6c",
                  module.emitError(
                      "expected the largest decode bucket to be max_batch = "))
          << limits->maxBatch << ", so that a step of all sequences has an "
          << "entry, but got " << *decode.rbegin();
      return signalPassFailure();
    }
    if (specTokens > 0)
      for (int64_t size : std::set<int64_t>(decode))
        decode.insert(size * (specTokens + 1));
    int64_t chunk = limits->prefillChunk;
    int64_t rows = prefillRows > 0
                       ? prefillRows.getValue()
                       : std::max(limits->maxBatch, kMinPrefillRows);
    SmallVector<func::FuncOp> functions(module.getOps<func::FuncOp>());
    for (func::FuncOp function : functions) {
      for (int64_t size : decode)
        specialize(function, "decode", size, size);
      specialize(function, "prefill", chunk, std::min(rows, chunk));
      function.erase();
    }
  }

private:
  static void specialize(func::FuncOp function, StringRef phase, int64_t tokens,
                         int64_t rows) {
    OpBuilder builder(function);
    auto clone = cast<func::FuncOp>(builder.clone(*function));
    StringRef program = ModelDialect::getProgram(function);
    std::string prefix =
        program == ModelDialect::kMainProgram ? "" : (program + ".").str();
    clone.setName((prefix + phase + "_" + Twine(tokens)).str());
    clone->setAttr(ModelDialect::kPhaseAttrName, builder.getStringAttr(phase));
    makeStatic(clone, tokens, rows);
  }
};

} // namespace
