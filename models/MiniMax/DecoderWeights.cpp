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

AccountingRules decoderAccountingRules(const DecoderSizes &sizes,
                                       const Quantisation &quantisation,
                                       bool tied,
                                       const std::string &configPath) {
  AccountingRules rules{configPath, quantisation, {}, ""};
  rules.ignore.push_back(
      {"*.rotary_emb.inv_freq", "recomputed from rope_theta and rotary_dim"});
  for (const char *scale :
       {"*.self_attn.q_scale", "*.self_attn.attn.q_scale",
        "*.self_attn.q_proj.q_scale", "*.self_attn.prob_scale",
        "*.self_attn.attn.prob_scale", "*.self_attn.prob_output_scale"})
    rules.ignore.push_back(
        {scale, "queries and weights of attention are multiplied as they are"});
  if (tied)
    rules.ignore.push_back(
        {"lm_head.weight", "tie_word_embeddings: the embedding is used"});
  rules.sizes =
      "num_hidden_layers = " + std::to_string(sizes.checkpointLayers) +
      ", num_local_experts = " + std::to_string(sizes.experts);
  return rules;
}

} // namespace saddle
