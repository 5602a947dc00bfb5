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

void listExperts(WeightLister &list, const DecoderDimensions &dims,
                 const std::string &moe) {
  list.addProjection("w1", moe + "experts.{}.w1",
                     {dims.experts, dims.width, dims.hidden});
  list.addProjection("w3", moe + "experts.{}.w3",
                     {dims.experts, dims.width, dims.hidden});
  list.addProjection("w2", moe + "experts.{}.w2",
                     {dims.experts, dims.hidden, dims.width});
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

AccountingRules decoderAccountingRules(const DecoderSizes &sizes,
                                       const Quantisation &quantisation,
                                       bool tied,
                                       const std::string &configPath) {
  AccountingRules rules{configPath, quantisation, {}, ""};
  rules.ignore.push_back(
      {"*.rotary_emb.inv_freq", "recomputed from rope_theta and rotary_dim"});
  for (const char *scale :
       {"*.self_attn.k_proj.k_scale", "*.self_attn.v_proj.v_scale",
        "*.self_attn.k_scale", "*.self_attn.v_scale"})
    if (quantisation)
      rules.ignore.push_back(
          {scale, "KV caches hold what is computed, without a scale"});
  if (tied)
    rules.ignore.push_back(
        {"lm_head.weight", "tie_word_embeddings: the embedding is used"});
  rules.sizes =
      "num_hidden_layers = " + std::to_string(sizes.checkpointLayers) +
      ", num_local_experts = " + std::to_string(sizes.experts);
  return rules;
}

} // namespace saddle
