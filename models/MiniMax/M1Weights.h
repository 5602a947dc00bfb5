// The checkpoint tensors of a MiniMax-Text-01 or M1 model: names, dimensions,
// dtypes. The published form and that of transformers have the same names.

#ifndef SADDLE_MODELS_MINIMAX_M1WEIGHTS_H
#define SADDLE_MODELS_MINIMAX_M1WEIGHTS_H

#include "models/Common/TensorAccounting.h"
#include "models/MiniMax/M1Config.h"

namespace saddle {

/// Tensors of all layers as the architecture stores them. Projections of
/// attention and experts are stored as the quantisation says, and the rest is
/// in the config's dtype. Errors: WeightLister::take's; a name for messages is
/// `configPath`.
StatusOr<ModelWeights> listM1Weights(const M1Config &config,
                                     const std::string &configPath);

/// What a folder may hold besides. Keeps a reference to the config.
AccountingRules m1AccountingRules(const M1Config &config,
                                  const std::string &configPath);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M1WEIGHTS_H
