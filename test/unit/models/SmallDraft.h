// A small valid draft for tests to damage: its config, and the tensors that go
// with it.

#ifndef SADDLE_TEST_UNIT_MODELS_SMALLDRAFT_H
#define SADDLE_TEST_UNIT_MODELS_SMALLDRAFT_H

#include "models/Eagle3/Eagle3Weights.h"
#include "test/unit/models/TinyCheckpoint.h"

#include <gtest/gtest.h>

namespace saddle {

inline nlohmann::json smallDraft() {
  return nlohmann::json::parse(R"({
    "architectures": ["LlamaForCausalLMEagle3"],
    "model_type": "llama",
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000,
    "vocab_size": 40,
    "torch_dtype": "bfloat16"
  })");
}

/// Every tensor that smallDraft() with `patch` asks for, of zeroes.
inline TinyCheckpoint tensorsOfDraft(const std::string &patch) {
  TinyCheckpoint tensors;
  tensors.tensors.clear();
  std::vector<std::string> warnings;
  auto reader = ConfigReader::parse(patched(smallDraft(), patch), "c.json");
  StatusOr<Eagle3Config> config = readEagle3Config(*reader, warnings);
  EXPECT_TRUE(config.ok()) << config.status().message();
  auto weights = readEagle3Weights(
      *config, ModelSource{"c.json", *reader, std::nullopt, ""});
  EXPECT_TRUE(weights.ok()) << weights.status().message();
  for (const ModelWeight &weight : weights->used)
    tensors.set(weight.spec.name,
                weight.spec.dtype == TensorDType::I64 ? "I64" : "BF16",
                weight.spec.shape);
  return tensors;
}

} // namespace saddle

#endif // SADDLE_TEST_UNIT_MODELS_SMALLDRAFT_H
