// What an op says about the symbols that it names: which weights and state it
// uses, and what others may do with them.

#ifndef SADDLE_DIALECTS_MODEL_INTERFACES_SYMBOLUSES_H
#define SADDLE_DIALECTS_MODEL_INTERFACES_SYMBOLUSES_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/OpDefinition.h"

#include <optional>

namespace saddle::model {

/// How much of a weight one step reads.
enum class WeightRead {
  /// All of it.
  Whole,
  /// One row for each token.
  Rows,
  /// Members of a stack: those that the tokens' choice names.
  Members,
};

/// One weight that an op names.
struct WeightUse {
  mlir::FlatSymbolRefAttr symbol;
  WeightRead read = WeightRead::Whole;
  /// [tokens, choices] of i32, for `Members`.
  mlir::Value choice = {};
  /// Whether the op wants exact f32 values, whatever the checkpoint stores.
  bool widens = false;
  /// The dimension along which weights over one input may be laid behind one
  /// another, when their products are wanted side by side.
  std::optional<int64_t> joins = std::nullopt;
};

/// One piece of state that an op names.
struct StateUse {
  mlir::FlatSymbolRefAttr symbol;
  bool reads = false;
  bool writes = false;
};

class WeightUserOpInterface;

/// Names `change(use)` in the place of each weight that `op` uses.
void replaceWeights(
    WeightUserOpInterface op,
    llvm::function_ref<mlir::FlatSymbolRefAttr(const WeightUse &)> change);

/// Every symbol that the op names is among its weights or its state, so that
/// nobody has to know the op's class to find them.
template <typename ConcreteType>
struct DeclaresSymbols
    : mlir::OpTrait::TraitBase<ConcreteType, DeclaresSymbols> {
  static llvm::LogicalResult verifyTrait(mlir::Operation *op);
};

/// What `DeclaresSymbols` checks.
llvm::LogicalResult verifySymbolsDeclared(mlir::Operation *op);

template <typename ConcreteType>
llvm::LogicalResult
DeclaresSymbols<ConcreteType>::verifyTrait(mlir::Operation *op) {
  return verifySymbolsDeclared(op);
}

/// Each row of the result comes from the same row of the operands, whole.
template <typename ConcreteType>
struct RowByRow : mlir::OpTrait::TraitBase<ConcreteType, RowByRow> {};

/// Each element of the result comes from those in its place.
template <typename ConcreteType>
struct Pointwise : mlir::OpTrait::TraitBase<ConcreteType, Pointwise> {};

/// Normalises each row of its input.
template <typename ConcreteType>
struct NormalizesRows : mlir::OpTrait::TraitBase<ConcreteType, NormalizesRows> {
};

} // namespace saddle::model

#endif // SADDLE_DIALECTS_MODEL_INTERFACES_SYMBOLUSES_H
