// config.json of MiniMax-M2, M2.1, M2.5 and M2.7, as published and as saved by
// transformers: everything that the math needs, checked. Which spelling wins
// and what happens to every other field stands in
// docs/decisions/0002-config-import.md.

#ifndef SADDLE_MODELS_MINIMAX_M2CONFIG_H
#define SADDLE_MODELS_MINIMAX_M2CONFIG_H

#include "models/ConfigReader.h"
#include "runtime/src/checkpoint/Checkpoint.h"

#include <optional>
#include <string>
#include <vector>

namespace saddle {

/// FP8 E4M3 weights with one F32 factor per block; activations are quantised at
/// run time per token and block column.
struct Fp8Blocks {
  int64_t rows = 128;
  int64_t columns = 128;
  /// Dotted names or parts of names of modules that stay unquantised: "gate",
  /// "lm_head", "model.layers.0.self_attn". Whole components match.
  std::vector<std::string> modulesToNotConvert;
};

struct M2Config {
  int64_t hidden = 0;
  /// Layers to compile; at most checkpointLayers.
  int64_t layers = 0;
  /// num_hidden_layers.
  int64_t checkpointLayers = 0;
  int64_t heads = 0;
  int64_t kvHeads = 0; // divides heads
  int64_t headDim = 0;
  /// Leading dims of a head that rotate, pairs (j, j + rotaryDim / 2); even.
  int64_t rotaryDim = 0;
  double ropeTheta = 0;
  int64_t experts = 0;
  int64_t topK = 0; // at most experts
  int64_t expertIntermediate = 0;
  int64_t vocab = 0;
  double rmsNormEps = 0;
  int64_t maxPositions = 0;
  double routedScaling = 1.0;
  bool tieWordEmbeddings = false;
  /// Declared dtype of weights and activations; bf16 when none is declared.
  TensorDType dtype = TensorDType::BF16;
  std::optional<Fp8Blocks> fp8;
  /// Layers after the last one that may hold multi-token-prediction weights.
  int64_t mtpLayers = 0;
  /// Ids below vocab that end a generation; may be empty.
  std::vector<int64_t> eosTokenIds;
  std::vector<int64_t> bosTokenIds;

  int64_t qWidth() const { return heads * headDim; }
  int64_t kvWidth() const { return kvHeads * headDim; }
};

/// Whether `module` ("model.layers.3.self_attn.q_proj") is named by
/// modulesToNotConvert. A "{}" component matches a number and then sets
/// `partly`: only some members of the stack are named.
bool isNotConverted(const Fp8Blocks &fp8, const std::string &module,
                    bool &partly);

/// Reads and checks a config. Appends to `warnings` what was ignored without
/// being known, and what looks wrong but changes nothing. Errors name the file,
/// the field, what was expected and what was found.
StatusOr<M2Config> readM2Config(ConfigReader reader,
                                std::vector<std::string> &warnings);

/// Replaces the token ids that `generation_config.json` overrides.
Status readM2GenerationConfig(ConfigReader reader, M2Config &config,
                              std::vector<std::string> &warnings);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M2CONFIG_H
