// A small valid config for tests to damage.

#ifndef SADDLE_TEST_UNIT_MODELS_SMALLCONFIG_H
#define SADDLE_TEST_UNIT_MODELS_SMALLCONFIG_H

#include <nlohmann/json.hpp>

#include <string>

namespace saddle {

/// q width 6 * 8 = 48, kv width 2 * 8 = 16.
inline nlohmann::json smallConfig() {
  return nlohmann::json::parse(R"({
    "architectures": ["MiniMaxM2ForCausalLM"],
    "model_type": "minimax_m2",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rotary_dim": 4,
    "rope_theta": 10000,
    "intermediate_size": 24,
    "num_local_experts": 3,
    "num_experts_per_tok": 2,
    "vocab_size": 40,
    "rms_norm_eps": 1e-06,
    "max_position_embeddings": 64,
    "eos_token_id": 1,
    "bos_token_id": 2
  })");
}

inline nlohmann::json smallFp8Config() {
  nlohmann::json config = smallConfig();
  config["quantization_config"] = nlohmann::json::parse(R"({
    "quant_method": "fp8",
    "fmt": "float8_e4m3fn",
    "activation_scheme": "dynamic",
    "weight_block_size": [128, 128],
    "modules_to_not_convert": ["gate", "e_score_correction_bias", "lm_head"]
  })");
  return config;
}

/// smallConfig() with that `quantization_config`, after a JSON merge patch.
inline nlohmann::json quantisedConfig(const char *quantization,
                                      const std::string &patch = "{}") {
  nlohmann::json config = smallConfig();
  config["quantization_config"] = nlohmann::json::parse(quantization);
  config["quantization_config"].merge_patch(nlohmann::json::parse(patch));
  return config;
}

/// Applies a JSON merge patch (RFC 7396, null deletes) written as text.
inline std::string patched(nlohmann::json config, const std::string &patch) {
  config.merge_patch(nlohmann::json::parse(patch));
  return config.dump();
}

} // namespace saddle

#endif // SADDLE_TEST_UNIT_MODELS_SMALLCONFIG_H
