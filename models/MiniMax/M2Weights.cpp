#include "models/MiniMax/M2Weights.h"

namespace saddle {

StatusOr<ModelWeights> listM2Weights(const M2Config &config,
                                     const std::string &configPath) {
  const uint64_t headDim = config.attention.headDim;
  const Dimension hidden{"hidden", uint64_t(config.hidden)};
  const Dimension qHeads{"q_heads", uint64_t(config.attention.qWidth()),
                         headDim};
  const Dimension kvHeads{"kv_heads", uint64_t(config.attention.kvWidth()),
                          headDim};
  const Dimension routed{"router_experts", uint64_t(config.experts)};
  const Dimension experts{"experts", uint64_t(config.experts)};
  const Dimension width{"expert_width", uint64_t(config.expertIntermediate)};
  const Dimension embedded{"embedding_vocab", uint64_t(config.vocab)};
  const Dimension vocab{"vocab", uint64_t(config.vocab)};
  // Published FP8 checkpoints keep the router in F32; transformers saves it in
  // the model's dtype.
  const TensorDType routerType =
      config.quantisation ? TensorDType::F32 : config.dtype;

  WeightLister list(config.dtype, config.quantisation, configPath);
  list.add("embed", "model.embed_tokens.weight", {embedded, hidden});
  for (int64_t layer = 0; layer < config.checkpointLayers; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    const std::string attention = at + "self_attn.";
    const std::string moe = at + "block_sparse_moe.";
    list.enterLayer(layer);
    list.add("input_norm", at + "input_layernorm.weight", {hidden});
    list.addProjection("q_proj", attention + "q_proj", {qHeads, hidden});
    list.addProjection("k_proj", attention + "k_proj", {kvHeads, hidden});
    list.addProjection("v_proj", attention + "v_proj", {kvHeads, hidden});
    list.add("q_norm", attention + "q_norm.weight", {qHeads});
    list.add("k_norm", attention + "k_norm.weight", {kvHeads});
    list.addProjection("o_proj", attention + "o_proj", {hidden, qHeads});
    list.add("post_attention_norm", at + "post_attention_layernorm.weight",
             {hidden});
    list.add("router", moe + "gate.weight", {routed, hidden}).dtype =
        routerType;
    list.add("router_bias", moe + "e_score_correction_bias", {routed}).dtype =
        routerType;
    list.addProjection("w1", moe + "experts.{}.w1", {experts, width, hidden});
    list.addProjection("w3", moe + "experts.{}.w3", {experts, width, hidden});
    list.addProjection("w2", moe + "experts.{}.w2", {experts, hidden, width});
  }
  list.leaveLayers();
  list.add("final_norm", "model.norm.weight", {hidden});
  if (!config.tieWordEmbeddings)
    list.add("lm_head", "lm_head.weight", {vocab, hidden});
  return list.take();
}

AccountingRules m2AccountingRules(const M2Config &config,
                                  const std::string &configPath) {
  AccountingRules rules{configPath, config.quantisation, {}, ""};
  rules.ignore.push_back(
      {"*.rotary_emb.inv_freq", "recomputed from rope_theta and rotary_dim"});
  for (const char *scale :
       {"*.self_attn.k_proj.k_scale", "*.self_attn.v_proj.v_scale",
        "*.self_attn.k_scale", "*.self_attn.v_scale"})
    if (config.quantisation)
      rules.ignore.push_back(
          {scale, "KV caches hold what is computed, without a scale"});
  if (config.tieWordEmbeddings)
    rules.ignore.push_back(
        {"lm_head.weight", "tie_word_embeddings: the embedding is used"});
  rules.ignore.push_back({"model.layers.{}.*",
                          "multi-token prediction is not used",
                          config.checkpointLayers,
                          config.checkpointLayers + config.mtpLayers - 1});
  rules.sizes =
      "num_hidden_layers = " + std::to_string(config.checkpointLayers) +
      ", num_local_experts = " + std::to_string(config.experts);
  return rules;
}

} // namespace saddle
