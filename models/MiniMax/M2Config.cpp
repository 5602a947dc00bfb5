#include "models/MiniMax/M2Config.h"

namespace saddle {

namespace {

constexpr FixedField fixedFields[] = {
    {"scoring_func", R"(["sigmoid"])", "other routers are not implemented"},
    {"use_routing_bias", "[true]", "routing without bias is not implemented"},
    {"num_expert_group", "[0, 1]", "grouped routing is not implemented"},
    {"use_qk_norm", "[true]", "attention without QK norm is not implemented"},
    {"qk_norm_type", R"(["per_layer"])", "other QK norms are not implemented"},
    {"shared_intermediate_size", "[0]", "shared experts are not implemented"},
    {"n_shared_experts", "[0]", "shared experts are not implemented"},
    {"attn_window_size", "[]", "windowed attention is not implemented"},
    {"sparse_attention_config", "[]", "sparse attention is not implemented"},
    {"attention_output_gate", "[false]", "gated attention is not implemented"},
    {"use_gemma_norm", "[false]", "norms with weight + 1 are not implemented"},
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
    static_cast<DecoderConfig &>(config) =
        readDecoderConfig(reader, RotaryDefault::AllDimsWithWarning, warnings);
    // Published FP8 checkpoints keep the router in F32; transformers saves it
    // in the model's dtype.
    config.routerDType = config.quantisation ? TensorDType::F32 : config.dtype;
    checkLayerKinds();
    readMtp();
    acceptFixed(reader, fixedFields);
    config.routedScaling =
        reader.number("routed_scaling_factor", 0).value_or(1.0);
    skipUnused(reader, unusedFields);
    const AttentionSizes &sizes = config.attention;
    SADDLE_RETURN_IF_ERROR(finishDecoderConfig(
        reader, config, 2.0 * double(sizes.qWidth() + sizes.kvWidth()),
        defaultBos, defaultEos, warnings));
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
