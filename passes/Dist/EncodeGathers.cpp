// Rows that all their readers round to codes travel as codes: whoever has a row
// before a gather encodes it. What experts are to be asked for goes with them.

#include "passes/Dist/Passes.h"
#include "passes/StraightLine.h"

#include "dialects/Dist/IR/DistDialect.h"
#include "passes/Target/Target.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

namespace saddle::dist {
#define GEN_PASS_DEF_ENCODEGATHERS
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

static RankedTensorType typeOf(Value value) {
  return cast<RankedTensorType>(value.getType());
}

namespace {

/// A gather of rows, and what becomes of them.
class EncodedGather {
public:
  EncodedGather(AllGatherOp gather, const Target &target)
      : gather(gather), target(target) {}

  /// Whether every reader rounds the rows in the same groups, and may be given
  /// codes.
  bool isPossible() {
    RankedTensorType rows = typeOf(gather.getResult());
    if (gather.getDim() != 0 || rows.getRank() != 2 || gather->use_empty())
      return false;
    for (OpOperand &use : gather->getUses()) {
      auto product = dyn_cast<model::MatmulOpInterface>(use.getOwner());
      std::optional<uint64_t> columns =
          product ? product.getActGroup() : std::nullopt;
      if (!columns || use.getOperandNumber() != 0 ||
          !target.takesCodes(product) || (group && *columns != group))
        return false;
      if (auto experts = dyn_cast<model::ExpertsOp>(*product))
        if (experts.getGateUp().size() != 1)
          return false;
      group = *columns;
      readers.push_back(product);
    }
    return true;
  }

  void rewrite() {
    findChoices();
    Value input = gather.getInput();
    RankedTensorType rows = typeOf(input);
    OpBuilder builder(gather->getContext());
    builder.setInsertionPointAfterValue(input);
    auto codes = rows.clone(Float8E4M3FNType::get(builder.getContext()));
    auto factors = rows.clone(
        {rows.getDimSize(0),
         static_cast<int64_t>(llvm::divideCeil(rows.getDimSize(1), group))},
        builder.getF32Type());
    auto encoded =
        model::EncodeRowsOp::create(builder, gather.getLoc(), codes, factors,
                                    input, builder.getI64IntegerAttr(group));

    SmallVector<Value> parts(encoded->getResults());
    SmallVector<AllGatherOp> gathers = {gather};
    for (AllGatherOp choice : choices) {
      parts.push_back(choice.getInput());
      gathers.push_back(choice);
    }
    SmallVector<Type> joined;
    int64_t tokens = typeOf(gather.getResult()).getDimSize(0);
    for (Value part : parts)
      joined.push_back(
          typeOf(part).clone({tokens, typeOf(part).getDimSize(1)}));
    int64_t bytes = model::RowBytes(joined).total;
    AllGatherOp last = gathers.back();
    for (AllGatherOp each : gathers)
      if (last->isBeforeInBlock(each))
        last = each;
    builder.setInsertionPoint(last);
    Type byte = builder.getIntegerType(8, /*isSigned=*/false);
    auto all = model::JoinBytesOp::create(
        builder, gather.getLoc(),
        RankedTensorType::get({rows.getDimSize(0), bytes}, byte), parts);
    auto travelled = AllGatherOp::create(
        builder, gather.getLoc(), RankedTensorType::get({tokens, bytes}, byte),
        all.getResult(), gather.getDimAttr(), gather.getAxesAttr(),
        gather.getRowsAttr());
    auto split = model::SplitBytesOp::create(builder, gather.getLoc(), joined,
                                             travelled.getResult());
    for (auto [choice, result] :
         llvm::zip(choices, split->getResults().drop_front(2)))
      choice.getResult().replaceAllUsesWith(result);
    for (model::MatmulOpInterface reader : readers)
      give(reader, split->getResult(0), split->getResult(1));
    for (AllGatherOp each : gathers)
      each->erase();
  }

private:
  /// The gathers of what experts alone ask for, where they travel among the
  /// same ranks and before anybody reads the rows.
  void findChoices() {
    for (model::MatmulOpInterface reader : readers) {
      auto experts = dyn_cast<model::ExpertsOp>(*reader);
      if (!experts)
        continue;
      SmallVector<AllGatherOp> found;
      for (Value value : {experts.getWeights(), experts.getExperts()}) {
        auto other = value.getDefiningOp<AllGatherOp>();
        if (!other || !other->hasOneUse() || other.getDim() != 0 ||
            other.getAxesAttr() != gather.getAxesAttr() ||
            other.getRowsAttr() != gather.getRowsAttr() ||
            llvm::any_of(readers, [&](model::MatmulOpInterface each) {
              return each->isBeforeInBlock(other);
            }))
          return;
        found.push_back(other);
      }
      choices = found;
      return;
    }
  }

  /// Puts the op that takes codes in the place of `reader`.
  void give(model::MatmulOpInterface reader, Value codes, Value factors) {
    OpBuilder builder(reader);
    Operation *made;
    auto columns = builder.getI64IntegerAttr(group);
    if (auto linear = dyn_cast<model::LinearOp>(*reader)) {
      made = model::LinearOfCodesOp::create(builder, linear.getLoc(),
                                            linear.getType(), codes, factors,
                                            linear.getWeightAttr(), columns);
    } else {
      auto experts = cast<model::ExpertsOp>(*reader);
      made = model::ExpertsOfCodesOp::create(
          builder, experts.getLoc(), experts.getType(), codes, factors,
          experts.getWeights(), experts.getExperts(),
          cast<FlatSymbolRefAttr>(experts.getGateUp()[0]),
          experts.getDownAttr(), columns);
    }
    made->setDiscardableAttrs(reader->getDiscardableAttrDictionary());
    reader->replaceAllUsesWith(made);
    reader->erase();
  }

  AllGatherOp gather;
  const Target &target;
  uint64_t group = 0;
  SmallVector<model::MatmulOpInterface> readers;
  SmallVector<AllGatherOp> choices; // weights, then numbers of experts
};

struct EncodeGathers : saddle::dist::impl::EncodeGathersBase<EncodeGathers> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    const Target *found = findTarget(target, getOperation());
    if (!found)
      return signalPassFailure();
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      auto phase = function->getAttrOfType<StringAttr>(
          model::ModelDialect::kPhaseAttrName);
      if (!phase || phase != "prefill")
        continue;
      std::vector<EncodedGather> gathers;
      for (auto gather : function.getOps<AllGatherOp>())
        if (EncodedGather encoded(gather, *found); encoded.isPossible())
          gathers.push_back(std::move(encoded));
      for (EncodedGather &gather : gathers)
        gather.rewrite();
      if (!gathers.empty())
        function.emitRemark("@")
            << function.getName() << ": rows travel as codes in "
            << gathers.size() << " gathers";
    }
  }
};

} // namespace
