// The fingerprint of a model description: what the compiler saw and what the
// runtime finds must be the same tensors.

#ifndef SADDLE_RUNTIME_CHECKPOINT_FINGERPRINT_H
#define SADDLE_RUNTIME_CHECKPOINT_FINGERPRINT_H

#include "runtime/src/base/Hash.h"
#include "runtime/src/checkpoint/Checkpoint.h"

namespace saddle {

/// Accumulates (name, dtype, shape) triples. Add them in ascending name order,
/// as Checkpoint::tensors iterates: the order counts. An engine's fingerprint
/// covers the tensors that its weights read, not the ones it ignores.
class Fingerprint {
public:
  void add(const std::string &name, TensorDType dtype,
           const std::vector<uint64_t> &shape);
  /// XXH3-128 of everything added, as 32 lower-case hex digits.
  std::string hex() const { return hasher.hex(); }

private:
  void addText(const char *text, size_t size);
  void addNumber(uint64_t value);

  Hasher128 hasher;
};

/// Fingerprint of a whole checkpoint.
std::string fingerprintOf(const Checkpoint &checkpoint);

} // namespace saddle

#endif // SADDLE_RUNTIME_CHECKPOINT_FINGERPRINT_H
