// Sizes that the configs of all MiniMax models have, under the same names.

#ifndef SADDLE_MODELS_MINIMAX_DECODERSIZES_H
#define SADDLE_MODELS_MINIMAX_DECODERSIZES_H

#include "models/Common/Fields.h"

namespace saddle {

struct DecoderSizes {
  int64_t hidden = 0;
  /// Layers to compile; at most checkpointLayers.
  int64_t layers = 0;
  /// num_hidden_layers.
  int64_t checkpointLayers = 0;
  AttentionSizes attention;
  int64_t experts = 0;
  int64_t topK = 0; // at most experts
  int64_t expertIntermediate = 0;
  /// Width of an expert that all tokens share; 0: there is none.
  int64_t sharedIntermediate = 0;
  int64_t vocab = 0;
  double rmsNormEps = 0;
  int64_t maxPositions = 0;
};

/// All of them are required, the number of experts as `num_local_experts` or
/// `num_experts`. Errors stick in the reader.
DecoderSizes readDecoderSizes(ConfigReader &reader);

/// What only shows once all are read: more experts chosen than there are, more
/// weights in all than can be counted. `attentionRows` are those of a layer's
/// attention, times `hidden`.
void checkDecoderSizes(ConfigReader &reader, const DecoderSizes &sizes,
                       double attentionRows);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_DECODERSIZES_H
