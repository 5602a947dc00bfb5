// What the user decides about a model's IR before any pass runs.

#ifndef SADDLE_MODELS_BUILDOPTIONS_H
#define SADDLE_MODELS_BUILDOPTIONS_H

#include "dialects/Model/IR/ModelDialect.h"
#include "runtime/src/checkpoint/Checkpoint.h"

namespace saddle {

struct BuildOptions {
  /// Of activations: F32 or BF16.
  TensorDType computeDType = TensorDType::BF16;
  /// Of cached keys and values: F32, BF16 or F8E4M3.
  TensorDType kvDType = TensorDType::BF16;
  model::Limits limits{8, 4096, 128, 16};
  /// Best tokens of a row that a step yields beside its logits; 0 means none.
  /// Never more than the vocabulary has.
  int64_t candidates = 0;
};

} // namespace saddle

#endif // SADDLE_MODELS_BUILDOPTIONS_H
