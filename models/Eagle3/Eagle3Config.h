// config.json of an EAGLE3 draft (Li et al. 2025) as published for vLLM and
// SGLang: one Llama-like layer over a token's embedding and what the target
// computed for the token before. Fields of EAGLE 3.1 (fc_norm, norm_output) are
// off where they are absent.

#ifndef SADDLE_MODELS_EAGLE3_EAGLE3CONFIG_H
#define SADDLE_MODELS_EAGLE3_EAGLE3CONFIG_H

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Quantisation.h"
#include "models/Common/Rope.h"

namespace saddle {

struct Eagle3Config {
  int64_t hidden = 0;
  /// Of the model that it drafts for.
  int64_t targetHidden = 0;
  AttentionSizes attention;
  int64_t width = 0; // of the dense network
  int64_t vocab = 0;
  /// Tokens that it can draft; fewer than `vocab` come with the table d2t.
  int64_t draftVocab = 0;
  double rmsNormEps = 0;
  RopeParameters rope;
  /// How many hidden states it sees.
  int64_t taps = 3;
  /// Their layers as the config numbers them; empty: it does not say.
  std::vector<int64_t> tapLayers;
  bool normEachTap = false;        // fc_norm
  bool normAllTaps = false;        // norm_before_fc
  bool normBeforeResidual = false; // the residual is the normed state
  bool carriesNormed = false;      // norm_output
  TensorDType dtype = TensorDType::BF16;
  Quantisation quantisation;

  bool isReduced() const { return draftVocab != vocab; }
};

/// Reads and checks a config. Appends to `warnings` what was ignored without
/// being known. Errors name the file, the field, what was expected and what was
/// found.
StatusOr<Eagle3Config> readEagle3Config(ConfigReader reader,
                                        std::vector<std::string> &warnings);

} // namespace saddle

#endif // SADDLE_MODELS_EAGLE3_EAGLE3CONFIG_H
