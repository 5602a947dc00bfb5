// A checkpoint tensor that a model expects, or a stack of equal ones (the
// experts of a layer), in a form small enough to hold a whole model.

#ifndef SADDLE_MODELS_WEIGHTSPEC_H
#define SADDLE_MODELS_WEIGHTSPEC_H

#include "runtime/src/checkpoint/Checkpoint.h"

#include <cstdint>
#include <string>
#include <vector>

namespace saddle {

/// With `stack` > 0 both names hold one "{}" that stands for 0 .. stack-1, and
/// the shapes are those of one member, as in engine.fbs `Source`.
struct WeightSpec {
  std::string name;
  uint64_t stack = 0;
  TensorDType dtype = TensorDType::BF16;
  std::vector<uint64_t> shape;
  /// F32 factors, one per block: value = stored * scale. Empty without scales.
  std::string scaleName;
  std::vector<uint64_t> scaleShape;

  bool hasScale() const { return !scaleName.empty(); }
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

} // namespace saddle

#endif // SADDLE_MODELS_WEIGHTSPEC_H
