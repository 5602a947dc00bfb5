#include "passes/Dist/ShardingRules.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

//===----------------------------------------------------------------------===//
// ShardingState
//===----------------------------------------------------------------------===//

ShardingState::ShardingState(ModuleOp module) : symbols(module) {
  name = FlatSymbolRefAttr::get(module.getContext(), kMeshName);
  if (auto mesh = symbols.lookup<MeshOp>(kMeshName)) {
    value = toMesh(mesh);
    found = true;
  }
}

Operation *ShardingState::symbol(StringRef name) const {
  return symbols.lookup(name);
}

ShardingAttr ShardingState::ofSymbol(FlatSymbolRefAttr symbol) const {
  Operation *op = symbols.lookup(symbol.getValue());
  return op ? op->getAttrOfType<ShardingAttr>(DistDialect::kShardingAttrName)
            : ShardingAttr();
}

ShardingAttr ShardingState::ofValue(Value value) const {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type)
    return {};
  auto result = dyn_cast<OpResult>(value);
  if (!result)
    return replicated(type.getRank());
  if (auto reshard = dyn_cast<ReshardOp>(result.getOwner()))
    return reshard.getTo();
  auto shardings = result.getOwner()->getAttrOfType<ArrayAttr>(
      DistDialect::kShardingsAttrName);
  return shardings ? cast<ShardingAttr>(shardings[result.getResultNumber()])
                   : ShardingAttr();
}

ShardingAttr ShardingState::columns(AxisRef axis,
                                    ArrayRef<AxisRef> unreduced) const {
  return ShardingAttr::get(name.getContext(), name, {AxisRef(), axis},
                           unreduced);
}

//===----------------------------------------------------------------------===//
// Rules
//===----------------------------------------------------------------------===//

namespace {

/// Builds the rule of one op; methods return failure after reporting.
class RuleBuilder {
public:
  RuleBuilder(Operation *op, const ShardingState &state)
      : op(op), state(state) {}

  FailureOr<ShardingRule> build() {
    if (failed(verifyOperands()))
      return failure();
    LogicalResult result =
        llvm::TypeSwitch<Operation *, LogicalResult>(op)
            .Case<model::EmbeddingOp>([&](auto op) { return embedding(op); })
            .Case<model::LinearOp>([&](auto op) { return linear(op); })
            .Case<model::SumOfSquaresOp>(
                [&](auto op) { return sumOfSquares(op); })
            .Case<model::RMSScaleOp>([&](auto op) { return rmsScale(op); })
            .Case<model::RopeOp>([&](auto op) { return rope(op); })
            .Case<model::KVAppendOp>([&](auto op) { return kvAppend(op); })
            .Case<model::AttentionOp>([&](auto op) { return attention(op); })
            .Case<model::ExpertsOp>([&](auto op) { return experts(op); })
            .Case<model::RMSNormOp, model::AddOp, model::RouterOp,
                  model::SelectRowsOp, func::ReturnOp>(
                [&](auto) { return everythingReplicated(); })
            .Default([](Operation *op) {
              return op->emitError("op '")
                     << op->getName() << "' has no sharding rule";
            });
    if (failed(result))
      return failure();
    return std::move(rule);
  }

private:
  /// Rules may look at any operand, so each must have a sharding that fits it.
  LogicalResult verifyOperands() {
    for (auto [index, operand] : llvm::enumerate(op->getOperands())) {
      auto type = dyn_cast<RankedTensorType>(operand.getType());
      if (!type)
        continue;
      ShardingAttr sharding = state.ofValue(operand);
      if (!sharding)
        return op->emitError("operand ")
               << index << " has no sharding; run dist-propagate first";
      if (static_cast<int64_t>(sharding.getDims().size()) != type.getRank())
        return op->emitError("operand ")
               << index << " of type " << type << " has sharding " << sharding
               << " of another rank";
    }
    return success();
  }

  /// Sharding of a weight or cache, or an error that asks for seeding.
  FailureOr<ShardingAttr> weight(FlatSymbolRefAttr symbol) {
    if (ShardingAttr sharding = state.ofSymbol(symbol)) {
      auto weight = dyn_cast<model::WeightOp>(state.symbol(symbol.getValue()));
      size_t rank = weight ? weight.getWeightType().getRank() : 1;
      if (sharding.getDims().size() == rank)
        return sharding;
      return op->emitError()
             << symbol << " has sharding " << sharding << " of another rank";
    }
    return op->emitError() << symbol
                           << " has no sharding; run dist-seed-shardings first";
  }

  void requireReplicated(Value operand) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    rule.operands.push_back(type ? state.replicated(type.getRank())
                                 : ShardingAttr());
  }

  LogicalResult everythingReplicated() {
    for (Value operand : op->getOperands())
      requireReplicated(operand);
    for (Value result : op->getResults())
      rule.results.push_back(
          state.replicated(cast<RankedTensorType>(result.getType()).getRank()));
    return success();
  }

  /// Rows of the table held elsewhere contribute zero: a partial sum.
  LogicalResult embedding(model::EmbeddingOp embedding) {
    auto table = weight(embedding.getTableAttr());
    if (failed(table))
      return failure();
    requireReplicated(embedding.getTokens());
    AxisRef rows = table->getDims()[0];
    rule.results.push_back(state.columns(table->getDims()[1], axesOf(rows)));
    return success();
  }

  /// y[t, n] = sum over k: split rows of the weight split the columns of y, a
  /// split contraction leaves a partial sum.
  LogicalResult linear(model::LinearOp linear) {
    auto sharding = weight(linear.getWeightAttr());
    if (failed(sharding))
      return failure();
    AxisRef out = sharding->getDims()[0], in = sharding->getDims()[1];
    rule.operands.push_back(state.columns(in));
    rule.results.push_back(state.columns(out, axesOf(in)));
    return success();
  }

  /// Sums over split columns are partial. Inputs split by a factor of the axis
  /// (replicated KV heads) are summed over the whole axis, replicas included;
  /// dist-partition makes the divisor count them as often.
  LogicalResult sumOfSquares(model::SumOfSquaresOp sum) {
    SmallVector<AxisRef> unreduced;
    for (Value input : sum.getInputs()) {
      ShardingAttr sharding = state.ofValue(input);
      rule.operands.push_back(sharding);
      AxisRef axis = sharding.getDims()[1];
      if (!axis)
        continue;
      AxisRef whole{axis.name, 1, 0};
      if (!llvm::is_contained(unreduced, whole))
        unreduced.push_back(whole);
    }
    if (unreduced.size() > 1)
      return op->emitError("expected inputs split by one axis, but got ")
             << unreduced.size();
    rule.results.push_back(state.columns(AxisRef(), unreduced));
    return success();
  }

  LogicalResult rmsScale(model::RMSScaleOp scale) {
    auto sharding = weight(scale.getWeightAttr());
    if (failed(sharding))
      return failure();
    ShardingAttr columns = state.columns(sharding->getDims()[0]);
    rule.operands.push_back(columns);
    requireReplicated(scale.getSums());
    rule.results.push_back(columns);
    return success();
  }

  /// Heads do not mix, so any split by whole heads passes through.
  LogicalResult rope(model::RopeOp rope) {
    ShardingAttr sharding =
        state.columns(state.ofValue(rope.getInput()).getDims()[1]);
    rule.operands.push_back(sharding);
    requireReplicated(rope.getPositions());
    rule.results.push_back(sharding);
    return success();
  }

  LogicalResult kvAppend(model::KVAppendOp append) {
    auto cache = weight(append.getCacheAttr());
    if (failed(cache))
      return failure();
    ShardingAttr columns = state.columns(cache->getDims()[0]);
    rule.operands = {columns, columns, ShardingAttr()};
    return success();
  }

  /// Each rank attends with its own query heads, which must be those that its
  /// cache heads serve.
  LogicalResult attention(model::AttentionOp attention) {
    auto cache = weight(attention.getCacheAttr());
    if (failed(cache))
      return failure();
    AxisRef queries = state.ofValue(attention.getQ()).getDims()[1];
    AxisRef heads = cache->getDims()[0];
    auto symbol = cast<model::KVCacheOp>(state.symbol(attention.getCache()));
    // Replicas of one head serve any query head; otherwise the cache must be
    // split alike, or by the major factor of what splits the queries.
    bool fits = queries == heads || (!heads && symbol.getHeads() == 1) ||
                (queries && queries.isWhole() && heads &&
                 heads.name == queries.name && heads.pre == 1);
    if (!fits) {
      InFlightDiagnostic diag = op->emitError("query heads are split by ")
                                << state.columns(queries)
                                << " but cache heads by " << *cache;
      diag.attachNote(symbol.getLoc()) << "cache defined here";
      return diag;
    }
    rule.operands = {state.columns(queries), ShardingAttr()};
    rule.results.push_back(state.columns(queries));
    return success();
  }

  /// Each rank computes its slice of every expert (or its experts): a partial
  /// sum over both splits.
  LogicalResult experts(model::ExpertsOp experts) {
    auto down = weight(experts.getDownAttr());
    if (failed(down))
      return failure();
    SmallVector<AxisRef> unreduced;
    for (AxisRef axis : {down->getDims()[0], down->getDims()[2]})
      if (axis)
        unreduced.push_back(axis);
    for (Value operand : op->getOperands())
      requireReplicated(operand);
    rule.results.push_back(state.columns(AxisRef(), unreduced));
    return success();
  }

  static SmallVector<AxisRef> axesOf(AxisRef axis) {
    return axis ? SmallVector<AxisRef>{axis} : SmallVector<AxisRef>{};
  }

  Operation *op;
  const ShardingState &state;
  ShardingRule rule;
};

} // namespace

FailureOr<ShardingRule>
saddle::dist::getShardingRule(Operation *op, const ShardingState &state) {
  return RuleBuilder(op, state).build();
}
