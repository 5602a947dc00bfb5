// config.json of MiniMax-Text-01 and MiniMax-M1, as published and as saved by
// transformers (MiniMaxForCausalLM): everything that the math needs, checked.
// The two forms spell layer kinds and residual factors differently; what one
// of them means wherever it stands, so both spellings are read in either form
// and must agree. docs/decisions/0002-config-import.md has the general rules.

#ifndef SADDLE_MODELS_MINIMAX_M1CONFIG_H
#define SADDLE_MODELS_MINIMAX_M1CONFIG_H

#include "models/MiniMax/DecoderConfig.h"

namespace saddle {

/// Weights of a residual connection: alpha * residual + beta * branch.
struct ResidualFactors {
  double alpha = 1;
  double beta = 1;
};

struct M1Config : DecoderConfig {
  /// As `architectures[0]` spells it.
  std::string architecture;
  /// Whether a layer's attention is linear; one for each of checkpointLayers.
  std::vector<bool> isLinear;
  ResidualFactors linearFactors, fullFactors, expertFactors;
  /// What a branch is added to: the normed input of the block, else the input.
  bool postNorm = false;

  /// What the slopes of a layer are multiplied by: from its place among all
  /// layers of the checkpoint, linear or not.
  double decayRate(int64_t layer) const;
};

/// Of the norm behind the recurrence; rmsNormEps is of all others. No field
/// sets it: the published code and transformers leave it at their class's
/// default.
constexpr double scanNormEps = 1e-6;

/// Reads and checks a config whose family is known. Appends to `warnings` what
/// was ignored without being known, and what looks wrong but changes nothing.
/// Errors name the file, the field, what was expected and what was found.
StatusOr<M1Config> readM1Config(ConfigReader reader,
                                std::vector<std::string> &warnings);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M1CONFIG_H
