// A weight as the import sees it: its logical dimensions, and the checkpoint
// tensors behind it. A stack of equal tensors (the experts of a layer) is one
// weight, so that the description of a whole model stays small.

#ifndef SADDLE_MODELS_COMMON_WEIGHTSPEC_H
#define SADDLE_MODELS_COMMON_WEIGHTSPEC_H

#include "runtime/src/checkpoint/Checkpoint.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace saddle {

/// One dimension of a weight. `name` says what it counts ("q_heads"; the known
/// names stand in passes/Dist/SeedShardings.cpp). `unit` elements stay together
/// when it is split, such as the values of one head; it divides `extent`.
struct Dimension {
  std::string name;
  uint64_t extent;
  uint64_t unit = 1;
};

/// What a tensor beside a quantised weight holds:
/// value = (code - zero) * scale, and a global scale scales the scales.
enum class CompanionRole { Scale, Zero, GlobalScale };

/// What the values of a tensor are, when its dtype does not say it.
enum class Elements { AsStored, UInt4, UInt8, E2M1, E8M0 };

/// How a matrix lies in a checkpoint's tensor.
struct TensorLayout {
  Elements elements = Elements::AsStored;
  /// Places of the values in a word, counted from the lowest bits; empty: the
  /// tensor's elements are single values.
  std::vector<int64_t> order = {};
  /// Values of a word are neighbours in a column of the tensor, not in a row.
  bool alongRows = false;
  /// The tensor has columns first.
  bool transposed = false;

  /// Of the tensor that holds a matrix of that shape.
  std::vector<uint64_t> storedShape(uint64_t rows, uint64_t columns) const {
    std::vector<uint64_t> shape = {rows, columns};
    if (transposed)
      std::swap(shape[0], shape[1]);
    if (!order.empty()) {
      uint64_t &along = shape[alongRows ? 0 : 1];
      along = (along + order.size() - 1) / order.size();
    }
    return shape;
  }
};

/// A tensor without which the codes of a quantised weight mean nothing. With a
/// stack the name holds the same "{}", and the shape is that of one member.
struct Companion {
  CompanionRole role;
  std::string name;
  TensorDType dtype;
  std::vector<uint64_t> shape;
  /// Rows and columns of the weight that share one element; 0: all.
  uint64_t blockRows, blockColumns;
  /// A checkpoint may store F32, BF16 or F16 instead of `dtype`, which then is
  /// what it stores.
  bool anyFloat = false;
  TensorLayout layout = {};
  /// Added to each value, modulo the number of values.
  int64_t plus = 0;
  /// Of a global scale: scales are divided by it.
  bool divides = false;
  /// Of floats: what they are divided by; 0: nothing.
  int64_t over = 0;
};

/// With `stack` > 0 every name holds one "{}" that stands for 0 .. stack-1, and
/// the shapes are those of one member, as in engine.fbs `Source`.
struct WeightSpec {
  std::string name;
  uint64_t stack = 0;
  TensorDType dtype = TensorDType::BF16;
  std::vector<uint64_t> shape;
  /// Empty for a weight that is stored as its values.
  std::vector<Companion> companions;
  TensorLayout layout = {};
  /// Added to every code, modulo their number, and taken off what that gives.
  int64_t plus = 0, offset = 0;
  /// Columns that are rotated together (engine.fbs `Storage`); 0: none.
  int64_t rotated = 0;
  /// Bytes that a checkpoint may call I8 or U8 instead.
  bool anyByte = false;

  bool isQuantised() const { return !companions.empty(); }
  /// Null when the weight has none of that role.
  const Companion *companion(CompanionRole role) const {
    for (const Companion &candidate : companions)
      if (candidate.role == role)
        return &candidate;
    return nullptr;
  }
  /// Tensors behind one name: `stack`, or 1.
  uint64_t members() const { return stack ? stack : 1; }
};

/// A tensor that may be in the checkpoint and that no weight reads.
struct IgnoredWeight {
  WeightSpec spec;
  std::string reason;
  /// Of a vector of I32: element i must be i / group; 0: whatever it holds.
  uint64_t group = 0;
  /// All of it must be zero.
  bool zero = false;
  /// As Companion.
  bool anyFloat = false;
};

/// `name` with "{}" replaced by `member`; `name` itself when it has none.
inline std::string memberName(const std::string &name, uint64_t member) {
  size_t hole = name.find("{}");
  if (hole == std::string::npos)
    return name;
  std::string full = name;
  full.replace(hole, 2, std::to_string(member));
  return full;
}

/// "x.q_proj" of "x.q_proj.weight".
inline std::string moduleName(const std::string &tensor) {
  return tensor.substr(0, tensor.rfind('.'));
}

/// For messages.
inline const char *roleName(CompanionRole role) {
  switch (role) {
  case CompanionRole::Scale:
    return "scale";
  case CompanionRole::Zero:
    return "zero point";
  case CompanionRole::GlobalScale:
    return "global scale";
  }
  return "companion";
}

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_WEIGHTSPEC_H
