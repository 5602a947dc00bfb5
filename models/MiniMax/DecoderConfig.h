// What the configs of all MiniMax models say under the same names.

#ifndef SADDLE_MODELS_MINIMAX_DECODERCONFIG_H
#define SADDLE_MODELS_MINIMAX_DECODERCONFIG_H

#include "models/Common/Quantisation/Quantisation.h"
#include "models/Common/Rope.h"
#include "models/MiniMax/DecoderSizes.h"

namespace saddle {

struct DecoderConfig : DecoderSizes {
  RopeParameters rope;
  bool tieWordEmbeddings = false;
  /// Declared dtype of weights and activations; bf16 when none is declared.
  TensorDType dtype = TensorDType::BF16;
  /// Of the router, as the architecture stores it.
  TensorDType routerDType = TensorDType::BF16;
  Quantisation quantisation;
  TokenIds tokens;
};

/// All but the router's dtype and the token ids, and the fields that may have
/// one value in every family. Errors stick in the reader.
DecoderConfig readDecoderConfig(ConfigReader &reader, RotaryDefault rotary,
                                std::vector<std::string> &warnings);

/// The last step: sizes together (checkDecoderSizes), token ids with these
/// fallbacks, and fields that nobody asked for. The reader's error, if any.
Status finishDecoderConfig(ConfigReader &reader, DecoderConfig &config,
                           double attentionRows, int64_t bosFallback,
                           int64_t eosFallback,
                           std::vector<std::string> &warnings);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_DECODERCONFIG_H
