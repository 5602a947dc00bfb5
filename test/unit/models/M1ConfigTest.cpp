// Configs of Text-01 and M1: the published ones, what transformers saves, and
// every message once.

#include "models/MiniMax/M1Config.h"

#include "test/unit/models/SmallM1Config.h"
#include "test/unit/models/Warnings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

using namespace saddle;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

struct Parsed {
  M1Config config;
  std::vector<std::string> warnings;
};

Parsed check(StatusOr<ConfigReader> reader) {
  Parsed parsed;
  EXPECT_TRUE(reader.ok()) << reader.status().message();
  StatusOr<M1Config> config = readM1Config(*reader, parsed.warnings);
  EXPECT_TRUE(config.ok()) << config.status().message();
  if (config.ok())
    parsed.config = *config;
  return parsed;
}

Parsed patchedSmall(const std::string &patch) {
  return check(ConfigReader::parse(patched(smallM1Config(), patch), "c.json"));
}

Parsed patchedSaved(const std::string &patch) {
  return check(ConfigReader::parse(patched(savedM1Config(), patch), "c.json"));
}

void expectFactors(const ResidualFactors &factors, double alpha, double beta) {
  EXPECT_EQ(factors.alpha, alpha);
  EXPECT_EQ(factors.beta, beta);
}

class PublishedM1 : public testing::TestWithParam<const char *> {};

TEST_P(PublishedM1, HasThePublishedValuesWithoutWarnings) {
  std::string name = GetParam();
  Parsed parsed = check(ConfigReader::open(
      std::string(SADDLE_MODELS_DIR) + "/configs/" + name + "/config.json"));
  const M1Config &config = parsed.config;
  EXPECT_THAT(parsed.warnings, IsEmpty());
  EXPECT_EQ(config.architecture, name == "MiniMax-Text-01"
                                     ? "MiniMaxText01ForCausalLM"
                                     : "MiniMaxM1ForCausalLM");
  EXPECT_EQ(config.hidden, 6144);
  EXPECT_EQ(config.checkpointLayers, 80);
  ASSERT_EQ(config.isLinear.size(), 80u);
  for (size_t i = 0; i < 80; ++i)
    EXPECT_EQ(config.isLinear[i], i % 8 != 7) << i;
  EXPECT_EQ(config.attention.heads, 64);
  EXPECT_EQ(config.attention.kvHeads, 8);
  EXPECT_EQ(config.attention.headDim, 128);
  EXPECT_EQ(config.rope.dims, 64);
  EXPECT_EQ(config.rope.theta, 1e7);
  // (2 * 80)^(1/4)
  double alpha = std::pow(160.0, 0.25);
  EXPECT_NEAR(config.linearFactors.alpha, alpha, 1e-12);
  EXPECT_NEAR(config.fullFactors.alpha, alpha, 1e-12);
  EXPECT_NEAR(config.expertFactors.alpha, alpha, 1e-12);
  EXPECT_EQ(config.linearFactors.beta, 1);
  EXPECT_TRUE(config.postNorm);
  EXPECT_EQ(config.experts, 32);
  EXPECT_EQ(config.topK, 2);
  EXPECT_EQ(config.expertIntermediate, 9216);
  EXPECT_EQ(config.vocab, 200064);
  EXPECT_EQ(config.rmsNormEps, 1e-5);
  EXPECT_EQ(config.maxPositions, 10240000);
  EXPECT_EQ(config.dtype, TensorDType::BF16);
  EXPECT_EQ(config.routerDType, TensorDType::F32);
  EXPECT_THAT(config.tokens.eos, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(All, PublishedM1,
                         testing::Values("MiniMax-Text-01", "MiniMax-M1-40k",
                                         "MiniMax-M1-80k"));

TEST(M1Config, SavedByTransformersIsThePublishedModel) {
  Parsed saved = patchedSaved("{}"), published = patchedSmall("{}");
  for (const Parsed *parsed : {&saved, &published}) {
    EXPECT_THAT(parsed->warnings, IsEmpty());
    EXPECT_THAT(parsed->config.isLinear, ElementsAre(true, false));
    expectFactors(parsed->config.linearFactors, 1.5, 0.5);
    expectFactors(parsed->config.fullFactors, 2.5, 0.25);
    expectFactors(parsed->config.expertFactors, 3.5, 0.75);
    EXPECT_TRUE(parsed->config.postNorm);
    EXPECT_EQ(parsed->config.rope.theta, 10000);
  }
  EXPECT_EQ(saved.config.architecture, "MiniMaxForCausalLM");
  // It rotates all dims of a head, and saves the router as everything else.
  EXPECT_EQ(saved.config.rope.dims, 8);
  EXPECT_EQ(saved.config.routerDType, TensorDType::BF16);
  EXPECT_THAT(saved.config.tokens.eos, ElementsAre(7));
  EXPECT_EQ(published.config.rope.dims, 4);
  EXPECT_EQ(published.config.routerDType, TensorDType::F32);
  EXPECT_EQ(patchedSaved(R"({"rotary_dim": 4})").config.rope.dims, 4);
}

TEST(M1Config, DefaultsDifferByForm) {
  const char *bare = R"({"postnorm": null, "eos_token_id": null,
    "layernorm_linear_attention_alpha": null, "layernorm_mlp_beta": null})";
  Parsed published = patchedSmall(bare);
  EXPECT_FALSE(published.config.postNorm);
  expectFactors(published.config.linearFactors, 1, 0.5);
  expectFactors(published.config.expertFactors, 3.5, 1);
  EXPECT_THAT(published.config.tokens.eos, IsEmpty());
  EXPECT_THAT(published.config.tokens.bos, IsEmpty());
  nlohmann::json saved = savedM1Config();
  saved.erase("bos_token_id");
  saved.erase("eos_token_id");
  Parsed parsed = check(ConfigReader::parse(saved.dump(), "c.json"));
  EXPECT_THAT(parsed.config.tokens.bos, ElementsAre(1));
  EXPECT_THAT(parsed.config.tokens.eos, ElementsAre(2));
}

TEST(M1Config, ArchitectureByTypeAlone) {
  auto architecture = [](const char *type) {
    nlohmann::json config = smallM1Config();
    config.erase("architectures");
    config["model_type"] = type;
    return check(ConfigReader::parse(config.dump(), "c.json"))
        .config.architecture;
  };
  EXPECT_EQ(architecture("minimax_m1"), "MiniMaxM1ForCausalLM");
  EXPECT_EQ(architecture("minimax_text_01"), "MiniMaxText01ForCausalLM");
  EXPECT_EQ(architecture("minimax"), "MiniMaxForCausalLM");
}

TEST(M1Config, WarnsOfWhatOthersRead) {
  EXPECT_THAT(patchedSmall(R"({"rotary_dim": null, "odd": 1})").warnings,
              WarningsAre("c.json: rotary_dim: missing, and no "
                          "partial_rotary_factor either: all 8 dims of a head "
                          "rotate",
                          "c.json: odd: not a known field, ignored"));
  Parsed listed =
      patchedSaved(R"({"layer_types": null, "attn_type_list": [1, 0]})");
  EXPECT_THAT(listed.config.isLinear, ElementsAre(false, true));
  EXPECT_THAT(listed.warnings,
              WarningsAre("c.json: attn_type_list: transformers does not read "
                          "it and would alternate the kinds of layers; the "
                          "list is used"));
  const char *sixHeads = R"({"num_attention_heads": 6})";
  EXPECT_THAT(patchedSaved(sixHeads).warnings,
              WarningsAre("c.json: num_attention_heads: 6 is not a power of "
                          "two, for which transformers computes other decays "
                          "than the published code; those of the published "
                          "code are used"));
  EXPECT_THAT(patchedSmall(sixHeads).warnings, IsEmpty());
  EXPECT_THAT(patchedSaved(R"({"num_attention_heads": 6, "layer_types":
                ["full_attention", "full_attention"]})")
                  .warnings,
              IsEmpty());
}

// Rates of 80 layers: 1.00001 at the first, 0.0126682 at layer 78. One layer
// alone decays as a first one.
TEST(M1Config, DecaysSlowDownFromLayerToLayer) {
  M1Config config;
  config.checkpointLayers = 80;
  EXPECT_DOUBLE_EQ(config.decayRate(0), 1.00001);
  EXPECT_NEAR(config.decayRate(39), 0.506339, 1e-6);
  EXPECT_NEAR(config.decayRate(77), 0.0253265, 1e-7);
  EXPECT_NEAR(config.decayRate(78), 0.0126682, 1e-7);
  // The absolute place counts, and not how many layers are compiled.
  config.layers = 1;
  EXPECT_NEAR(config.decayRate(39), 0.506339, 1e-6);
  config.checkpointLayers = 1;
  EXPECT_DOUBLE_EQ(config.decayRate(0), 1.00001);
}

struct BadConfig {
  std::string patch; // null removes the field
  const char *message;
};

void PrintTo(const BadConfig &bad, std::ostream *out) { *out << bad.patch; }

std::string errorOf(nlohmann::json config, const std::string &patch) {
  std::vector<std::string> warnings;
  return readM1Config(
             *ConfigReader::parse(patched(std::move(config), patch), "c.json"),
             warnings)
      .status()
      .message();
}

class BadM1Config : public testing::TestWithParam<BadConfig> {};

TEST_P(BadM1Config, NamesFieldExpectedAndFound) {
  EXPECT_EQ(errorOf(smallM1Config(), GetParam().patch),
            std::string("c.json: ") + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, BadM1Config,
    testing::Values(
        BadConfig{R"({"hidden_size": null})",
                  "hidden_size: missing, expected an integer from 1 to "
                  "1048576"},
        BadConfig{R"({"head_dim": null})",
                  "head_dim: missing, expected an integer from 1 to 1048576"},
        BadConfig{R"({"num_local_experts": [3, 3]})",
                  "num_local_experts: expected an integer from 1 to 65536, "
                  "found [3,3]"},
        BadConfig{R"({"num_experts": 4})",
                  "num_experts: 4 contradicts num_local_experts = 3"},
        BadConfig{R"({"num_experts_per_tok": 4})",
                  "num_experts_per_tok: 4 exceeds num_local_experts = 3"},
        BadConfig{R"({"rms_norm_eps": null})",
                  "rms_norm_eps: missing, expected a number above 0"},
        BadConfig{R"({"num_attention_heads": 65536})",
                  "num_attention_heads: 65536 * head_dim = 8 exceeds 349525"},
        BadConfig{R"({"hidden_size": 1048576, "intermediate_size": 1048576,
                      "num_local_experts": 65536})",
                  "num_hidden_layers: with the other sizes makes 4.32e+17 "
                  "weights, more than 2^53"}));

std::string everyLayerIsAttention(int64_t layers) {
  nlohmann::json patch = {{"num_hidden_layers", layers},
                          {"hidden_size", 1 << 20},
                          {"shared_intermediate_size", 1 << 20},
                          {"shared_moe_mode", "sigmoid"},
                          {"attn_type_list", std::vector<int>(layers, 1)}};
  return patch.dump();
}

// 3 * 2^40 of a shared expert in each of 4096 layers.
INSTANTIATE_TEST_SUITE_P(SharedExperts, BadM1Config,
                         testing::Values(BadConfig{
                             everyLayerIsAttention(4096),
                             "num_hidden_layers: with the other sizes makes "
                             "1.35e+16 weights, more than 2^53"}));

INSTANTIATE_TEST_SUITE_P(
    Layers, BadM1Config,
    testing::Values(
        BadConfig{R"({"attn_type_list": null})",
                  "attn_type_list: missing, expected a list with the kind of "
                  "each layer"},
        BadConfig{R"({"attn_type_list": [0, 1, 1]})",
                  "attn_type_list: has 3 entries, expected one per layer, "
                  "num_hidden_layers = 2"},
        BadConfig{R"({"attn_type_list": [0, 2]})",
                  "attn_type_list[1]: expected 0 (linear attention) or 1 "
                  "(full attention); other kinds of layers are not "
                  "implemented"},
        BadConfig{R"({"layer_types": ["linear_attention", "mamba"]})",
                  "layer_types[1]: expected \"linear_attention\" or "
                  "\"full_attention\"; other kinds of layers are not "
                  "implemented"},
        BadConfig{R"({"layer_types": ["full_attention", "full_attention"]})",
                  "layer_types: contradicts attn_type_list"}));

INSTANTIATE_TEST_SUITE_P(
    Factors, BadM1Config,
    testing::Values(
        BadConfig{R"({"layernorm_mlp_alpha": 0})",
                  "layernorm_mlp_alpha: expected a number above 0, found 0"},
        BadConfig{R"({"linear_attn_beta_factor": "1"})",
                  "linear_attn_beta_factor: expected a number above 0, found "
                  "\"1\""},
        BadConfig{R"({"full_attn_alpha_factor": 1})",
                  "full_attn_alpha_factor: contradicts "
                  "layernorm_full_attention_alpha"},
        BadConfig{R"({"postnorm": 1})",
                  "postnorm: expected true or false, found 1"}));

INSTANTIATE_TEST_SUITE_P(
    Fixed, BadM1Config,
    testing::Values(
        BadConfig{
            R"({"hidden_act": "gelu"})",
            "hidden_act: expected \"silu\" or nothing, found \"gelu\"; other "
            "activations are not implemented"},
        BadConfig{
            R"({"scoring_func": "sigmoid"})",
            "scoring_func: expected \"softmax\" or nothing, found \"sigmoid\"; "
            "other routers are not implemented"},
        BadConfig{R"({"use_routing_bias": true})",
                  "use_routing_bias: expected false or nothing, found true; "
                  "routing with "
                  "a bias is not implemented"},
        BadConfig{R"({"norm_topk_prob": false})",
                  "norm_topk_prob: expected true or nothing, found false; "
                  "expert weights "
                  "that are not normalised are not implemented"},
        BadConfig{R"({"n_group": 2})", "n_group: expected 0 or 1 or nothing, "
                                       "found 2; grouped routing is not "
                                       "implemented"},
        BadConfig{R"({"topk_group": 2})",
                  "topk_group: expected 0 or 1 or nothing, found 2; grouped "
                  "routing is "
                  "not implemented"},
        BadConfig{R"({"use_qk_norm": true})",
                  "use_qk_norm: expected false or nothing, found true; QK norm "
                  "is not "
                  "implemented in this family"},
        BadConfig{R"({"shared_intermediate_size": [64, 64]})",
                  "shared_intermediate_size: expected an integer from 0 to "
                  "1048576, found [64,64]"},
        BadConfig{R"({"shared_intermediate_size": -1})",
                  "shared_intermediate_size: expected an integer from 0 to "
                  "1048576, found -1"},
        BadConfig{
            R"({"shared_intermediate_size": 64, "shared_moe_mode": "softmax"})",
            "shared_moe_mode: expected \"sigmoid\" or nothing, found "
            "\"softmax\"; other gates of a shared expert are not implemented"},
        BadConfig{R"({"first_k_dense_replace": 1})",
                  "first_k_dense_replace: expected 0 or nothing, found 1; "
                  "dense layers "
                  "are not implemented"},
        BadConfig{R"({"sliding_window": 64})",
                  "sliding_window: expected nothing, found 64; windowed "
                  "attention is not implemented"},
        BadConfig{R"({"use_sliding_window": true})",
                  "use_sliding_window: expected false or nothing, found true; "
                  "windowed "
                  "attention is not implemented"},
        BadConfig{
            R"({"attention_bias": true})",
            "attention_bias: expected false or nothing, found true; biased "
            "projections are not implemented"},
        BadConfig{R"({"mlp_bias": true})",
                  "mlp_bias: expected false or nothing, found true; biased "
                  "projections "
                  "are not implemented"},
        BadConfig{
            R"({"num_mtp_modules": 1})",
            "num_mtp_modules: expected 0 or nothing, found 1; multi-token "
            "prediction is not implemented"},
        BadConfig{R"({"rope_scaling": {"type": "linear"}})",
                  "rope_scaling: expected nothing, found "
                  "{\"type\":\"linear\"}; scaled RoPE is "
                  "not implemented"}));

TEST(M1Config, BadConfigsOfTransformers) {
  EXPECT_EQ(errorOf(savedM1Config(), R"({"shared_intermediate_size": 64})"),
            "c.json: shared_intermediate_size: expected 0 or nothing, found "
            "64; transformers' class has no shared expert");
  EXPECT_EQ(errorOf(savedM1Config(), R"({"layer_types": null})"),
            "c.json: layer_types: missing, expected a list with the kind of "
            "each layer");
  EXPECT_EQ(
      errorOf(savedM1Config(), R"({"postnorm": false})"),
      "c.json: postnorm: expected true or nothing, found false; transformers "
      "always adds to the normed input");
  // A tiny config has been published with both.
  EXPECT_EQ(errorOf(savedM1Config(), R"({"rope_theta": 1e7})"),
            "c.json: rope_theta: expected the value of "
            "rope_parameters.rope_theta, found 10000000.0");
}

} // namespace
