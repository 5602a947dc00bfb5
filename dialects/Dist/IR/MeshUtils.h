// Axis algebra: pure functions on meshes and axis references.

#ifndef SADDLE_DIALECTS_DIST_IR_MESHUTILS_H
#define SADDLE_DIALECTS_DIST_IR_MESHUTILS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/ADT/SmallVector.h"

#include <string>
#include <vector>

namespace saddle::dist {

/// A mesh axis, or a factor of one. Without a name it refers to nothing (an
/// unsplit dimension). `size` 0 means the whole axis; otherwise the axis is
/// seen as [pre, size, rest] and the factor `size` is meant.
struct AxisRef {
  mlir::StringAttr name;
  int64_t pre = 1;
  int64_t size = 0;

  explicit operator bool() const { return static_cast<bool>(name); }
  bool isWhole() const { return size == 0; }
  bool operator==(const AxisRef &other) const {
    return name == other.name && pre == other.pre && size == other.size;
  }
  bool operator!=(const AxisRef &other) const { return !(*this == other); }
};

inline llvm::hash_code hash_value(const AxisRef &axis) {
  return llvm::hash_combine(axis.name.getAsOpaquePointer(), axis.pre,
                            axis.size);
}

/// The share of `rank` along an axis is (rank / divisor) % modulus.
struct RankIndex {
  int64_t divisor;
  int64_t modulus;
};

/// A mesh by value; ranks are row-major over the axes.
struct Mesh {
  llvm::SmallVector<std::string> names;
  llvm::SmallVector<int64_t> sizes;

  int64_t size() const;
  /// Size of the named axis, 0 when there is none.
  int64_t axisSize(llvm::StringRef name) const;
  /// Number of shares that `axis` makes; 1 for no axis. The axis must exist.
  int64_t factor(AxisRef axis) const;
  /// Which share of `axis` a rank holds.
  RankIndex rankIndex(AxisRef axis) const;
  /// Ranks that differ only along `axes`, each group in rank order, groups in
  /// the order of their first rank.
  std::vector<std::vector<int64_t>> groups(llvm::ArrayRef<AxisRef> axes) const;
  /// A reference in its simplest form: nothing for a factor of 1, a whole axis
  /// where the factor is all of it.
  AxisRef simplify(AxisRef axis) const;
  /// Whether two references have a rank digit in common.
  bool overlap(AxisRef a, AxisRef b) const;
  /// Whether `part` is `whole` or its major factor.
  bool isMajorFactor(AxisRef part, AxisRef whole) const;
  /// Joins neighbouring factors: ["tp":(1)2, "tp":(2)4] of 8 is ["tp"].
  llvm::SmallVector<AxisRef> merge(llvm::ArrayRef<AxisRef> axes) const;
  /// What is left of `axes` without `part`, which lies inside one of them.
  llvm::SmallVector<AxisRef> remove(llvm::ArrayRef<AxisRef> axes,
                                    AxisRef part) const;
  /// Whether `axis` is on this mesh: known name, and a partial reference whose
  /// pre * size divides the axis.
  bool has(AxisRef axis) const;
  /// Whether a rank's shares of two axes of this mesh are independent: other
  /// axes, or factors of one axis of which one ends where the other begins or
  /// before, so that each is a digit of the rank's index along the axis.
  bool disjoint(AxisRef a, AxisRef b) const;
};

} // namespace saddle::dist

#endif // SADDLE_DIALECTS_DIST_IR_MESHUTILS_H
