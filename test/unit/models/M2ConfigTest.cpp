// Good configs: the published four, transformers' output, and every spelling
// that counts as equal.

#include "models/MiniMax/M2Config.h"

#include "test/unit/models/SmallConfig.h"
#include "test/unit/models/Warnings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

struct Parsed {
  M2Config config;
  std::vector<std::string> warnings;
};

Parsed check(StatusOr<ConfigReader> reader) {
  Parsed parsed;
  EXPECT_TRUE(reader.ok()) << reader.status().message();
  StatusOr<M2Config> config = readM2Config(*reader, parsed.warnings);
  EXPECT_TRUE(config.ok()) << config.status().message();
  if (config.ok())
    parsed.config = *config;
  return parsed;
}

Parsed parse(const std::string &text) {
  return check(ConfigReader::parse(text, "c.json"));
}

Parsed patchedSmall(const std::string &patch) {
  return parse(patched(smallConfig(), patch));
}

class PublishedConfig : public testing::TestWithParam<const char *> {};

TEST_P(PublishedConfig, HasThePublishedValuesWithoutWarnings) {
  std::string name = GetParam();
  Parsed parsed = check(ConfigReader::open(
      std::string(SADDLE_MODELS_DIR) + "/configs/" + name + "/config.json"));
  const M2Config &config = parsed.config;
  EXPECT_THAT(parsed.warnings, IsEmpty());
  EXPECT_EQ(config.hidden, 3072);
  EXPECT_EQ(config.layers, 62);
  EXPECT_EQ(config.checkpointLayers, 62);
  EXPECT_EQ(config.attention.heads, 48);
  EXPECT_EQ(config.attention.kvHeads, 8);
  EXPECT_EQ(config.attention.headDim, 128);
  EXPECT_EQ(config.rope.dims, 64);
  EXPECT_EQ(config.rope.theta, 5e6);
  EXPECT_EQ(config.experts, 256);
  EXPECT_EQ(config.topK, 8);
  EXPECT_EQ(config.expertIntermediate, 1536);
  EXPECT_EQ(config.vocab, 200064);
  EXPECT_EQ(config.rmsNormEps, 1e-6);
  EXPECT_EQ(config.maxPositions, name == "MiniMax-M2.7" ? 204800 : 196608);
  EXPECT_EQ(config.routedScaling, 1.0);
  EXPECT_FALSE(config.tieWordEmbeddings);
  EXPECT_EQ(config.dtype, TensorDType::BF16);
  EXPECT_EQ(config.mtpLayers, 3);
  EXPECT_THAT(config.tokens.eos, ElementsAre(200020));
  EXPECT_THAT(config.tokens.bos, ElementsAre(200034));
  EXPECT_EQ(config.attention.qWidth(), 6144);
  EXPECT_EQ(config.attention.kvWidth(), 1024);
  ASSERT_TRUE(config.quantisation);
  EXPECT_EQ(config.quantisation.format->dtype, TensorDType::F8E4M3);
  ASSERT_EQ(config.quantisation.format->companions.size(), 1u);
  EXPECT_EQ(config.quantisation.format->companions[0].blockRows, 128u);
  EXPECT_EQ(config.quantisation.format->companions[0].blockColumns, 128u);
  EXPECT_THAT(config.quantisation.unconverted.list(),
              ElementsAre("gate", "e_score_correction_bias", "lm_head"));
}

INSTANTIATE_TEST_SUITE_P(All, PublishedConfig,
                         testing::Values("MiniMax-M2", "MiniMax-M2.1",
                                         "MiniMax-M2.5", "MiniMax-M2.7"));

// What save_pretrained of transformers 5.17 writes for a tiny model, including
// rotary_dim as an extra keyword.
TEST(M2Config, SavedByTransformers) {
  Parsed parsed = parse(R"({
    "architectures": ["MiniMaxM2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "dtype": "float32",
    "eos_token_id": [2, 3],
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "max_position_embeddings": 512,
    "model_type": "minimax_m2",
    "num_attention_heads": 6,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "output_router_logits": false,
    "pad_token_id": null,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {
      "partial_rotary_factor": 0.5,
      "rope_theta": 5000000.0,
      "rope_type": "default"
    },
    "rotary_dim": 16,
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
    "tie_word_embeddings": false,
    "transformers_version": "5.17.0",
    "use_cache": true,
    "vocab_size": 256
  })");
  EXPECT_THAT(parsed.warnings, IsEmpty());
  EXPECT_EQ(parsed.config.rope.dims, 16);
  EXPECT_EQ(parsed.config.rope.theta, 5e6);
  EXPECT_EQ(parsed.config.dtype, TensorDType::F32);
  EXPECT_THAT(parsed.config.tokens.eos, ElementsAre(2, 3));
  EXPECT_THAT(parsed.config.tokens.bos, ElementsAre(1));
  EXPECT_FALSE(parsed.config.quantisation);
  EXPECT_EQ(parsed.config.mtpLayers, 0);
}

// to_json_string(use_diff=False) adds generic fields; none of them matters.
TEST(M2Config, GenericTransformersFieldsAreKnown) {
  Parsed parsed = patchedSmall(R"({"_name_or_path": "x", "id2label": {"0": "a"},
      "label2id": {"a": 0}, "chunk_size_feed_forward": 0,
      "is_encoder_decoder": false, "output_attentions": false,
      "output_hidden_states": false, "return_dict": true})");
  EXPECT_THAT(parsed.warnings, IsEmpty());
}

TEST(M2Config, UnknownFieldsAreReportedByName) {
  Parsed parsed = parse(patched(
      smallFp8Config(),
      R"({"zeta": 1, "alpha": {"x": 2}, "quantization_config": {"new": 1}})"));
  EXPECT_THAT(
      parsed.warnings,
      WarningsAre("c.json: quantization_config.new: not a known field, ignored",
                  "c.json: alpha: not a known field, ignored",
                  "c.json: zeta: not a known field, ignored"));
}

TEST(M2Config, MissingDTypeMeansBf16) {
  EXPECT_EQ(patchedSmall("{}").config.dtype, TensorDType::BF16);
  EXPECT_EQ(patchedSmall(R"({"torch_dtype": "float16"})").config.dtype,
            TensorDType::F16);
  EXPECT_EQ(patchedSmall(R"({"dtype": "float32", "torch_dtype": "float32"})")
                .config.dtype,
            TensorDType::F32);
}

TEST(M2Config, RotaryDimFromEitherSpelling) {
  auto rotary = [](const std::string &patch) {
    return patchedSmall(patch).config.rope.dims;
  };
  EXPECT_EQ(rotary("{}"), 4);
  EXPECT_EQ(rotary(R"({"rotary_dim": null,
      "rope_parameters": {"partial_rotary_factor": 0.25}})"),
            2);
  EXPECT_EQ(rotary(R"({"rotary_dim": null, "partial_rotary_factor": 1.0})"), 8);
  EXPECT_EQ(rotary(R"({"partial_rotary_factor": 0.5,
      "rope_parameters": {"partial_rotary_factor": 0.5}})"),
            4);
  // 1/3 of 24 is a whole number, although 1/3 is not a binary fraction.
  EXPECT_EQ(rotary(R"({"rotary_dim": null, "head_dim": 24,
      "partial_rotary_factor": 0.3333333333333333})"),
            8);
}

TEST(M2Config, WithoutRotaryFieldsAllDimsRotateWithAWarning) {
  Parsed parsed = patchedSmall(R"({"rotary_dim": null})");
  EXPECT_EQ(parsed.config.rope.dims, 8);
  EXPECT_THAT(parsed.warnings,
              WarningsAre("c.json: rotary_dim: missing, and no "
                          "partial_rotary_factor either: all 8 dims of a head "
                          "rotate"));
}

TEST(M2Config, RopeThetaFromEitherPlace) {
  EXPECT_EQ(patchedSmall(R"({"rope_theta": null,
      "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}})")
                .config.rope.theta,
            500);
  EXPECT_EQ(patchedSmall(R"({"rope_parameters": {"rope_theta": 10000.0}})")
                .config.rope.theta,
            10000);
}

TEST(M2Config, ExpertCountUnderItsOtherName) {
  Parsed parsed =
      patchedSmall(R"({"num_local_experts": null, "num_experts": 5})");
  EXPECT_EQ(parsed.config.experts, 5);
  EXPECT_THAT(parsed.warnings, IsEmpty());
  EXPECT_EQ(patchedSmall(R"({"num_experts": 3})").config.experts, 3);
}

TEST(M2Config, ImplementedValuesOfFixedFieldsPass) {
  nlohmann::json config = smallConfig();
  config.merge_patch(nlohmann::json::parse(R"({"hidden_act": "silu",
      "scoring_func": "sigmoid", "use_qk_norm": true, "use_routing_bias": true,
      "qk_norm_type": "per_layer", "shared_intermediate_size": 0,
      "n_group": 1, "topk_group": 1, "norm_topk_prob": true,
      "attention_bias": false, "layernorm_mlp_beta": 1.0,
      "attn_type_list": [1, 1], "moe_layer_freq": [1, 1],
      "layer_types": ["full_attention", "full_attention"],
      "routed_scaling_factor": 2.5, "tie_word_embeddings": true})"));
  config["sliding_window"] = nullptr;
  config["rope_scaling"] = nullptr;
  config["quantization_config"] = nullptr;
  Parsed parsed = parse(config.dump());
  EXPECT_THAT(parsed.warnings, IsEmpty());
  EXPECT_EQ(parsed.config.routedScaling, 2.5);
  EXPECT_TRUE(parsed.config.tieWordEmbeddings);
}

// Other families' tools write a window that is not used.
TEST(M2Config, AWindowThatIsNotUsedIsNone) {
  Parsed parsed =
      patchedSmall(R"({"sliding_window": 4096, "use_sliding_window": false})");
  EXPECT_THAT(parsed.warnings, IsEmpty());
}

TEST(M2Config, MtpLayersAreModulesTimesLayersUnlessUnused) {
  auto layers = [](const std::string &patch) {
    return patchedSmall(patch).config.mtpLayers;
  };
  EXPECT_EQ(layers(R"({"num_mtp_modules": 3, "mtp_transformer_layers": 2})"),
            6);
  EXPECT_EQ(layers(R"({"num_mtp_modules": 3})"), 3);
  EXPECT_EQ(layers(R"({"num_mtp_modules": 3, "use_mtp": false})"), 0);
  EXPECT_EQ(layers(R"({"use_mtp": true})"), 0);
}

TEST(M2Config, TokenIds) {
  nlohmann::json config = smallConfig();
  config["eos_token_id"] = nullptr;
  EXPECT_THAT(parse(config.dump()).config.tokens.eos, IsEmpty());
  config.erase("eos_token_id"); // transformers' default is not below 40
  EXPECT_THAT(parse(config.dump()).config.tokens.eos, IsEmpty());
  config["eos_token_id"] = {3, 40};
  Parsed parsed = parse(config.dump());
  EXPECT_THAT(parsed.config.tokens.eos, ElementsAre(3));
  EXPECT_THAT(parsed.warnings,
              WarningsAre("c.json: eos_token_id: 40 is not below vocab_size = "
                          "40, ignored"));
}

TEST(M2Config, GenerationConfigOverridesTokenIds) {
  Parsed parsed = patchedSmall("{}");
  auto apply = [&](const std::string &text) {
    return overrideTokenIds(*ConfigReader::parse(text, "g.json"),
                            parsed.config.vocab, parsed.config.tokens,
                            parsed.warnings)
        .message();
  };
  EXPECT_EQ(apply(R"({"temperature": 1.0, "eos_token_id": null})"), "");
  EXPECT_THAT(parsed.config.tokens.eos, ElementsAre(1));
  EXPECT_EQ(apply(R"({"eos_token_id": [5, 6], "bos_token_id": 7})"), "");
  EXPECT_THAT(parsed.config.tokens.eos, ElementsAre(5, 6));
  EXPECT_THAT(parsed.config.tokens.bos, ElementsAre(7));
  EXPECT_THAT(parsed.warnings, IsEmpty());
  EXPECT_EQ(apply(R"({"eos_token_id": "</s>"})"),
            "g.json: eos_token_id: expected an integer or a list of integers "
            "from 0 to 2147483647, found \"</s>\"");
}

TEST(M2Config, QuantisationAsTransformersSavesIt) {
  Parsed parsed = parse(patched(smallConfig(), R"({"quantization_config": {
      "quant_method": "fp8", "activation_scheme": "dynamic",
      "weight_block_size": [128, 128], "dequantize": false,
      "scale_fmt": "float", "modules_to_convert": null,
      "ignored_layers": ["lm_head"]}})"));
  EXPECT_THAT(parsed.warnings, IsEmpty());
  ASSERT_TRUE(parsed.config.quantisation);
  EXPECT_THAT(parsed.config.quantisation.unconverted.list(),
              ElementsAre("lm_head"));
}

} // namespace
