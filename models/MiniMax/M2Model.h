// A MiniMax-M2 model as the compiler sees it before any IR: sizes, weights and
// what the user should hear about the input.

#ifndef SADDLE_MODELS_MINIMAX_M2MODEL_H
#define SADDLE_MODELS_MINIMAX_M2MODEL_H

#include "models/MiniMax/M2Weights.h"
#include "models/ModelSource.h"

namespace saddle {

struct M2Model {
  M2Config config;
  /// Of the compiled layers.
  ModelWeights weights;
  std::vector<std::string> warnings;
};

/// Errors as in readM2Config, overrideTokenIds, listM2Weights, and
/// layersToCompile and resolve of the source.
StatusOr<M2Model> readM2(const ModelSource &source,
                         const ImportOptions &options = {});

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M2MODEL_H
