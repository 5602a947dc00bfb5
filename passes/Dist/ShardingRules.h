// How each op of the `model` dialect behaves under sharding: the one place
// that dist-propagate, dist-insert-reshards and dist-partition share.

#ifndef SADDLE_PASSES_DIST_SHARDINGRULES_H
#define SADDLE_PASSES_DIST_SHARDINGRULES_H

#include "dialects/Dist/IR/DistDialect.h"

namespace saddle::dist {

/// The name of the mesh that dist-attach-mesh creates.
inline constexpr llvm::StringLiteral kMeshName = "mesh";

/// What an op asks of its operands and gives for its results. An entry of
/// `operands` is null for an operand that is not a tensor.
struct ShardingRule {
  llvm::SmallVector<ShardingAttr> operands;
  llvm::SmallVector<ShardingAttr> results;
};

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

private:
  mlir::SymbolTable symbols;
  mlir::FlatSymbolRefAttr name;
  Mesh value;
  bool found = false;
};

/// The rule of `op` given its operands' current shardings. Fails with an error
/// at the op when no rule fits.
llvm::FailureOr<ShardingRule> getShardingRule(mlir::Operation *op,
                                              const ShardingState &state);

} // namespace saddle::dist

#endif // SADDLE_PASSES_DIST_SHARDINGRULES_H
