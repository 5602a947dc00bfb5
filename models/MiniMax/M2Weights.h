// The checkpoint tensors of a MiniMax-M2 model: names, dimensions, dtypes.

#ifndef SADDLE_MODELS_MINIMAX_M2WEIGHTS_H
#define SADDLE_MODELS_MINIMAX_M2WEIGHTS_H

#include "models/Common/TensorAccounting.h"
#include "models/MiniMax/M2Config.h"

namespace saddle {

/// Tensors of all layers as the architecture stores them. Projections of
/// attention and experts are stored as the quantisation says, with it the
/// router and its bias are F32, and the rest is in the config's dtype. Errors:
/// single experts left unquantised; a name for messages is `configPath`.
StatusOr<ModelWeights> listM2Weights(const M2Config &config,
                                     const std::string &configPath);

/// What a folder may hold besides. Keeps a reference to the config's
/// quantisation.
AccountingRules m2AccountingRules(const M2Config &config,
                                  const std::string &configPath);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M2WEIGHTS_H
