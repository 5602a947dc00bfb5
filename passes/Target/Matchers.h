// What the patterns of several targets look for.

#ifndef SADDLE_PASSES_TARGET_MATCHERS_H
#define SADDLE_PASSES_TARGET_MATCHERS_H

#include "passes/Target/Fusion.h"

namespace saddle {

/// The only user of kind OpTy of `value`, if there is exactly one.
template <typename OpTy>
OpTy soleUser(mlir::Value value) {
  OpTy found;
  for (mlir::Operation *user : value.getUsers())
    if (auto op = mlir::dyn_cast<OpTy>(user)) {
      if (found)
        return {};
      found = op;
    }
  return found;
}

/// The product that alone reads `value` and quantises what it reads; null
/// without one.
model::LinearOp quantisedReader(mlir::Value value);

/// A residual add, model.add or model.scaled_add, and the norm of its sum.
template <typename AddOp>
struct AddNormOps {
  AddOp add;
  model::RMSNormOp norm;

  /// Whether others than the norm read the sum. None do where the norm is the
  /// next residual, as in post-norm layers.
  bool sumLeaves() { return !add->hasOneUse(); }
};

/// The pair whose norm is `anchor`; none if it is no norm, or of no such sum.
template <typename AddOp = model::AddOp>
std::optional<AddNormOps<AddOp>> matchAddNorm(mlir::Operation *anchor) {
  auto norm = mlir::dyn_cast<model::RMSNormOp>(anchor);
  auto add = norm ? norm.getInput().template getDefiningOp<AddOp>() : AddOp();
  if (!add)
    return std::nullopt;
  return AddNormOps<AddOp>{add, norm};
}

/// The norm of q and k over all their heads, on the way into the cache. Each
/// value plays its part: column 0 of the sums scales the first input, which is
/// q, column 1 the second, which ends up as keys in the cache.
struct QKNormOps {
  model::SumOfSquaresOp sums;
  dist::AllReduceOp reduce; // null where a rank holds all heads
  model::RMSScaleOp scaleQ, scaleK;
  model::RopeOp ropeQ, ropeK;
  /// Of a cache with stored scales, else null: keys and values are divided by
  /// them, queries multiplied.
  model::ScaleOp cacheK, cacheV, query;
  model::KVAppendOp append;

  /// In block order.
  llvm::SmallVector<mlir::Operation *> ops() const;

  static llvm::ArrayRef<Fusion::Part> pattern();
  /// "qk_norm[_all_reduce]_rope[_scale]_kv_append".
  static std::string signature(llvm::ArrayRef<mlir::Operation *> ops);
};

/// The ops of the norm that begins at `anchor`; none unless all are there.
std::optional<QKNormOps> matchQKNorm(mlir::Operation *anchor);

/// The norm of rows that ranks may share by heads, and the gate behind it.
struct NormGateOps {
  model::SumOfSquaresOp squares;
  dist::AllReduceOp reduce; // null where a rank holds whole rows
  model::RMSScaleOp scale;
  model::SigmoidGateOp gate;

  /// Whether nobody else reads what is between: only the gated rows leave.
  bool keepsTheRest() {
    return squares->hasOneUse() && scale->hasOneUse() &&
           (!reduce || reduce->hasOneUse());
  }
  /// In block order.
  llvm::SmallVector<mlir::Operation *> ops() const;
  static llvm::ArrayRef<Fusion::Part> pattern();
  /// "norm[_all_reduce]_gate".
  static std::string signature(llvm::ArrayRef<mlir::Operation *> ops);
};

/// The ops of the norm that begins at `anchor`; none unless all are there.
std::optional<NormGateOps> matchNormGate(mlir::Operation *anchor);

} // namespace saddle

#endif // SADDLE_PASSES_TARGET_MATCHERS_H
