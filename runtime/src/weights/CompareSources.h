// Compares what an engine expects with what a checkpoint folder has.

#ifndef SADDLE_RUNTIME_WEIGHTS_COMPARESOURCES_H
#define SADDLE_RUNTIME_WEIGHTS_COMPARESOURCES_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/checkpoint/Checkpoint.h"

#include <vector>

namespace saddle::weights {

/// The checkpoint's tensors in the engine's order: [source][member]; empty for
/// ignored sources and those of other checkpoints. Pointers into the
/// checkpoint.
using MatchedTensors = std::vector<std::vector<const TensorInfo *>>;

/// How engines call a tensor's dtype; UNKNOWN when they do not.
schema::DType schemaDType(TensorDType dtype);

/// `index` is that of the checkpoint in the engine. Every tensor must match
/// exactly: name, dtype, shape, nothing missing and nothing extra; then the
/// fingerprint. Only where all that becomes of a tensor is f32, it may be F32,
/// BF16 or F16: it loses nothing. A Mismatch error lists the first few
/// differences and counts all. Linear in the number of tensors.
StatusOr<MatchedTensors> matchSources(const schema::Engine &engine,
                                      uint32_t index,
                                      const Checkpoint &checkpoint);

} // namespace saddle::weights

#endif // SADDLE_RUNTIME_WEIGHTS_COMPARESOURCES_H
