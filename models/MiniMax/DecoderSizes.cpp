#include "models/MiniMax/DecoderSizes.h"

#include <cinttypes>

namespace saddle {

DecoderSizes readDecoderSizes(ConfigReader &reader) {
  DecoderSizes sizes;
  sizes.hidden = readSize(reader, "hidden_size", maxWidth);
  sizes.checkpointLayers = sizes.layers =
      readSize(reader, "num_hidden_layers", maxLayers);
  sizes.attention = readAttentionSizes(reader);
  // transformers accepts both names and writes num_local_experts.
  std::optional<int64_t> renamed = reader.integer("num_experts", 1, maxExperts);
  if (!reader.isSet("num_local_experts") && renamed)
    sizes.experts = *renamed;
  else
    sizes.experts = readSize(reader, "num_local_experts", maxExperts);
  if (renamed && *renamed != sizes.experts)
    reader.fail("num_experts",
                "%" PRId64 " contradicts num_local_experts = %" PRId64,
                *renamed, sizes.experts);
  sizes.topK = readSize(reader, "num_experts_per_tok", maxExperts);
  sizes.expertIntermediate = readSize(reader, "intermediate_size", maxWidth);
  sizes.vocab = readSize(reader, "vocab_size", maxVocab);
  sizes.maxPositions = readSize(reader, "max_position_embeddings", maxInt32);
  sizes.rmsNormEps =
      reader.number("rms_norm_eps", 0, ConfigReader::Required).value_or(1);
  return sizes;
}

void checkDecoderSizes(ConfigReader &reader, const DecoderSizes &sizes,
                       double attentionRows) {
  if (sizes.topK > sizes.experts)
    reader.fail("num_experts_per_tok",
                "%" PRId64 " exceeds num_local_experts = %" PRId64, sizes.topK,
                sizes.experts);
  double perLayer =
      double(sizes.hidden) *
      (attentionRows +
       double(sizes.experts) * (3.0 * double(sizes.expertIntermediate)) +
       3.0 * double(sizes.sharedIntermediate));
  double elements = double(sizes.checkpointLayers) * perLayer +
                    2.0 * double(sizes.vocab) * double(sizes.hidden);
  if (elements <= maxElements)
    return;
  char found[64];
  std::snprintf(found, sizeof found, "%.3g weights, more than 2^53", elements);
  reader.fail("num_hidden_layers", "with the other sizes makes %s", found);
}

} // namespace saddle
