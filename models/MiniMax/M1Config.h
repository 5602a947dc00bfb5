// config.json of MiniMax-Text-01 and MiniMax-M1, as published and as saved by
// transformers (MiniMaxForCausalLM): everything that the math needs, checked.
// The two forms spell layer kinds and residual factors differently; what one
// of them means wherever it stands, so both spellings are read in either form
// and must agree. docs/decisions/0002-config-import.md has the general rules.

#ifndef SADDLE_MODELS_MINIMAX_M1CONFIG_H
#define SADDLE_MODELS_MINIMAX_M1CONFIG_H

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Quantisation.h"
#include "models/Common/Rope.h"

namespace saddle {

/// Weights of a residual connection: alpha * residual + beta * branch.
struct ResidualFactors {
  double alpha = 1;
  double beta = 1;
};

struct M1Config {
  /// As `architectures[0]` spells it.
  std::string architecture;
  int64_t hidden = 0;
  /// Layers to compile; at most checkpointLayers.
  int64_t layers = 0;
  /// num_hidden_layers.
  int64_t checkpointLayers = 0;
  /// Whether a layer's attention is linear; one for each of checkpointLayers.
  std::vector<bool> isLinear;
  /// Linear attention has `heads` heads, and no KV heads.
  AttentionSizes attention;
  RopeParameters rope;
  ResidualFactors linearFactors, fullFactors, expertFactors;
  /// What a branch is added to: the normed input of the block, else the input.
  bool postNorm = false;
  int64_t experts = 0;
  int64_t topK = 0; // at most experts
  int64_t expertIntermediate = 0;
  int64_t vocab = 0;
  /// Of the norms of layers and the final one.
  double rmsNormEps = 0;
  int64_t maxPositions = 0;
  bool tieWordEmbeddings = false;
  /// Declared dtype of weights and activations; bf16 when none is declared.
  TensorDType dtype = TensorDType::BF16;
  /// Of the router, as the architecture stores it.
  TensorDType routerDType = TensorDType::F32;
  Quantisation quantisation;
  TokenIds tokens;

  /// How much slower the slopes of a layer decay, by its place among all
  /// layers of the checkpoint, linear or not.
  double decayRate(int64_t layer) const;
};

/// Of the norm behind the recurrence. No field sets it: the published code and
/// transformers leave it at their class's default.
constexpr double scanNormEps = 1e-6;

/// Reads and checks a config whose family is known. Appends to `warnings` what
/// was ignored without being known, and what looks wrong but changes nothing.
/// Errors name the file, the field, what was expected and what was found.
StatusOr<M1Config> readM1Config(ConfigReader reader,
                                std::vector<std::string> &warnings);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M1CONFIG_H
