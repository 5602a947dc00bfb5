// What is known of shardings in a module, and the vocabulary in which ops say
// how they may be split (ShardingRuleOpInterface).

#ifndef SADDLE_DIALECTS_DIST_INTERFACES_SHARDING_H
#define SADDLE_DIALECTS_DIST_INTERFACES_SHARDING_H

#include "dialects/Dist/IR/DistDialect.h"

#include "mlir/IR/Builders.h"

namespace saddle::dist {

/// The name of the mesh that dist-attach-mesh creates.
inline constexpr llvm::StringLiteral kMeshName = "mesh";

/// Shardings of weights and caches by symbol, and of values as far as known.
class ShardingState {
public:
  explicit ShardingState(mlir::ModuleOp module);

  mlir::FlatSymbolRefAttr meshName() const { return name; }
  const Mesh &mesh() const { return value; }
  /// Whether the module has a mesh.
  bool hasMesh() const { return found; }

  /// Sharding of a weight or cache symbol; null when it has none.
  ShardingAttr ofSymbol(mlir::FlatSymbolRefAttr symbol) const;
  mlir::Operation *symbol(llvm::StringRef name) const;
  /// The axis that splits one dimension of a weight or cache; none when it is
  /// not split, or has no such dimension.
  AxisRef axisOf(mlir::FlatSymbolRefAttr symbol, unsigned dim) const;

  /// Sharding of a value: its producer's attribute; for function arguments
  /// theirs, or replicated. Null for values that are not tensors.
  ShardingAttr ofValue(mlir::Value value) const;

  ShardingAttr replicated(int64_t rank) const {
    return ShardingAttr::getReplicated(name, rank);
  }
  /// Rank 2 with rows (tokens) and columns split by the given axes, partial
  /// over `unreduced`.
  ShardingAttr matrix(AxisRef rows, AxisRef columns,
                      llvm::ArrayRef<AxisRef> unreduced = {}) const;

  /// One rank's share of a tensor. Null when the sharding does not fit: another
  /// rank, an axis that the mesh has not, a dimension that does not divide.
  mlir::RankedTensorType shareOf(mlir::RankedTensorType type,
                                 ShardingAttr sharding) const;

private:
  mlir::SymbolTable symbols;
  mlir::FlatSymbolRefAttr name;
  Mesh value;
  bool found = false;
};

/// What an op asks of its operands and gives for its results. An entry of
/// `operands` is null for an operand that is not a tensor.
struct ShardingRule {
  llvm::SmallVector<ShardingAttr> operands;
  llvm::SmallVector<ShardingAttr> results;
};

/// The rule of `op` given its operands' current shardings. Fails with an error
/// at the op when no rule fits.
llvm::FailureOr<ShardingRule> getShardingRule(mlir::Operation *op,
                                              const ShardingState &state);

/// The words of a rule. Operands and results are named in order. Rows are
/// tokens: attention replicas hold different ones, and every op that works row
/// by row keeps them where they are.
class RuleBuilder {
public:
  RuleBuilder(mlir::Operation *op, const ShardingState &state)
      : op(op), state(state) {}

  const ShardingState &getState() const { return state; }
  const Mesh &mesh() const { return state.mesh(); }

  /// Sharding of a weight or cache, or an error that asks for seeding.
  llvm::FailureOr<ShardingAttr> weight(mlir::FlatSymbolRefAttr symbol);
  /// The axis that splits a value's rows, or its columns.
  AxisRef rowsOf(mlir::Value value) const { return axisOf(value, 0); }
  AxisRef columnsOf(mlir::Value value) const { return axisOf(value, 1); }
  /// The axis over which replicas hold different tokens: that of the function's
  /// first argument.
  AxisRef replicaAxis() const;

  /// The next operand is wanted split so, ...
  void operand(AxisRef rows, AxisRef columns) {
    rule.operands.push_back(state.matrix(rows, columns));
  }
  /// ... as it is, or null for no tensor, ...
  void operandAsIs(mlir::Value value) {
    rule.operands.push_back(state.ofValue(value));
  }
  /// ... or all of them whole.
  void operandsWhole();
  /// The next result is split so, and partial over some axes; or whole.
  void result(AxisRef rows, AxisRef columns,
              llvm::ArrayRef<AxisRef> unreduced = {}) {
    rule.results.push_back(state.matrix(rows, columns, unreduced));
  }
  void resultsWhole();
  /// Operands and results of whole rows, split as dist-choose-exchanges says,
  /// or else as the operand that is split.
  void rowByRow();
  /// Operands and results split as the first operand is.
  void pointwise();

private:
  friend llvm::FailureOr<ShardingRule> getShardingRule(mlir::Operation *,
                                                       const ShardingState &);
  AxisRef axisOf(mlir::Value value, unsigned dim) const;
  /// Rules may look at any operand, so each must have a sharding that fits it.
  llvm::LogicalResult verifyOperands() const;

  mlir::Operation *op;
  const ShardingState &state;
  ShardingRule rule;
};

/// What an op may do when dist-partition makes it one rank's.
class Localizer {
public:
  Localizer(mlir::Operation *op, const ShardingState &state)
      : op(op), state(state), builder(op->getContext()) {
    builder.setInsertionPointAfter(op);
  }

  const ShardingState &getState() const { return state; }
  /// Inserts behind the op; what it inserts is local.
  mlir::OpBuilder &getBuilder() { return builder; }

  /// Sets the constant `attrName` to the first index that a rank holds of
  /// `extent`, split by `axis`.
  void setStart(llvm::StringRef attrName, int64_t extent, AxisRef axis);

private:
  mlir::Operation *op;
  const ShardingState &state;
  mlir::OpBuilder builder;
};

/// `axis` as a list; empty for none.
inline llvm::SmallVector<AxisRef> axesOf(AxisRef axis) {
  return axis ? llvm::SmallVector<AxisRef>{axis} : llvm::SmallVector<AxisRef>{};
}

} // namespace saddle::dist

#include "dialects/Dist/Interfaces/ShardingRuleOpInterface.h.inc"

namespace saddle::dist {

/// Gives every op of the `model` dialect, which must be loaded, its rule.
void attachModelRules(mlir::MLIRContext *context);

} // namespace saddle::dist

#endif // SADDLE_DIALECTS_DIST_INTERFACES_SHARDING_H
