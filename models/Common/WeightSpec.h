// A weight as the import sees it: its logical dimensions, and the checkpoint
// tensors behind it. A stack of equal tensors (the experts of a layer) is one
// weight, so that the description of a whole model stays small.

#ifndef SADDLE_MODELS_COMMON_WEIGHTSPEC_H
#define SADDLE_MODELS_COMMON_WEIGHTSPEC_H

#include "runtime/src/checkpoint/Checkpoint.h"

#include <cstdint>
#include <string>
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

/// What a tensor beside a quantised weight holds.
enum class CompanionRole {
  Scale, // value = stored * scale
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

/// For messages.
inline const char *roleName(CompanionRole role) {
  switch (role) {
  case CompanionRole::Scale:
    return "scale";
  }
  return "companion";
}

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_WEIGHTSPEC_H
