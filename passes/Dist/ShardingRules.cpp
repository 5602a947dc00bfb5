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
  if (!result) {
    auto argument = cast<BlockArgument>(value);
    auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
    auto sharding = function.getArgAttrOfType<ShardingAttr>(
        argument.getArgNumber(), DistDialect::kShardingAttrName);
    return sharding ? sharding : replicated(type.getRank());
  }
  if (auto reshard = dyn_cast<ReshardOp>(result.getOwner()))
    return reshard.getTo();
  auto shardings = result.getOwner()->getAttrOfType<ArrayAttr>(
      DistDialect::kShardingsAttrName);
  return shardings ? cast<ShardingAttr>(shardings[result.getResultNumber()])
                   : ShardingAttr();
}

ShardingAttr ShardingState::matrix(AxisRef rows, AxisRef columns,
                                   ArrayRef<AxisRef> unreduced) const {
  return ShardingAttr::get(name.getContext(), name, {rows, columns}, unreduced);
}

//===----------------------------------------------------------------------===//
// Rules
//===----------------------------------------------------------------------===//

namespace {

/// Builds the rule of one op; methods return failure after reporting. Rows are
/// tokens: attention replicas hold different ones, and every op that works row
/// by row keeps them where they are.
class RuleBuilder {
public:
  RuleBuilder(Operation *op, const ShardingState &state)
      : op(op), state(state), mesh(state.mesh()) {}

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
            .Case<model::DecayScanOp>([&](auto op) { return decayScan(op); })
            .Case<model::ExpertsOp>([&](auto op) { return experts(op); })
            .Case<model::RMSNormOp, model::AddOp, model::LayerBoundaryOp>(
                [&](auto) { return rowByRow(); })
            .Case<model::SelectRowsOp>([&](auto op) { return selectRows(op); })
            .Case<model::TopCandidatesOp>(
                [&](auto op) { return topCandidates(op); })
            .Case<model::RouterOp, func::ReturnOp>(
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

  /// Sharding of a weight or state, or an error that asks for seeding.
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

  /// The axis that splits a value's rows.
  AxisRef rowsOf(Value value) {
    ShardingAttr sharding = state.ofValue(value);
    return sharding ? sharding.getDims()[0] : AxisRef();
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

  /// Whole rows, split as dist-choose-exchanges says, or else as the operand
  /// that is split.
  LogicalResult rowByRow() {
    AxisRef rows;
    if (auto chosen =
            op->getAttrOfType<AxesAttr>(DistDialect::kTokenAxisAttrName)) {
      if (!chosen.getAxes().empty())
        rows = chosen.getAxes().front();
    } else {
      for (Value operand : op->getOperands())
        if (AxisRef axis = rowsOf(operand))
          rows = axis;
    }
    ShardingAttr matrix = state.matrix(rows, AxisRef());
    rule.operands.assign(op->getNumOperands(), matrix);
    rule.results.push_back(matrix);
    return success();
  }

  /// Indices count the rows of a rank's own replica, so the input must be split
  /// as they are.
  LogicalResult selectRows(model::SelectRowsOp select) {
    ShardingAttr indices = state.ofValue(select.getRows());
    ShardingAttr matrix = state.matrix(indices.getDims()[0], AxisRef());
    rule.operands = {matrix, indices};
    rule.results.push_back(matrix);
    return success();
  }

  /// Rows of the table held elsewhere contribute zero: a partial sum.
  LogicalResult embedding(model::EmbeddingOp embedding) {
    auto table = weight(embedding.getTableAttr());
    if (failed(table))
      return failure();
    AxisRef rows = rowsOf(embedding.getTokens());
    rule.operands.push_back(state.ofValue(embedding.getTokens()));
    rule.results.push_back(
        state.matrix(rows, table->getDims()[1], axesOf(table->getDims()[0])));
    return success();
  }

  /// y[t, n] = sum over k: split rows of the weight split the columns of y, a
  /// split contraction leaves a partial sum. Ranks that hold different rows of
  /// the weight cannot hold different tokens too: tokens are gathered then. So
  /// they are before the router, whose choice the experts need for all tokens.
  LogicalResult linear(model::LinearOp linear) {
    auto sharding = weight(linear.getWeightAttr());
    if (failed(sharding))
      return failure();
    AxisRef out = sharding->getDims()[0], in = sharding->getDims()[1];
    // A rank's replica's tokens at most, never the block of one rank.
    AxisRef rows = replicaAxis(linear);
    if (llvm::any_of(linear->getUsers(), llvm::IsaPred<model::RouterOp>) ||
        mesh.overlap(rows, out) || mesh.overlap(rows, in))
      rows = AxisRef();
    rule.operands.push_back(state.matrix(rows, in));
    rule.results.push_back(state.matrix(rows, out, axesOf(in)));
    return success();
  }

  /// The axis over which replicas hold different tokens: that of the function's
  /// first argument.
  AxisRef replicaAxis(Operation *inner) {
    auto function = inner->getParentOfType<func::FuncOp>();
    return rowsOf(function.getArgument(0));
  }

  /// Sums over split columns are partial. Inputs split by a factor of the axis
  /// (replicated KV heads) are summed over the whole axis, replicas included;
  /// dist-partition makes the divisor count them as often.
  LogicalResult sumOfSquares(model::SumOfSquaresOp sum) {
    AxisRef widest;
    for (Value input : sum.getInputs()) {
      ShardingAttr sharding = state.ofValue(input);
      rule.operands.push_back(sharding);
      AxisRef axis = sharding.getDims()[1];
      if (mesh.factor(axis) > mesh.factor(widest))
        widest = axis;
    }
    for (Value input : sum.getInputs()) {
      AxisRef axis = state.ofValue(input).getDims()[1];
      if (axis && !mesh.isMajorFactor(axis, widest))
        return op->emitError("expected inputs split by one axis or its major "
                             "factors, but got ")
               << state.ofValue(input) << " beside "
               << state.matrix(AxisRef(), widest);
    }
    rule.results.push_back(state.matrix(rowsOf(sum.getInputs().front()),
                                        AxisRef(), axesOf(widest)));
    return success();
  }

  LogicalResult rmsScale(model::RMSScaleOp scale) {
    auto sharding = weight(scale.getWeightAttr());
    if (failed(sharding))
      return failure();
    AxisRef rows = rowsOf(scale.getInput());
    ShardingAttr matrix = state.matrix(rows, sharding->getDims()[0]);
    rule.operands = {matrix, state.matrix(rows, AxisRef())};
    rule.results.push_back(matrix);
    return success();
  }

  /// Heads do not mix, so any split by whole heads passes through.
  LogicalResult rope(model::RopeOp rope) {
    ShardingAttr input = state.ofValue(rope.getInput());
    ShardingAttr matrix = state.matrix(input.getDims()[0], input.getDims()[1]);
    rule.operands = {matrix, state.ofValue(rope.getPositions())};
    rule.results.push_back(matrix);
    return success();
  }

  LogicalResult kvAppend(model::KVAppendOp append) {
    auto cache = weight(append.getCacheAttr());
    if (failed(cache))
      return failure();
    ShardingAttr matrix =
        state.matrix(rowsOf(append.getK()), cache->getDims()[0]);
    rule.operands = {matrix, matrix, ShardingAttr()};
    return success();
  }

  /// Each rank attends with its own query heads, which must be those that its
  /// cache heads serve.
  LogicalResult attention(model::AttentionOp attention) {
    auto cache = weight(attention.getCacheAttr());
    if (failed(cache))
      return failure();
    ShardingAttr input = state.ofValue(attention.getQ());
    AxisRef queries = input.getDims()[1];
    AxisRef heads = cache->getDims()[0];
    auto symbol =
        cast<model::StateOpInterface>(state.symbol(attention.getCache()));
    // Replicas of one head serve any query head; otherwise the cache must be
    // split alike, or by the major factor of what splits the queries.
    bool fits = queries == heads || (!heads && symbol.getStateHeads() == 1) ||
                mesh.isMajorFactor(heads, queries);
    if (!fits) {
      InFlightDiagnostic diag = op->emitError("query heads are split by ")
                                << state.matrix(AxisRef(), queries)
                                << " but cache heads by " << *cache;
      diag.attachNote(symbol.getLoc()) << "cache defined here";
      return diag;
    }
    ShardingAttr matrix = state.matrix(input.getDims()[0], queries);
    rule.operands = {matrix, ShardingAttr()};
    rule.results.push_back(matrix);
    return success();
  }

  /// Heads do not mix: each rank scans those whose state it holds.
  LogicalResult decayScan(model::DecayScanOp scan) {
    auto held = weight(scan.getStateAttr());
    if (failed(held))
      return failure();
    ShardingAttr matrix = state.matrix(rowsOf(scan.getQ()), held->getDims()[0]);
    rule.operands = {matrix, matrix, matrix, ShardingAttr()};
    rule.results.push_back(matrix);
    return success();
  }

  /// Each rank computes its slice of every expert, or its experts, for all
  /// tokens: a partial sum over both splits.
  LogicalResult experts(model::ExpertsOp experts) {
    auto down = weight(experts.getDownAttr());
    if (failed(down))
      return failure();
    for (Value operand : op->getOperands())
      requireReplicated(operand);
    rule.results.push_back(
        state.matrix(AxisRef(), AxisRef(),
                     mesh.merge({down->getDims()[0], down->getDims()[2]})));
    return success();
  }

  /// Rows stay where they are, and so does a split vocabulary: each rank finds
  /// the best of its share, and dist-partition puts the merge behind it.
  LogicalResult topCandidates(model::TopCandidatesOp top) {
    ShardingAttr input = state.ofValue(top.getLogits());
    AxisRef rows = input.getDims()[0];
    rule.operands.push_back(state.matrix(rows, input.getDims()[1]));
    rule.results.assign(2, state.matrix(rows, AxisRef()));
    return success();
  }

  static SmallVector<AxisRef> axesOf(AxisRef axis) {
    return axis ? SmallVector<AxisRef>{axis} : SmallVector<AxisRef>{};
  }

  Operation *op;
  const ShardingState &state;
  const Mesh &mesh;
  ShardingRule rule;
};

} // namespace

FailureOr<ShardingRule>
saddle::dist::getShardingRule(Operation *op, const ShardingState &state) {
  return RuleBuilder(op, state).build();
}
