#include "models/MiniMax/DecoderWeights.h"

namespace saddle {

DecoderDimensions::DecoderDimensions(const DecoderSizes &sizes)
    : hidden{"hidden", uint64_t(sizes.hidden)},
      qHeads{"q_heads", uint64_t(sizes.attention.qWidth()),
             uint64_t(sizes.attention.headDim)},
      kvHeads{"kv_heads", uint64_t(sizes.attention.kvWidth()),
              uint64_t(sizes.attention.headDim)},
      routed{"router_experts", uint64_t(sizes.experts)},
      experts{"experts", uint64_t(sizes.experts)},
      width{"expert_width", uint64_t(sizes.expertIntermediate)},
      one{"shared_experts", 1},
      sharedWidth{"shared_width", uint64_t(sizes.sharedIntermediate)},
      embedded{"embedding_vocab", uint64_t(sizes.vocab)},
      vocab{"vocab", uint64_t(sizes.vocab)} {}

void listDecoder(WeightLister &list, const DecoderConfig &config,
                 const DecoderDimensions &dims, const LayerWeights &attention,
                 const LayerWeights &beside, const LayerWeights &behind) {
  list.add("embed", "model.embed_tokens.weight", {dims.embedded, dims.hidden});
  for (int64_t layer = 0; layer < config.checkpointLayers; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    const std::string moe = at + "block_sparse_moe.";
    auto call = [&](const LayerWeights &function) {
      if (function)
        function(layer, at);
    };
    list.enterLayer(layer);
    list.add("input_norm", at + "input_layernorm.weight", {dims.hidden});
    call(attention);
    list.add("post_attention_norm", at + "post_attention_layernorm.weight",
             {dims.hidden});
    list.add("router", moe + "gate.weight", {dims.routed, dims.hidden}).dtype =
        config.routerDType;
    call(beside);
    list.addProjection("w1", moe + "experts.{}.w1",
                       {dims.experts, dims.width, dims.hidden});
    list.addProjection("w3", moe + "experts.{}.w3",
                       {dims.experts, dims.width, dims.hidden});
    list.addProjection("w2", moe + "experts.{}.w2",
                       {dims.experts, dims.hidden, dims.width});
    call(behind);
  }
  list.leaveLayers();
  list.add("final_norm", "model.norm.weight", {dims.hidden});
  if (!config.tieWordEmbeddings)
    list.add("lm_head", "lm_head.weight", {dims.vocab, dims.hidden});
}

void listQKV(WeightLister &list, const DecoderDimensions &dims,
             const std::string &attention) {
  list.addProjection("q_proj", attention + "q_proj",
                     {dims.qHeads, dims.hidden});
  list.addProjection("k_proj", attention + "k_proj",
                     {dims.kvHeads, dims.hidden});
  list.addProjection("v_proj", attention + "v_proj",
                     {dims.kvHeads, dims.hidden});
  list.addCacheScales("kv", attention);
}

void listSharedExpert(WeightLister &list, const DecoderDimensions &dims,
                      const std::string &mlp) {
  list.addProjection("shared_w1", mlp + "gate_proj",
                     {dims.one, dims.sharedWidth, dims.hidden});
  list.addProjection("shared_w3", mlp + "up_proj",
                     {dims.one, dims.sharedWidth, dims.hidden});
  list.addProjection("shared_w2", mlp + "down_proj",
                     {dims.one, dims.hidden, dims.sharedWidth});
}

AccountingRules decoderAccountingRules(const DecoderConfig &config,
                                       const std::string &configPath) {
  AccountingRules rules{configPath, config.quantisation, {}, ""};
  rules.ignore.push_back(
      {"*.rotary_emb.inv_freq", "recomputed from rope_theta and rotary_dim"});
  for (const char *scale :
       {"*.self_attn.q_scale", "*.self_attn.attn.q_scale",
        "*.self_attn.q_proj.q_scale", "*.self_attn.prob_scale",
        "*.self_attn.attn.prob_scale", "*.self_attn.prob_output_scale"})
    rules.ignore.push_back(
        {scale, "queries and weights of attention are multiplied as they are"});
  if (config.tieWordEmbeddings)
    rules.ignore.push_back(
        {"lm_head.weight", "tie_word_embeddings: the embedding is used"});
  rules.sizes =
      "num_hidden_layers = " + std::to_string(config.checkpointLayers) +
      ", num_local_experts = " + std::to_string(config.experts);
  return rules;
}

} // namespace saddle
