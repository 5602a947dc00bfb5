#include "models/MiniMax/M1Weights.h"

#include "models/MiniMax/M1Decays.h"

namespace saddle {

static std::string attentionOf(int64_t layer) {
  return "model.layers." + std::to_string(layer) + ".self_attn.";
}

StatusOr<ModelWeights> listM1Weights(const M1Config &config,
                                     const std::string &configPath) {
  const uint64_t headDim = config.attention.headDim;
  const Dimension hidden{"hidden", uint64_t(config.hidden)};
  const Dimension qHeads{"q_heads", uint64_t(config.attention.qWidth()),
                         headDim};
  // Query, key and value of a head stand together.
  const Dimension qkvHeads{"q_heads", 3 * uint64_t(config.attention.qWidth()),
                           3 * headDim};
  const Dimension kvHeads{"kv_heads", uint64_t(config.attention.kvWidth()),
                          headDim};
  const Dimension routed{"router_experts", uint64_t(config.experts)};
  const Dimension experts{"experts", uint64_t(config.experts)};
  const Dimension width{"expert_width", uint64_t(config.expertIntermediate)};
  const Dimension embedded{"embedding_vocab", uint64_t(config.vocab)};
  const Dimension vocab{"vocab", uint64_t(config.vocab)};

  WeightLister list(config.dtype, config.quantisation, configPath);
  list.add("embed", "model.embed_tokens.weight", {embedded, hidden});
  for (int64_t layer = 0; layer < config.checkpointLayers; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    const std::string attention = attentionOf(layer);
    const std::string moe = at + "block_sparse_moe.";
    list.enterLayer(layer);
    list.add("input_norm", at + "input_layernorm.weight", {hidden});
    if (config.isLinear[size_t(layer)]) {
      list.addProjection("qkv_proj", attention + "qkv_proj",
                         {qkvHeads, hidden});
      list.add("scan_norm", attention + "norm.weight", {qHeads});
      list.addProjection("output_gate", attention + "output_gate",
                         {qHeads, hidden});
      list.addProjection("out_proj", attention + "out_proj", {hidden, qHeads});
    } else {
      list.addProjection("q_proj", attention + "q_proj", {qHeads, hidden});
      list.addProjection("k_proj", attention + "k_proj", {kvHeads, hidden});
      list.addProjection("v_proj", attention + "v_proj", {kvHeads, hidden});
      list.addProjection("o_proj", attention + "o_proj", {hidden, qHeads});
    }
    list.add("post_attention_norm", at + "post_attention_layernorm.weight",
             {hidden});
    list.add("router", moe + "gate.weight", {routed, hidden}).dtype =
        config.routerDType;
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

AccountingRules m1AccountingRules(const M1Config &config,
                                  const std::string &configPath) {
  AccountingRules rules{configPath, config.quantisation, {}, ""};
  rules.check = [&config](const Checkpoint &checkpoint) {
    return checkStoredDecays(config, checkpoint);
  };
  // transformers keeps its decays beside the weights of the layers that have
  // them; anywhere else they would be a sign of another layer pattern.
  for (int64_t layer = 0; layer < config.checkpointLayers; ++layer)
    if (config.isLinear[size_t(layer)])
      for (const char *buffer : decayBuffers)
        rules.ignore.push_back({attentionOf(layer) + buffer,
                                "recomputed from the number of heads and the "
                                "place of the layer"});
  rules.ignore.push_back(
      {"*.rotary_emb.inv_freq", "recomputed from rope_theta and rotary_dim"});
  if (config.tieWordEmbeddings)
    rules.ignore.push_back(
        {"lm_head.weight", "tie_word_embeddings: the embedding is used"});
  rules.sizes =
      "num_hidden_layers = " + std::to_string(config.checkpointLayers) +
      ", num_local_experts = " + std::to_string(config.experts);
  return rules;
}

} // namespace saddle
