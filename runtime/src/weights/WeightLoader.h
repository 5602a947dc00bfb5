// Executes weight recipes: checkpoint bytes in, a rank's constant arenas
// filled.

#ifndef SADDLE_RUNTIME_WEIGHTS_WEIGHTLOADER_H
#define SADDLE_RUNTIME_WEIGHTS_WEIGHTLOADER_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Status.h"
#include "runtime/src/weights/WeightImage.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace saddle {

/// What synthetic weights are computed from: docs at
/// weights/SyntheticSource.cpp.
struct SyntheticValues {
  struct Tensor {
    float center, spread; // values are center + spread * uniform
    schema::DType dtype;
    uint64_t rows, cols;           // of a member
    std::vector<uint64_t> streams; // per member of a stack, else one
    uint32_t constant = 0;         // what all words are; 0: random codes
  };
  std::vector<Tensor> tensors; // as engine.sources
};

/// Some rows of one member of a weight, or some whole members. A weight [rows,
/// cols] or [cols] has one member, a stack [stack, rows, cols] that many.
struct WeightPart {
  uint64_t firstMember, members;
  uint64_t firstRow, rows;
};

/// Cuts a weight into parts of at most `mostBytes`, or of one row where that is
/// more, each of which is one range of bytes but for the padding of its rows.
std::vector<WeightPart> splitWeight(const schema::Slice &slice,
                                    uint64_t mostBytes);
/// Bytes from the start of the weight to that of the part, and from a part's
/// first to behind its last element.
uint64_t partOffset(const schema::Slice &slice, const WeightPart &part);
uint64_t partBytes(const schema::Slice &slice, const WeightPart &part);

/// Where the weights of one checkpoint of an engine come from.
struct CheckpointPlace {
  std::string checkpoint; // its name in the engine
  std::string spec;       // a folder or "synthetic:SEED"
};

/// A source of weights for one engine: checkpoints, or values made from seeds.
/// Immutable; ranks may load at the same time.
class WeightSource {
public:
  virtual ~WeightSource() = default;

  /// `spec` is a folder or "synthetic:SEED", for the main checkpoint; `others`
  /// say where the engine's other ones are. A packed folder (PackedFolder.h)
  /// has the weights of all of them. A seed for the main checkpoint
  /// makes those, too, that are not named. `engine` is validated and outlives
  /// the result. InvalidArgument for a checkpoint without a place, and for a
  /// place of a checkpoint that the engine does not read or that is named
  /// twice.
  ///
  /// Of a folder every tensor is compared with the checkpoint's sources first:
  /// missing, extra, mis-shaped or mis-typed tensors and another fingerprint
  /// are Mismatch errors that name the tensors, what the engine expects and
  /// what the folder has. Then all scales are looked at: one that is zero,
  /// negative or no finite number is a DataLoss error that names it.
  ///
  /// Synthetic weights depend on (seed, checkpoint, tensor name, element) only,
  /// so every topology sees the same model; norms are near 1, matrices are
  /// scaled so that activations stay finite.
  static StatusOr<std::unique_ptr<WeightSource>>
  open(const schema::Engine &engine, const std::string &spec,
       const std::vector<CheckpointPlace> &others = {});

  /// Fills `weights` (engine::weightsOf) for `rank`. `arenas[i]` is the base of
  /// arena i (only CONSTANT ones are written). DataLoss when a file was changed
  /// or cut meanwhile.
  virtual Status load(const std::vector<const schema::Weight *> &weights,
                      uint32_t rank,
                      const std::vector<uint8_t *> &arenas) const = 0;

  /// Writes one part of a weight for `rank`; `dest` is where the part's first
  /// element goes, and strides are the slice's. `scratch` is reused working
  /// memory of the caller.
  virtual void loadPart(const schema::Weight &weight, const WeightPart &part,
                        uint32_t rank, uint8_t *dest,
                        std::vector<uint8_t> &scratch) const = 0;

  /// The constant memory of ranks as it is stored, for a source that has it;
  /// else null.
  virtual const WeightImage *image() const { return nullptr; }

  /// What went wrong in any loadPart() so far, and whether the files are still
  /// those that were opened. Ask before the weights are used.
  virtual Status readError() const { return Status(); }

  /// How the values of a source's member are made from a seed; null for any
  /// other source of weights.
  virtual const SyntheticValues *syntheticValues() const { return nullptr; }
};

} // namespace saddle

#endif // SADDLE_RUNTIME_WEIGHTS_WEIGHTLOADER_H
