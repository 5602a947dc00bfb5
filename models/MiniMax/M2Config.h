// config.json of MiniMax-M2, M2.1, M2.5 and M2.7, as published and as saved by
// transformers: everything that the math needs, checked. Which spelling wins
// and what happens to every other field stands in
// docs/decisions/0002-config-import.md.

#ifndef SADDLE_MODELS_MINIMAX_M2CONFIG_H
#define SADDLE_MODELS_MINIMAX_M2CONFIG_H

#include "models/MiniMax/DecoderConfig.h"

namespace saddle {

struct M2Config : DecoderConfig {
  double routedScaling = 1.0;
  /// Layers after the last one that may hold multi-token-prediction weights.
  int64_t mtpLayers = 0;
};

/// Reads and checks a config whose family is known. Appends to `warnings` what
/// was ignored without being known, and what looks wrong but changes nothing.
/// Errors name the file, the field, what was expected and what was found.
StatusOr<M2Config> readM2Config(ConfigReader reader,
                                std::vector<std::string> &warnings);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M2CONFIG_H
