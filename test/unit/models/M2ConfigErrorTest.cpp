// Bad configs: each message once.

#include "models/MiniMax/M2Config.h"

#include "test/unit/models/SmallConfig.h"

#include <gtest/gtest.h>

using namespace saddle;

namespace {

struct BadConfig {
  const char *patch; // on smallFp8Config
  const char *message;
};

void PrintTo(const BadConfig &bad, std::ostream *out) { *out << bad.patch; }

class M2ConfigError : public testing::TestWithParam<BadConfig> {};

TEST_P(M2ConfigError, NamesFieldExpectedAndFound) {
  std::string text = patched(smallFp8Config(), GetParam().patch);
  std::vector<std::string> warnings;
  StatusOr<M2Config> config =
      readM2Config(*ConfigReader::parse(text, "c.json"), warnings);
  EXPECT_EQ(config.status().message(),
            std::string("c.json: ") + GetParam().message);
}

// A null in a patch removes the field.
INSTANTIATE_TEST_SUITE_P(
    Sizes, M2ConfigError,
    testing::Values(
        BadConfig{R"({"hidden_size": null})",
                  "hidden_size: missing, expected an integer from 1 to "
                  "1048576"},
        BadConfig{R"({"hidden_size": "32"})",
                  "hidden_size: expected an integer from 1 to 1048576, found "
                  "\"32\""},
        BadConfig{R"({"hidden_size": 0})",
                  "hidden_size: expected an integer from 1 to 1048576, found "
                  "0"},
        BadConfig{R"({"hidden_size": 32.5})",
                  "hidden_size: expected an integer from 1 to 1048576, found "
                  "32.5"},
        BadConfig{R"({"hidden_size": 32.0})",
                  "hidden_size: expected an integer from 1 to 1048576, found "
                  "32.0"},
        BadConfig{R"({"hidden_size": true})",
                  "hidden_size: expected an integer from 1 to 1048576, found "
                  "true"},
        BadConfig{R"({"hidden_size": 99999999999999999999})",
                  "hidden_size: expected an integer from 1 to 1048576, found "
                  "1e+20"},
        BadConfig{R"({"num_hidden_layers": null})",
                  "num_hidden_layers: missing, expected an integer from 1 to "
                  "4096"},
        BadConfig{R"({"num_hidden_layers": 1000000000})",
                  "num_hidden_layers: expected an integer from 1 to 4096, "
                  "found 1000000000"},
        BadConfig{R"({"num_attention_heads": null})",
                  "num_attention_heads: missing, expected an integer from 1 to "
                  "1048576"},
        BadConfig{R"({"num_key_value_heads": null})",
                  "num_key_value_heads: missing, expected an integer from 1 to "
                  "1048576"},
        BadConfig{R"({"num_key_value_heads": -2})",
                  "num_key_value_heads: expected an integer from 1 to 1048576, "
                  "found -2"},
        BadConfig{R"({"head_dim": null})",
                  "head_dim: missing, expected an integer from 1 to 1048576"},
        BadConfig{R"({"intermediate_size": null})",
                  "intermediate_size: missing, expected an integer from 1 to "
                  "1048576"},
        BadConfig{R"({"num_local_experts": null})",
                  "num_local_experts: missing, expected an integer from 1 to "
                  "65536"},
        BadConfig{R"({"num_experts_per_tok": null})",
                  "num_experts_per_tok: missing, expected an integer from 1 to "
                  "65536"},
        BadConfig{R"({"vocab_size": null})",
                  "vocab_size: missing, expected an integer from 1 to "
                  "268435456"},
        BadConfig{R"({"max_position_embeddings": null})",
                  "max_position_embeddings: missing, expected an integer from "
                  "1 to 2147483647"},
        BadConfig{R"({"max_position_embeddings": [64]})",
                  "max_position_embeddings: expected an integer from 1 to "
                  "2147483647, found [64]"},
        BadConfig{R"({"rms_norm_eps": null})",
                  "rms_norm_eps: missing, expected a number above 0"},
        BadConfig{R"({"rms_norm_eps": 0})",
                  "rms_norm_eps: expected a number above 0, found 0"},
        BadConfig{R"({"rms_norm_eps": "1e-6"})",
                  "rms_norm_eps: expected a number above 0, found \"1e-6\""},
        BadConfig{R"({"routed_scaling_factor": -1})",
                  "routed_scaling_factor: expected a number above 0, found "
                  "-1"},
        BadConfig{R"({"tie_word_embeddings": 1})",
                  "tie_word_embeddings: expected true or false, found 1"}));

INSTANTIATE_TEST_SUITE_P(
    Contradictions, M2ConfigError,
    testing::Values(
        BadConfig{R"({"num_experts": 4})",
                  "num_experts: 4 contradicts num_local_experts = 3"},
        BadConfig{R"({"num_key_value_heads": 4})",
                  "num_attention_heads: 6 is not a multiple of "
                  "num_key_value_heads = 4"},
        BadConfig{R"({"num_key_value_heads": 12})",
                  "num_attention_heads: 6 is not a multiple of "
                  "num_key_value_heads = 12"},
        BadConfig{R"({"num_experts_per_tok": 4})",
                  "num_experts_per_tok: 4 exceeds num_local_experts = 3"},
        BadConfig{R"({"num_attention_heads": 1048576})",
                  "num_attention_heads: 1048576 * head_dim = 8 exceeds "
                  "1048576"},
        // 4096 layers * 65536 experts * 3 * 2^20 * 2^20 alone are 8.9e20.
        BadConfig{R"({"num_hidden_layers": 4096, "num_local_experts": 65536,
                      "hidden_size": 1048576, "intermediate_size": 1048576})",
                  "num_hidden_layers: with the other sizes makes 8.85e+20 "
                  "weights, more than 2^53"},
        BadConfig{R"({"dtype": "bfloat16", "torch_dtype": "float16"})",
                  "torch_dtype: expected the value of dtype, \"bfloat16\", "
                  "found \"float16\""},
        BadConfig{R"({"dtype": "int8"})",
                  "dtype: expected \"bfloat16\", \"float16\" or \"float32\", "
                  "found \"int8\""},
        BadConfig{R"({"torch_dtype": "float8_e4m3fn"})",
                  "torch_dtype: expected \"bfloat16\", \"float16\" or "
                  "\"float32\", found \"float8_e4m3fn\""}));

INSTANTIATE_TEST_SUITE_P(
    Rope, M2ConfigError,
    testing::Values(
        BadConfig{R"({"rope_theta": null})",
                  "rope_theta: missing, expected a number above 0, here or in "
                  "rope_parameters"},
        BadConfig{R"({"rope_theta": -1})",
                  "rope_theta: expected a number above 0, found -1"},
        BadConfig{R"({"rope_parameters": {"rope_theta": 500}})",
                  "rope_theta: expected the value of "
                  "rope_parameters.rope_theta, found 10000"},
        BadConfig{R"({"rope_parameters": {"rope_theta": "1"}})",
                  "rope_parameters.rope_theta: expected a number above 0, "
                  "found \"1\""},
        BadConfig{R"({"rope_parameters": []})",
                  "rope_parameters: expected an object, found []"},
        BadConfig{R"({"rope_parameters": {"rope_type": "yarn", "factor": 2}})",
                  "rope_parameters.rope_type: expected \"default\" or nothing, "
                  "found \"yarn\"; scaled RoPE is not implemented"},
        BadConfig{R"({"rope_parameters": {"type": "linear"}})",
                  "rope_parameters.type: expected \"default\" or nothing, "
                  "found \"linear\"; scaled RoPE is not implemented"},
        BadConfig{R"({"rope_parameters": {"factor": 2}})",
                  "rope_parameters.factor: not a field of unscaled RoPE, "
                  "expected rope_type, rope_theta and partial_rotary_factor "
                  "only"},
        BadConfig{R"({"rope_scaling": {"type": "yarn"}})",
                  "rope_scaling: expected nothing, found {\"type\":\"yarn\"}; "
                  "scaled RoPE is not implemented"},
        BadConfig{R"({"partial_rotary_factor": 0.25})",
                  "rotary_dim: 4 contradicts partial_rotary_factor: 0.25 * "
                  "head_dim = 2"},
        BadConfig{R"({"rope_parameters": {"partial_rotary_factor": 1.0}})",
                  "rotary_dim: 4 contradicts partial_rotary_factor: 1 * "
                  "head_dim = 8"},
        BadConfig{R"({"partial_rotary_factor": 0.25,
                      "rope_parameters": {"partial_rotary_factor": 0.5}})",
                  "partial_rotary_factor: expected the value of "
                  "rope_parameters.partial_rotary_factor, found 0.25"},
        BadConfig{R"({"rotary_dim": null, "partial_rotary_factor": 0.3})",
                  "partial_rotary_factor: 0.3 * head_dim = 2.4 is not a whole "
                  "number of dims"},
        BadConfig{R"({"rotary_dim": null, "partial_rotary_factor": 1e-9})",
                  "partial_rotary_factor: 1e-09 * head_dim = 8e-09 is not a "
                  "whole number of dims"},
        BadConfig{R"({"rotary_dim": null, "partial_rotary_factor": 2})",
                  "partial_rotary_factor: 2 * head_dim = 16 exceeds head_dim"},
        BadConfig{R"({"rotary_dim": null, "partial_rotary_factor": 1e300})",
                  "partial_rotary_factor: 1e+300 * head_dim = 8e+300 exceeds "
                  "head_dim"},
        BadConfig{R"({"rotary_dim": 10})",
                  "rotary_dim: 10 must be even and at most head_dim = 8"},
        BadConfig{R"({"rotary_dim": 3})",
                  "rotary_dim: 3 must be even and at most head_dim = 8"},
        BadConfig{R"({"rotary_dim": 0})",
                  "rotary_dim: expected an integer from 1 to 1048576, found "
                  "0"}));

INSTANTIATE_TEST_SUITE_P(
    NotImplemented, M2ConfigError,
    testing::Values(
        BadConfig{R"({"hidden_act": "swigluoai"})",
                  "hidden_act: expected \"silu\" or nothing, found "
                  "\"swigluoai\"; other activations are not implemented"},
        BadConfig{R"({"scoring_func": "softmax"})",
                  "scoring_func: expected \"sigmoid\" or nothing, found "
                  "\"softmax\"; other routers are not implemented"},
        BadConfig{R"({"use_routing_bias": false})",
                  "use_routing_bias: expected true or nothing, found false; "
                  "routing without bias is not implemented"},
        BadConfig{R"({"norm_topk_prob": false})",
                  "norm_topk_prob: expected true or nothing, found false; "
                  "expert weights that are not normalised are not "
                  "implemented"},
        BadConfig{R"({"n_group": 8})",
                  "n_group: expected 0 or 1 or nothing, found 8; grouped "
                  "routing is not implemented"},
        BadConfig{R"({"num_expert_group": 2})",
                  "num_expert_group: expected 0 or 1 or nothing, found 2; "
                  "grouped routing is not implemented"},
        BadConfig{R"({"topk_group": 4})",
                  "topk_group: expected 0 or 1 or nothing, found 4; grouped "
                  "routing is not implemented"},
        BadConfig{R"({"use_qk_norm": false})",
                  "use_qk_norm: expected true or nothing, found false; "
                  "attention without QK norm is not implemented"},
        BadConfig{R"({"qk_norm_type": "per_head"})",
                  "qk_norm_type: expected \"per_layer\" or nothing, found "
                  "\"per_head\"; other QK norms are not implemented"},
        BadConfig{R"({"shared_intermediate_size": 1024})",
                  "shared_intermediate_size: expected 0 or nothing, found "
                  "1024; shared experts are not implemented"},
        BadConfig{R"({"n_shared_experts": 1})",
                  "n_shared_experts: expected 0 or nothing, found 1; shared "
                  "experts are not implemented"},
        BadConfig{R"({"first_k_dense_replace": 3})",
                  "first_k_dense_replace: expected 0 or nothing, found 3; "
                  "dense layers are not implemented"},
        BadConfig{R"({"sliding_window": 4096})",
                  "sliding_window: expected nothing, found 4096; windowed "
                  "attention is not implemented"},
        BadConfig{R"({"use_sliding_window": true})",
                  "use_sliding_window: expected false or nothing, found true; "
                  "windowed attention is not implemented"},
        BadConfig{R"({"attn_window_size": 128})",
                  "attn_window_size: expected nothing, found 128; windowed "
                  "attention is not implemented"},
        BadConfig{R"({"sparse_attention_config": {}})",
                  "sparse_attention_config: expected nothing, found {}; sparse "
                  "attention is not implemented"},
        BadConfig{R"({"attention_output_gate": true})",
                  "attention_output_gate: expected false or nothing, found "
                  "true; gated attention is not implemented"},
        BadConfig{R"({"use_gemma_norm": true})",
                  "use_gemma_norm: expected false or nothing, found true; "
                  "norms with weight + 1 are not implemented"},
        BadConfig{R"({"attention_bias": true})",
                  "attention_bias: expected false or nothing, found true; "
                  "biased projections are not implemented"},
        BadConfig{R"({"mlp_bias": true})",
                  "mlp_bias: expected false or nothing, found true; biased "
                  "projections are not implemented"},
        BadConfig{R"({"layernorm_full_attention_beta": 0.5})",
                  "layernorm_full_attention_beta: expected 1 or nothing, found "
                  "0.5; scaled residuals are not implemented"},
        BadConfig{R"({"layernorm_linear_attention_beta": 0.5})",
                  "layernorm_linear_attention_beta: expected 1 or nothing, "
                  "found 0.5; scaled residuals are not implemented"},
        BadConfig{R"({"layernorm_mlp_beta": 3.5})",
                  "layernorm_mlp_beta: expected 1 or nothing, found 3.5; "
                  "scaled residuals are not implemented"},
        BadConfig{R"({"attn_logit_softcapping": 50})",
                  "attn_logit_softcapping: expected nothing, found 50; capped "
                  "logits are not implemented"},
        BadConfig{R"({"final_logit_softcapping": 30})",
                  "final_logit_softcapping: expected nothing, found 30; capped "
                  "logits are not implemented"},
        BadConfig{R"({"compression_config": {}})",
                  "compression_config: expected nothing, found {}; only "
                  "quantization_config is read"},
        BadConfig{R"({"attn_type_list": [1, 0]})",
                  "attn_type_list[1]: expected 1 (full attention); other kinds "
                  "of layers are not implemented"},
        BadConfig{R"({"attn_type_list": [1]})",
                  "attn_type_list: has 1 entries, expected one per layer, "
                  "num_hidden_layers = 2"},
        BadConfig{R"({"moe_layer_freq": [0, 1]})",
                  "moe_layer_freq[0]: expected 1 (experts); other kinds of "
                  "layers are not implemented"},
        BadConfig{R"({"layer_types": ["full_attention", "linear_attention"]})",
                  "layer_types[1]: expected \"full_attention\"; other kinds of "
                  "layers are not implemented"},
        BadConfig{R"({"layer_types": "full_attention"})",
                  "layer_types: expected a list of strings, found "
                  "\"full_attention\""}));

INSTANTIATE_TEST_SUITE_P(
    Quantisation, M2ConfigError,
    testing::Values(
        BadConfig{R"({"quantization_config": {"quant_method": null}})",
                  "quantization_config.quant_method: missing, expected a "
                  "string"},
        BadConfig{R"({"quantization_config": {"quant_method": "quanto"}})",
                  "quantization_config.quant_method: expected \"fp8\", "
                  "\"compressed-tensors\", \"gptq\", \"awq\", \"modelopt\", "
                  "\"mxfp8\", \"quark\", \"modelslim\" or \"mix_quant\", the "
                  "only ones implemented, found \"quanto\""},
        BadConfig{R"({"quantization_config": {"fmt": "float8_e5m2"}})",
                  "quantization_config.fmt: expected \"float8_e4m3fn\" or "
                  "\"e4m3\" or nothing, found \"float8_e5m2\"; other FP8 "
                  "formats are not implemented"},
        BadConfig{R"({"quantization_config": {"activation_scheme": "static"}})",
                  "quantization_config.activation_scheme: expected \"dynamic\" "
                  "or nothing, found \"static\"; stored activation scales are "
                  "not implemented"},
        BadConfig{R"({"quantization_config": {"weight_block_size": null}})",
                  "quantization_config.weight_block_size: missing, expected "
                  "[128, 128], the only block implemented"},
        BadConfig{
            R"({"quantization_config": {"weight_block_size": [64, 128]}})",
            "quantization_config.weight_block_size: expected [128, 128], "
            "the only block implemented, found [64,128]"},
        BadConfig{R"({"quantization_config": {"weight_block_size": 128}})",
                  "quantization_config.weight_block_size: expected a list of "
                  "integers from 1 to 2147483647, found 128"},
        BadConfig{R"({"quantization_config": {"dequantize": true}})",
                  "quantization_config.dequantize: expected false or nothing, "
                  "found true; the checkpoint must say what it stores"},
        BadConfig{R"({"quantization_config": {"scale_fmt": "ue8m0"}})",
                  "quantization_config.scale_fmt: expected \"float\" or "
                  "nothing, found \"ue8m0\"; other scales than F32 are not "
                  "implemented"},
        BadConfig{R"({"quantization_config": {"modules_to_convert": ["x"]}})",
                  "quantization_config.modules_to_convert: expected [] or "
                  "nothing, found [\"x\"]; FP8 outside attention and experts "
                  "is not implemented"},
        BadConfig{
            R"({"quantization_config": {"kv_cache_scheme": {"bits": 8}}})",
            "quantization_config.kv_cache_scheme: the meaning of "
            "quantization_config.kv_cache_scheme.bits is not known"},
        BadConfig{R"({"quantization_config": {"ignored_layers": ["x"]}})",
                  "quantization_config.ignored_layers: contradicts "
                  "modules_to_not_convert"},
        BadConfig{R"({"quantization_config":
                      {"modules_to_not_convert": ["model/layers"]}})",
                  "quantization_config.modules_to_not_convert: expected module "
                  "names of letters, digits, _ and ., or with *, found "
                  "\"model/layers\""},
        BadConfig{
            R"({"quantization_config": {"modules_to_not_convert": [""]}})",
            "quantization_config.modules_to_not_convert: expected module "
            "names of letters, digits, _ and ., or with *, found \"\""},
        BadConfig{R"({"quantization_config": {"modules_to_not_convert": [1]}})",
                  "quantization_config.modules_to_not_convert: expected a list "
                  "of strings, found [1]"},
        BadConfig{R"({"quantization_config": "fp8"})",
                  "quantization_config: expected an object, found \"fp8\""}));

INSTANTIATE_TEST_SUITE_P(
    Others, M2ConfigError,
    testing::Values(
        BadConfig{R"({"eos_token_id": -1})",
                  "eos_token_id: expected an integer or a list of integers "
                  "from 0 to 2147483647, found -1"},
        BadConfig{R"({"bos_token_id": [1, "2"]})",
                  "bos_token_id: expected an integer or a list of integers "
                  "from 0 to 2147483647, found [1,\"2\"]"},
        BadConfig{R"({"num_mtp_modules": -1})",
                  "num_mtp_modules: expected an integer from 0 to 4096, found "
                  "-1"}));

// No damage may crash the import; a shortened file is always an error.
TEST(M2ConfigErrors, DamagedTextNeverCrashes) {
  const std::string text = smallFp8Config().dump();
  auto import = [](const std::string &damaged) {
    StatusOr<ConfigReader> reader = ConfigReader::parse(damaged, "c.json");
    std::vector<std::string> warnings;
    return reader.ok() ? readM2Config(*reader, warnings).status()
                       : reader.status();
  };
  ASSERT_TRUE(import(text).ok());
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(import(text.substr(0, i)).ok()) << i;
    std::string flipped = text;
    flipped[i] = char(flipped[i] ^ (1 << (i % 8)));
    Status status = import(flipped);
    EXPECT_EQ(status.ok(), status.message().empty()) << flipped;
  }
}

TEST(M2ConfigErrors, NullInARequiredFieldIsNamed) {
  nlohmann::json config = smallConfig();
  config["head_dim"] = nullptr;
  std::vector<std::string> warnings;
  EXPECT_EQ(
      readM2Config(*ConfigReader::parse(config.dump(), "c.json"), warnings)
          .status()
          .message(),
      "c.json: head_dim: expected an integer from 1 to 1048576, found "
      "null");
}

} // namespace
