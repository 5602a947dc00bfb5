// A small valid config of M1 for tests to damage, and the tensors that go with
// it.

#ifndef SADDLE_TEST_UNIT_MODELS_SMALLM1CONFIG_H
#define SADDLE_TEST_UNIT_MODELS_SMALLM1CONFIG_H

#include "test/unit/models/TinyCheckpoint.h"

namespace saddle {

/// One layer of linear attention and one of full attention; q width 4 * 8 = 32,
/// kv width 2 * 8 = 16.
inline nlohmann::json smallM1Config() {
  return nlohmann::json::parse(R"({
    "architectures": ["MiniMaxM1ForCausalLM"],
    "model_type": "minimax_m1",
    "attn_type_list": [0, 1],
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rotary_dim": 4,
    "rope_theta": 10000,
    "intermediate_size": 20,
    "num_local_experts": 3,
    "num_experts_per_tok": 2,
    "vocab_size": 40,
    "rms_norm_eps": 1e-05,
    "max_position_embeddings": 64,
    "postnorm": true,
    "layernorm_linear_attention_alpha": 1.5,
    "layernorm_linear_attention_beta": 0.5,
    "layernorm_full_attention_alpha": 2.5,
    "layernorm_full_attention_beta": 0.25,
    "layernorm_mlp_alpha": 3.5,
    "layernorm_mlp_beta": 0.75
  })");
}

/// The same model as transformers would save it.
inline nlohmann::json savedM1Config() {
  return nlohmann::json::parse(R"({
    "architectures": ["MiniMaxForCausalLM"],
    "attention_dropout": 0.0,
    "block_size": 256,
    "bos_token_id": null,
    "dtype": "bfloat16",
    "eos_token_id": 7,
    "full_attn_alpha_factor": 2.5,
    "full_attn_beta_factor": 0.25,
    "head_dim": 8,
    "hidden_act": "silu",
    "hidden_size": 24,
    "initializer_range": 0.02,
    "intermediate_size": 20,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_attn_alpha_factor": 1.5,
    "linear_attn_beta_factor": 0.5,
    "max_position_embeddings": 64,
    "mlp_alpha_factor": 3.5,
    "mlp_beta_factor": 0.75,
    "model_type": "minimax",
    "num_attention_heads": 4,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "num_local_experts": 3,
    "output_router_logits": false,
    "pad_token_id": null,
    "rms_norm_eps": 1e-05,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
    "sliding_window": null,
    "tie_word_embeddings": false,
    "transformers_version": "5.24.0",
    "use_cache": true,
    "vocab_size": 40
  })");
}

/// Tensors of smallM1Config() and savedM1Config(), listed independently of the
/// import.
inline TinyCheckpoint smallM1Checkpoint() {
  TinyCheckpoint tensors;
  tensors.tensors.clear();
  auto set = [&](const std::string &name, std::vector<uint64_t> shape) {
    tensors.set(name + ".weight", "BF16", shape);
  };
  set("model.embed_tokens", {40, 24});
  set("model.norm", {24});
  set("lm_head", {40, 24});
  set("model.layers.0.self_attn.qkv_proj", {96, 24});
  set("model.layers.0.self_attn.norm", {32});
  set("model.layers.0.self_attn.output_gate", {32, 24});
  set("model.layers.0.self_attn.out_proj", {24, 32});
  set("model.layers.1.self_attn.q_proj", {32, 24});
  set("model.layers.1.self_attn.k_proj", {16, 24});
  set("model.layers.1.self_attn.v_proj", {16, 24});
  set("model.layers.1.self_attn.o_proj", {24, 32});
  for (const char *at : {"model.layers.0.", "model.layers.1."}) {
    std::string layer = at;
    set(layer + "input_layernorm", {24});
    set(layer + "post_attention_layernorm", {24});
    std::string moe = layer + "block_sparse_moe.";
    set(moe + "gate", {3, 24});
    for (const char *expert : {"0.", "1.", "2."}) {
      set(moe + "experts." + expert + "w1", {20, 24});
      set(moe + "experts." + expert + "w3", {20, 24});
      set(moe + "experts." + expert + "w2", {24, 20});
    }
  }
  return tensors;
}

} // namespace saddle

#endif // SADDLE_TEST_UNIT_MODELS_SMALLM1CONFIG_H
