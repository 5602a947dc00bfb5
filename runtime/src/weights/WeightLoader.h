// Executes weight recipes: checkpoint bytes in, a rank's constant arenas
// filled.

#ifndef SADDLE_RUNTIME_WEIGHTS_WEIGHTLOADER_H
#define SADDLE_RUNTIME_WEIGHTS_WEIGHTLOADER_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Status.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace saddle {

/// A source of weights for one engine: a mapped checkpoint, or values made from
/// a seed. Immutable; ranks may load at the same time.
class WeightSource {
public:
  virtual ~WeightSource() = default;

  /// `spec` is a folder or "synthetic:SEED". `engine` is validated and outlives
  /// the result.
  ///
  /// Of a folder every tensor is compared with the engine's sources first:
  /// missing, extra, mis-shaped or mis-typed tensors and another fingerprint
  /// are Mismatch errors that name the tensors, what the engine expects and
  /// what the folder has.
  ///
  /// Synthetic weights depend on (seed, tensor name, element) only, so every
  /// topology sees the same model; norms are near 1, matrices are scaled so
  /// that activations stay finite.
  static StatusOr<std::unique_ptr<WeightSource>>
  open(const schema::Engine &engine, const std::string &spec);

  /// Fills the weights of `program` for `rank`. `arenas[i]` is the base of
  /// arena i (only CONSTANT ones are written).
  virtual Status load(const schema::Program &program, uint32_t rank,
                      const std::vector<uint8_t *> &arenas) const = 0;
};

} // namespace saddle

#endif // SADDLE_RUNTIME_WEIGHTS_WEIGHTLOADER_H
