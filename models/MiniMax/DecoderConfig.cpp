#include "models/MiniMax/DecoderConfig.h"

namespace saddle {

static constexpr FixedField fixedFields[] = {
    {"hidden_act", R"(["silu"])", "other activations are not implemented"},
    {"norm_topk_prob", "[true]",
     "expert weights that are not normalised are not implemented"},
    {"n_group", "[0, 1]", "grouped routing is not implemented"},
    {"topk_group", "[0, 1]", "grouped routing is not implemented"},
    {"first_k_dense_replace", "[0]", "dense layers are not implemented"},
    {"attention_bias", "[false]", "biased projections are not implemented"},
    {"mlp_bias", "[false]", "biased projections are not implemented"},
};

DecoderConfig readDecoderConfig(ConfigReader &reader, RotaryDefault rotary,
                                std::vector<std::string> &warnings) {
  DecoderConfig config;
  static_cast<DecoderSizes &>(config) = readDecoderSizes(reader);
  config.rope = readRope(reader, config.attention.headDim, rotary, warnings);
  config.dtype = readDType(reader);
  config.quantisation = readQuantisation(reader, warnings);
  acceptFixed(reader, fixedFields);
  refuseWindows(reader);
  config.tieWordEmbeddings =
      reader.boolean("tie_word_embeddings").value_or(false);
  return config;
}

Status finishDecoderConfig(ConfigReader &reader, DecoderConfig &config,
                           double attentionRows, int64_t bosFallback,
                           int64_t eosFallback,
                           std::vector<std::string> &warnings) {
  if (reader.status().ok())
    checkDecoderSizes(reader, config, attentionRows);
  if (reader.status().ok())
    config.tokens =
        readTokenIds(reader, config.vocab, bosFallback, eosFallback, warnings);
  SADDLE_RETURN_IF_ERROR(reader.status());
  skipGenericFields(reader);
  warnUnknownFields(reader, warnings);
  return Status();
}

} // namespace saddle
