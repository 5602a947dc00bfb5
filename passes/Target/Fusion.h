// What a target runs as one launch: which ops, under which constraints, and how
// a group of them is launched. One object per fusion, in the target's folder.

#ifndef SADDLE_PASSES_TARGET_FUSION_H
#define SADDLE_PASSES_TARGET_FUSION_H

#include "dialects/Dist/IR/DistDialect.h"
#include "dialects/Kernel/IR/KernelDialect.h"
#include "dialects/Model/IR/ModelDialect.h"

#include <optional>
#include <string>

namespace saddle {

/// An operand of a launch, named at the kernel level.
struct LaunchOperand {
  enum class Kind { Value, Weight, Keys, Values, Slots };

  static LaunchOperand value(mlir::Value value) {
    return {Kind::Value, value, {}};
  }
  /// A weight, by its symbol.
  static LaunchOperand weight(llvm::StringRef symbol) {
    return {Kind::Weight, {}, symbol};
  }
  /// The keys and the values of a cache, by its symbol.
  static LaunchOperand keys(llvm::StringRef symbol) {
    return {Kind::Keys, {}, symbol};
  }
  static LaunchOperand values(llvm::StringRef symbol) {
    return {Kind::Values, {}, symbol};
  }
  /// Where the step's tokens stand in caches.
  static LaunchOperand slots() { return {Kind::Slots, {}, {}}; }

  Kind kind;
  mlir::Value tensor;
  llvm::StringRef symbol;
};

/// One launch that computes a group's body.
struct FusedLaunch {
  /// The op of the body whose place in the model and whose rows are the
  /// launch's.
  mlir::Operation *place;
  /// The runtime's op (docs/Runtime.md), its constants and operands.
  std::string op;
  llvm::SmallVector<mlir::NamedAttribute> constants;
  llvm::SmallVector<LaunchOperand> inputs;
  /// Results of the body's ops, and state.
  llvm::SmallVector<LaunchOperand> outputs;
  /// Null unless the launch exchanges data with the ranks along these axes.
  dist::AxesAttr exchange;
};

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
  /// all constraints met; none when `anchor` is no anchor of this fusion. Ops
  /// are of one block.
  virtual llvm::SmallVector<mlir::Operation *>
  match(mlir::Operation *anchor) const = 0;

  /// What reports call a group of these ops.
  virtual std::string signature(llvm::ArrayRef<mlir::Operation *>) const {
    return fusionName.str();
  }

  /// The launch of a group that holds a match; none when the body is no match,
  /// or when the target runs such groups op by op.
  std::optional<FusedLaunch> launch(kernel::GroupOp group) const;

protected:
  /// The launch of matched ops; none: they run op by op.
  virtual std::optional<FusedLaunch>
  launchOf(llvm::ArrayRef<mlir::Operation *>) const {
    return std::nullopt;
  }

private:
  llvm::StringLiteral fusionName;
  llvm::SmallVector<Part> pattern;
};

} // namespace saddle

#endif // SADDLE_PASSES_TARGET_FUSION_H
