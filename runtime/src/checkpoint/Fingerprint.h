// The fingerprint of a model description: what the compiler saw and what the runtime finds must be the same tensors.

#ifndef SADDLE_RUNTIME_CHECKPOINT_FINGERPRINT_H
#define SADDLE_RUNTIME_CHECKPOINT_FINGERPRINT_H

#include "runtime/src/checkpoint/Checkpoint.h"

namespace saddle {

/// Accumulates (name, dtype, shape) triples; the result does not depend on the order of `add` calls' names only if the caller adds
/// them in ascending name order, as Checkpoint::tensors iterates.
class Fingerprint {
public:
  Fingerprint();
  ~Fingerprint();
  Fingerprint(const Fingerprint &) = delete;
  Fingerprint &operator=(const Fingerprint &) = delete;

  void add(const std::string &name, TensorDType dtype, const std::vector<uint64_t> &shape);
  /// XXH3-128 of everything added, as 32 lower-case hex digits.
  std::string hex() const;

private:
  struct State;
  std::unique_ptr<State> state;
};

/// Fingerprint of a whole checkpoint.
std::string fingerprintOf(const Checkpoint &checkpoint);

} // namespace saddle

#endif // SADDLE_RUNTIME_CHECKPOINT_FINGERPRINT_H
