// The decays that a checkpoint of Text-01 or M1 may hold beside its weights.

#ifndef SADDLE_MODELS_MINIMAX_M1DECAYS_H
#define SADDLE_MODELS_MINIMAX_M1DECAYS_H

#include "models/MiniMax/M1Config.h"

namespace saddle {

/// transformers' buffers of a layer of linear attention, `slope_rate` first.
constexpr const char *decayBuffers[] = {"slope_rate", "query_decay",
                                        "key_decay", "diagonal_decay"};

/// Compares each of them with what the engine will compute: the only tensors
/// whose bytes the import reads, a value or a few rows for each head.
/// transformers would go by what is stored, so a model with other decays is
/// another model. Nothing to compare is fine. Errors name the tensor, the head,
/// and both values.
Status checkStoredDecays(const M1Config &config, const Checkpoint &checkpoint);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M1DECAYS_H
