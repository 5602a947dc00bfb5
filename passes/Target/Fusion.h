// What a target runs as one launch: which ops, under which constraints. One
// object per fusion, in the target's folder. What the launch computes is the
// group's body, so nothing here says it again.

#ifndef SADDLE_PASSES_TARGET_FUSION_H
#define SADDLE_PASSES_TARGET_FUSION_H

#include "dialects/Dist/IR/DistDialect.h"
#include "dialects/Kernel/IR/KernelDialect.h"
#include "dialects/Model/IR/ModelDialect.h"

#include <string>

namespace saddle {

/// Ops that a target runs as one launch. Objects live as long as the program.
class Fusion {
public:
  /// One op of the pattern, in block order.
  struct Part {
    mlir::TypeID op;
    bool optional = false;
  };
  template <typename OpTy>
  static Part part() {
    return {mlir::TypeID::get<OpTy>()};
  }
  template <typename OpTy>
  static Part optionalPart() {
    return {mlir::TypeID::get<OpTy>(), true};
  }

  Fusion(llvm::StringLiteral name, llvm::ArrayRef<Part> pattern)
      : fusionName(name), pattern(pattern) {}
  virtual ~Fusion() = default;

  llvm::StringRef name() const { return fusionName; }

  /// Whether ops of these kinds, one after the other on the same values, are
  /// one launch: what the cost model asks before there are groups.
  bool covers(llvm::ArrayRef<mlir::TypeID> ops) const;

  /// The ops, in block order, that go with `anchor`, every one in its part and
  /// all constraints met; the launch's place in the model is the anchor's. None
  /// when `anchor` is no anchor of this fusion. Ops
  /// are of one block.
  virtual llvm::SmallVector<mlir::Operation *>
  match(mlir::Operation *anchor) const = 0;

  /// What reports call a group of these ops.
  virtual std::string signature(llvm::ArrayRef<mlir::Operation *>) const {
    return fusionName.str();
  }

  /// Whether the target has a kernel for groups of this fusion; otherwise they
  /// are for reports, and run op by op.
  virtual bool isOneLaunch() const { return true; }

  /// Whether the group's ops are a match, as when they were grouped.
  bool matches(kernel::GroupOp group) const;

private:
  llvm::StringLiteral fusionName;
  llvm::SmallVector<Part> pattern;
};

} // namespace saddle

#endif // SADDLE_PASSES_TARGET_FUSION_H
