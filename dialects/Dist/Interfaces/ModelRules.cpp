// How each op of the `model` dialect may be sharded, and what changes in it
// when it is. An op that is model::RowByRow or model::Pointwise needs nothing
// here; any other has a `Rule`, or attachModelRules does not compile.

#include "dialects/Dist/Interfaces/Sharding.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

namespace {

/// The base of a rule; `Op` is a class of the `model` dialect.
template <typename ConcreteRule, typename Op>
using RuleOf = ShardingRuleOpInterface::ExternalModel<ConcreteRule, Op>;

template <typename Op>
struct RowByRowRule : RuleOf<RowByRowRule<Op>, Op> {
  LogicalResult buildRule(Operation *, RuleBuilder &rule) const {
    rule.rowByRow();
    return success();
  }
};

template <typename Op>
struct PointwiseRule : RuleOf<PointwiseRule<Op>, Op> {
  LogicalResult buildRule(Operation *, RuleBuilder &rule) const {
    rule.pointwise();
    return success();
  }
};

/// For ops that are not there while shardings are: they come later, or must be
/// gone.
template <typename ConcreteRule, typename Op>
struct NoRule : RuleOf<ConcreteRule, Op> {
  LogicalResult buildRule(Operation *op, RuleBuilder &) const {
    return op->emitError("op '") << op->getName() << "' has no sharding rule; "
                                 << ConcreteRule::kAdvice;
  }
};

/// The rule of an op that is not row by row.
template <typename Op>
struct Rule;

//===----------------------------------------------------------------------===//
// Dense ops
//===----------------------------------------------------------------------===//

/// Rows of the table held elsewhere contribute zero: a partial sum.
template <>
struct Rule<model::EmbeddingOp>
    : RuleOf<Rule<model::EmbeddingOp>, model::EmbeddingOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto embedding = cast<model::EmbeddingOp>(op);
    auto table = rule.weight(embedding.getTableAttr());
    if (failed(table))
      return failure();
    rule.operandAsIs(embedding.getTokens());
    rule.result(rule.rowsOf(embedding.getTokens()), table->getDims()[1],
                getSummedAxes(op, rule.getState()));
    return success();
  }

  SmallVector<AxisRef> getSummedAxes(Operation *op,
                                     const ShardingState &state) const {
    return axesOf(state.axisOf(cast<model::EmbeddingOp>(op).getTableAttr(), 0));
  }

  LogicalResult localize(Operation *op, Localizer &localizer) const {
    const ShardingState &state = localizer.getState();
    auto embedding = cast<model::EmbeddingOp>(op);
    auto table =
        cast<model::WeightOpInterface>(state.symbol(embedding.getTable()));
    localizer.setStart(DistDialect::kVocabStartAttrName,
                       table.getWeightType().getDimSize(0),
                       state.axisOf(embedding.getTableAttr(), 0));
    return success();
  }
};

/// y[t, n] = sum over k: split rows of the weight split the columns of y, a
/// split contraction leaves a partial sum. Ranks that hold different rows of
/// the weight cannot hold different tokens too: tokens are gathered then. So
/// they are where the result is wanted for all tokens, unless
/// dist-choose-exchanges gathers what follows from it instead.
template <>
struct Rule<model::LinearOp> : RuleOf<Rule<model::LinearOp>, model::LinearOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto weight = rule.weight(cast<model::LinearOp>(op).getWeightAttr());
    if (failed(weight))
      return failure();
    AxisRef out = weight->getDims()[0], in = weight->getDims()[1];
    if (op->hasAttr(DistDialect::kTokenAxisAttrName) && !out && !in) {
      rule.rowByRow();
      return success();
    }
    // A rank's replica's tokens at most, never the share of one rank.
    AxisRef rows = rule.replicaAxis();
    if (llvm::any_of(op->getUsers(), needsAll) ||
        rule.mesh().overlap(rows, out) || rule.mesh().overlap(rows, in))
      rows = AxisRef();
    rule.operand(rows, in);
    rule.result(rows, out, axesOf(in));
    return success();
  }

  SmallVector<AxisRef> getSummedAxes(Operation *op,
                                     const ShardingState &state) const {
    return axesOf(state.axisOf(cast<model::LinearOp>(op).getWeightAttr(), 1));
  }

private:
  static bool needsAll(Operation *user) {
    auto ruled = dyn_cast<ShardingRuleOpInterface>(user);
    return ruled && ruled.needsAllRows();
  }
};

/// Indices count the rows of a rank's own replica, so the input must be split
/// as they are. Columns stay as they are.
template <>
struct Rule<model::SelectRowsOp>
    : RuleOf<Rule<model::SelectRowsOp>, model::SelectRowsOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto select = cast<model::SelectRowsOp>(op);
    AxisRef rows = rule.rowsOf(select.getRows());
    AxisRef columns = rule.columnsOf(select.getInput());
    rule.operand(rows, columns);
    rule.operandAsIs(select.getRows());
    rule.result(rows, columns);
    return success();
  }
};

/// Two partial sums over the same ranks add up to one.
template <>
struct Rule<model::BranchSumOp>
    : RuleOf<Rule<model::BranchSumOp>, model::BranchSumOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto sum = cast<model::BranchSumOp>(op);
    const ShardingState &state = rule.getState();
    AxisRef rows = rule.rowsOf(sum.getLhs());
    ShardingAttr lhs = state.ofValue(sum.getLhs());
    if (lhs && lhs == state.ofValue(sum.getRhs())) {
      rule.operandAsIs(sum.getLhs());
      rule.operandAsIs(sum.getRhs());
      rule.result(rows, rule.columnsOf(sum.getLhs()),
                  llvm::to_vector(lhs.getUnreduced()));
      return success();
    }
    rule.operand(rows, AxisRef());
    rule.operand(rows, AxisRef());
    rule.result(rows, AxisRef());
    return success();
  }

  SmallVector<AxisRef> getSummedAxes(Operation *op,
                                     const ShardingState &state) const {
    auto of = [&](Value branch) {
      auto ruled = branch.getDefiningOp<ShardingRuleOpInterface>();
      return ruled ? ruled.getSummedAxes(state) : SmallVector<AxisRef>();
    };
    SmallVector<AxisRef> lhs = of(op->getOperand(0));
    return lhs == of(op->getOperand(1)) ? lhs : SmallVector<AxisRef>();
  }
};

/// What dist-encode-gathers makes of ops that have been sharded.
template <typename Op>
struct CodesRule : NoRule<Rule<Op>, Op> {
  static constexpr StringLiteral kAdvice =
      "dist-encode-gathers makes it behind dist-partition";
};
template <>
struct Rule<model::EncodeRowsOp> : CodesRule<model::EncodeRowsOp> {};
template <>
struct Rule<model::LinearOfCodesOp> : CodesRule<model::LinearOfCodesOp> {};
template <>
struct Rule<model::ExpertsOfCodesOp> : CodesRule<model::ExpertsOfCodesOp> {};
template <>
struct Rule<model::JoinBytesOp> : CodesRule<model::JoinBytesOp> {};
template <>
struct Rule<model::SplitBytesOp> : CodesRule<model::SplitBytesOp> {};

template <>
struct Rule<model::SplitOp> : NoRule<Rule<model::SplitOp>, model::SplitOp> {
  static constexpr StringLiteral kAdvice =
      "dist-fuse-projections makes it behind dist-partition";
};

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

template <>
struct Rule<model::QKNormOp> : NoRule<Rule<model::QKNormOp>, model::QKNormOp> {
  static constexpr StringLiteral kAdvice = "run model-decompose-qk-norm first";
};

/// Sums over split columns are partial. Inputs split by a factor of the axis
/// (replicated KV heads) are summed over the whole axis, replicas included;
/// rms_scale's divisor counts them as often.
template <>
struct Rule<model::SumOfSquaresOp>
    : RuleOf<Rule<model::SumOfSquaresOp>, model::SumOfSquaresOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    const Mesh &mesh = rule.mesh();
    AxisRef widest;
    for (Value input : op->getOperands()) {
      rule.operandAsIs(input);
      AxisRef axis = rule.columnsOf(input);
      if (mesh.factor(axis) > mesh.factor(widest))
        widest = axis;
    }
    const ShardingState &state = rule.getState();
    for (Value input : op->getOperands()) {
      AxisRef axis = rule.columnsOf(input);
      if (axis && !mesh.isMajorFactor(axis, widest))
        return op->emitError("expected inputs split by one axis or its major "
                             "factors, but got ")
               << state.ofValue(input) << " beside "
               << state.matrix(AxisRef(), widest);
    }
    rule.result(rule.rowsOf(op->getOperand(0)), AxisRef(), axesOf(widest));
    return success();
  }
};

template <>
struct Rule<model::RMSScaleOp>
    : RuleOf<Rule<model::RMSScaleOp>, model::RMSScaleOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto scale = cast<model::RMSScaleOp>(op);
    auto weight = rule.weight(scale.getWeightAttr());
    if (failed(weight))
      return failure();
    AxisRef rows = rule.rowsOf(scale.getInput());
    rule.operand(rows, weight->getDims()[0]);
    rule.operand(rows, AxisRef());
    rule.result(rows, weight->getDims()[0]);
    return success();
  }

  /// The sum over the group holds each column as often as ranks replicate it:
  /// the group's size over the number of different shares.
  LogicalResult localize(Operation *op, Localizer &localizer) const {
    auto scale = cast<model::RMSScaleOp>(op);
    auto reshard = scale.getSums().getDefiningOp<ReshardOp>();
    if (!reshard)
      return success(); // the sum is complete on every rank
    const ShardingState &state = localizer.getState();
    int64_t group = 1;
    for (AxisRef axis : reshard.getFrom().getUnreduced())
      group *= state.mesh().factor(axis);
    AxisRef shares = state.axisOf(scale.getWeightAttr(), 0);
    scale.setDivisor(scale.getDivisor() *
                     (group / state.mesh().factor(shares)));
    return success();
  }
};

/// As the weight is split, so are the columns.
template <>
struct Rule<model::ScaleColumnsOp>
    : RuleOf<Rule<model::ScaleColumnsOp>, model::ScaleColumnsOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto scale = cast<model::ScaleColumnsOp>(op);
    auto weight = rule.weight(scale.getWeightAttr());
    if (failed(weight))
      return failure();
    AxisRef rows = rule.rowsOf(scale.getInput());
    rule.operand(rows, weight->getDims()[0]);
    rule.result(rows, weight->getDims()[0]);
    return success();
  }
};

/// Heads do not mix, so any split by whole heads passes through.
template <>
struct Rule<model::RopeOp> : RuleOf<Rule<model::RopeOp>, model::RopeOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto rope = cast<model::RopeOp>(op);
    AxisRef rows = rule.rowsOf(rope.getInput());
    AxisRef heads = rule.columnsOf(rope.getInput());
    rule.operand(rows, heads);
    rule.operandAsIs(rope.getPositions());
    rule.result(rows, heads);
    return success();
  }
};

template <>
struct Rule<model::KVAppendOp>
    : RuleOf<Rule<model::KVAppendOp>, model::KVAppendOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto append = cast<model::KVAppendOp>(op);
    auto cache = rule.weight(append.getCacheAttr());
    if (failed(cache))
      return failure();
    AxisRef rows = rule.rowsOf(append.getK());
    rule.operand(rows, cache->getDims()[0]);
    rule.operand(rows, cache->getDims()[0]);
    rule.operandAsIs(append.getContext());
    return success();
  }
};

/// Each rank attends with its own query heads, which must be those that its
/// cache heads serve.
template <>
struct Rule<model::AttentionOp>
    : RuleOf<Rule<model::AttentionOp>, model::AttentionOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto attention = cast<model::AttentionOp>(op);
    auto cache = rule.weight(attention.getCacheAttr());
    if (failed(cache))
      return failure();
    const ShardingState &state = rule.getState();
    AxisRef queries = rule.columnsOf(attention.getQ());
    AxisRef heads = cache->getDims()[0];
    auto symbol =
        cast<model::StateOpInterface>(state.symbol(attention.getCache()));
    // Replicas of one head serve any query head; otherwise the cache must be
    // split alike, or by the major factor of what splits the queries.
    bool fits = queries == heads || (!heads && symbol.getStateHeads() == 1) ||
                rule.mesh().isMajorFactor(heads, queries);
    if (!fits) {
      InFlightDiagnostic diag = op->emitError("query heads are split by ")
                                << state.matrix(AxisRef(), queries)
                                << " but cache heads by " << *cache;
      diag.attachNote(symbol.getLoc()) << "cache defined here";
      return diag;
    }
    AxisRef rows = rule.rowsOf(attention.getQ());
    rule.operand(rows, queries);
    rule.operandAsIs(attention.getContext());
    rule.result(rows, queries);
    return success();
  }
};

/// Heads do not mix: each rank scans those whose state it holds.
template <>
struct Rule<model::DecayScanOp>
    : RuleOf<Rule<model::DecayScanOp>, model::DecayScanOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto scan = cast<model::DecayScanOp>(op);
    auto held = rule.weight(scan.getStateAttr());
    if (failed(held))
      return failure();
    AxisRef rows = rule.rowsOf(scan.getQkv());
    AxisRef heads = held->getDims()[0];
    rule.operand(rows, heads);
    rule.operandAsIs(scan.getContext());
    rule.result(rows, heads);
    return success();
  }

  /// Decays are those of the share's heads among all.
  LogicalResult localize(Operation *op, Localizer &localizer) const {
    auto scan = cast<model::DecayScanOp>(op);
    localizer.setStart(DistDialect::kHeadStartAttrName,
                       static_cast<int64_t>(scan.getHeads()),
                       localizer.getState().axisOf(scan.getStateAttr(), 0));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Rows that survive steps
//===----------------------------------------------------------------------===//

/// Every rank of a replica holds the whole rows of the replica's tokens. Sums
/// that are still partial are finished before: what is kept is exact.
template <>
struct Rule<model::KeepRowsOp>
    : RuleOf<Rule<model::KeepRowsOp>, model::KeepRowsOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    rule.operand(rule.replicaAxis(), AxisRef());
    rule.operandAsIs(cast<model::KeepRowsOp>(op).getContext());
    return success();
  }
};

template <>
struct Rule<model::KeepNextRowsOp>
    : RuleOf<Rule<model::KeepNextRowsOp>, model::KeepNextRowsOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto keep = cast<model::KeepNextRowsOp>(op);
    rule.operand(rule.rowsOf(keep.getRows()), AxisRef());
    rule.operandAsIs(keep.getRows());
    rule.operandAsIs(keep.getContext());
    return success();
  }
};

template <>
struct Rule<model::KeptRowsOp>
    : RuleOf<Rule<model::KeptRowsOp>, model::KeptRowsOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    auto kept = cast<model::KeptRowsOp>(op);
    rule.operandAsIs(kept.getPositions());
    rule.operandAsIs(kept.getContext());
    rule.result(rule.rowsOf(kept.getPositions()), AxisRef());
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

/// The experts need the choice for all tokens. Each rank makes it for all, or
/// for its own where dist-choose-exchanges says so.
template <typename Op>
struct RouterRule : RuleOf<Rule<Op>, Op> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    if (op->hasAttr(DistDialect::kTokenAxisAttrName)) {
      rule.rowByRow();
      return success();
    }
    rule.operandsWhole();
    rule.resultsWhole();
    return success();
  }

  bool needsAllRows(Operation *) const { return true; }
};

template <>
struct Rule<model::RouterOp> : RouterRule<model::RouterOp> {};

template <>
struct Rule<model::SoftmaxRouterOp> : RouterRule<model::SoftmaxRouterOp> {};

template <>
struct Rule<model::SharedGateOp> : RouterRule<model::SharedGateOp> {};

/// Each rank computes its slice of every expert, or its experts, for all
/// tokens: a partial sum over both splits.
template <>
struct Rule<model::ExpertsOp>
    : RuleOf<Rule<model::ExpertsOp>, model::ExpertsOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    if (failed(rule.weight(cast<model::ExpertsOp>(op).getDownAttr())))
      return failure();
    rule.operandsWhole();
    rule.result(AxisRef(), AxisRef(), getSummedAxes(op, rule.getState()));
    return success();
  }

  SmallVector<AxisRef> getSummedAxes(Operation *op,
                                     const ShardingState &state) const {
    FlatSymbolRefAttr down = cast<model::ExpertsOp>(op).getDownAttr();
    return state.mesh().merge({state.axisOf(down, 0), state.axisOf(down, 2)});
  }

  bool needsAllRows(Operation *) const { return true; }

  LogicalResult localize(Operation *op, Localizer &localizer) const {
    const ShardingState &state = localizer.getState();
    auto experts = cast<model::ExpertsOp>(op);
    auto down = cast<model::WeightOpInterface>(state.symbol(experts.getDown()));
    localizer.setStart(DistDialect::kExpertStartAttrName,
                       down.getWeightType().getDimSize(0),
                       state.axisOf(experts.getDownAttr(), 0));
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

/// Rows stay where they are, and so does a split vocabulary: each rank finds
/// the best of its share, and a merge follows.
template <>
struct Rule<model::TopCandidatesOp>
    : RuleOf<Rule<model::TopCandidatesOp>, model::TopCandidatesOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    Value logits = cast<model::TopCandidatesOp>(op).getLogits();
    AxisRef rows = rule.rowsOf(logits);
    rule.operand(rows, rule.columnsOf(logits));
    rule.result(rows, AxisRef());
    rule.result(rows, AxisRef());
    return success();
  }

  /// Over a share of the vocabulary: the best of the share, then of all shares,
  /// which follow one another in rank order.
  LogicalResult localize(Operation *op, Localizer &localizer) const {
    auto top = cast<model::TopCandidatesOp>(op);
    const ShardingState &state = localizer.getState();
    ShardingAttr split = state.ofValue(top.getLogits());
    AxisRef axis = split ? split.getDims()[1] : AxisRef();
    int64_t shares = state.mesh().factor(axis);
    if (shares == 1)
      return success();
    AxisRef rows = split.getDims()[0];
    // Producers are local by now.
    int64_t share =
        cast<RankedTensorType>(top.getLogits().getType()).getDimSize(1);
    localizer.setStart(DistDialect::kVocabStartAttrName, share * shares, axis);
    ShardingAttr from = state.matrix(rows, axis);
    ShardingAttr to = state.matrix(rows, AxisRef());
    OpBuilder &builder = localizer.getBuilder();
    SmallVector<Type> whole;
    SmallVector<Value> gathered;
    for (Value result : top.getResults()) {
      auto type = cast<RankedTensorType>(result.getType());
      int64_t kept = std::min(type.getDimSize(1), share);
      int64_t local = type.getDimSize(0) / state.mesh().factor(rows);
      whole.push_back(type.clone({local, type.getDimSize(1)}));
      result.setType(type.clone({type.getDimSize(0), kept}));
      gathered.push_back(ReshardOp::create(builder, top.getLoc(),
                                           type.clone({local, kept * shares}),
                                           result, from, to));
    }
    auto merge = model::MergeCandidatesOp::create(
        builder, top.getLoc(), whole[0], whole[1], gathered[0], gathered[1]);
    for (auto [best, merged, gather] :
         llvm::zip_equal(top.getResults(), merge.getResults(), gathered))
      best.replaceAllUsesExcept(merged, gather.getDefiningOp());
    return success();
  }
};

template <>
struct Rule<model::MergeCandidatesOp>
    : NoRule<Rule<model::MergeCandidatesOp>, model::MergeCandidatesOp> {
  static constexpr StringLiteral kAdvice = "dist-partition makes it";
};

/// The table is whole on every rank.
template <>
struct Rule<model::MapTokensOp>
    : RuleOf<Rule<model::MapTokensOp>, model::MapTokensOp> {
  LogicalResult buildRule(Operation *op, RuleBuilder &rule) const {
    AxisRef rows = rule.rowsOf(cast<model::MapTokensOp>(op).getTokens());
    rule.operand(rows, AxisRef());
    rule.result(rows, AxisRef());
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Attaching
//===----------------------------------------------------------------------===//

template <typename Op>
void attach(MLIRContext *context) {
  if constexpr (Op::template hasTrait<SymbolOpInterface::Trait>())
    return;
  else if constexpr (Op::template hasTrait<model::RowByRow>())
    Op::template attachInterface<RowByRowRule<Op>>(*context);
  else if constexpr (Op::template hasTrait<model::Pointwise>())
    Op::template attachInterface<PointwiseRule<Op>>(*context);
  else
    Op::template attachInterface<Rule<Op>>(*context);
}

template <typename... Ops>
void attachAll(MLIRContext *context) {
  (attach<Ops>(context), ...);
}

} // namespace

void saddle::dist::attachModelRules(MLIRContext *context) {
  attachAll<
#define GET_OP_LIST
#include "dialects/Model/IR/ModelOps.cpp.inc"
      >(context);
}
