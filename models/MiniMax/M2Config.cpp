#include "models/MiniMax/M2Config.h"

namespace saddle {

namespace {

constexpr FixedField fixedFields[] = {
    {"hidden_act", R"(["silu"])", "other activations are not implemented"},
    {"scoring_func", R"(["sigmoid"])", "other routers are not implemented"},
    {"use_routing_bias", "[true]", "routing without bias is not implemented"},
    {"norm_topk_prob", "[true]",
     "expert weights that are not normalised are not implemented"},
    {"n_group", "[0, 1]", "grouped routing is not implemented"},
    {"num_expert_group", "[0, 1]", "grouped routing is not implemented"},
    {"topk_group", "[0, 1]", "grouped routing is not implemented"},
    {"use_qk_norm", "[true]", "attention without QK norm is not implemented"},
    {"qk_norm_type", R"(["per_layer"])", "other QK norms are not implemented"},
    {"shared_intermediate_size", "[0]", "shared experts are not implemented"},
    {"n_shared_experts", "[0]", "shared experts are not implemented"},
    {"first_k_dense_replace", "[0]", "dense layers are not implemented"},
    {"sliding_window", "[]", "windowed attention is not implemented"},
    {"use_sliding_window", "[false]", "windowed attention is not implemented"},
    {"attn_window_size", "[]", "windowed attention is not implemented"},
    {"sparse_attention_config", "[]", "sparse attention is not implemented"},
    {"attention_output_gate", "[false]", "gated attention is not implemented"},
    {"use_gemma_norm", "[false]", "norms with weight + 1 are not implemented"},
    {"attention_bias", "[false]", "biased projections are not implemented"},
    {"mlp_bias", "[false]", "biased projections are not implemented"},
    {"layernorm_full_attention_beta", "[1]",
     "scaled residuals are not implemented"},
    {"layernorm_linear_attention_beta", "[1]",
     "scaled residuals are not implemented"},
    {"layernorm_mlp_beta", "[1]", "scaled residuals are not implemented"},
    {"attn_logit_softcapping", "[]", "capped logits are not implemented"},
    {"final_logit_softcapping", "[]", "capped logits are not implemented"},
};

constexpr UnusedField unusedFields[] = {
    {"mlp_intermediate_size", "size of dense layers, and there are none"},
    {"shared_moe_mode", "about shared experts, which are refused"},
    {"swa_rope_theta", "about windowed attention, which is refused"},
    {"use_grouped_topk", "one group, or refused above"},
};

// transformers' defaults; published configs have no ids.
constexpr int64_t defaultBos = 200034;
constexpr int64_t defaultEos = 200020;

class Parser {
public:
  Parser(ConfigReader reader, std::vector<std::string> &warnings)
      : reader(std::move(reader)), warnings(warnings) {}

  StatusOr<M2Config> run() {
    static_cast<DecoderSizes &>(config) = readDecoderSizes(reader);
    config.rope = readRope(reader, config.attention.headDim,
                           RotaryDefault::AllDimsWithWarning, warnings);
    checkLayerKinds();
    readMtp();
    config.dtype = readDType(reader);
    config.quantisation = readQuantisation(reader, warnings);
    acceptFixed(reader, fixedFields);
    config.tieWordEmbeddings =
        reader.boolean("tie_word_embeddings").value_or(false);
    config.routedScaling =
        reader.number("routed_scaling_factor", 0).value_or(1.0);
    if (reader.status().ok())
      checkDecoderSizes(
          reader, config,
          2.0 * double(config.attention.qWidth() + config.attention.kvWidth()));
    if (reader.status().ok())
      config.tokens =
          readTokenIds(reader, config.vocab, defaultBos, defaultEos, warnings);
    SADDLE_RETURN_IF_ERROR(reader.status());
    skipGenericFields(reader);
    skipUnused(reader, unusedFields);
    warnUnknownFields(reader, warnings);
    return std::move(config);
  }

private:
  /// M2 has one kind of layer.
  void checkLayerKinds() {
    constexpr const char *reason = "other kinds of layers are not implemented";
    int64_t layers = config.checkpointLayers;
    readLayerKinds<int64_t>(reader, "attn_type_list", layers,
                            {{1, "1 (full attention)"}}, reason);
    readLayerKinds<int64_t>(reader, "moe_layer_freq", layers,
                            {{1, "1 (experts)"}}, reason);
    readLayerKinds<std::string>(reader, "layer_types", layers,
                                {{"full_attention", "\"full_attention\""}},
                                reason);
  }

  void readMtp() {
    int64_t modules =
        reader.integer("num_mtp_modules", 0, maxLayers).value_or(0);
    int64_t layers =
        reader.integer("mtp_transformer_layers", 0, maxLayers).value_or(1);
    bool used = reader.boolean("use_mtp").value_or(true);
    config.mtpLayers = used ? modules * layers : 0;
  }

  ConfigReader reader;
  std::vector<std::string> &warnings;
  M2Config config;
};

} // namespace

StatusOr<M2Config> readM2Config(ConfigReader reader,
                                std::vector<std::string> &warnings) {
  return Parser(std::move(reader), warnings).run();
}

} // namespace saddle
