#include "models/MiniMax/M2Weights.h"

#include "models/MiniMax/DecoderWeights.h"

namespace saddle {

StatusOr<ModelWeights> listM2Weights(const M2Config &config,
                                     const std::string &configPath) {
  const DecoderDimensions dims(config);
  // Published FP8 checkpoints keep the router in F32; transformers saves it in
  // the model's dtype.
  const TensorDType routerType =
      config.quantisation ? TensorDType::F32 : config.dtype;

  WeightLister list(config.dtype, config.quantisation, configPath);
  list.add("embed", "model.embed_tokens.weight", {dims.embedded, dims.hidden});
  for (int64_t layer = 0; layer < config.checkpointLayers; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    const std::string attention = at + "self_attn.";
    const std::string moe = at + "block_sparse_moe.";
    list.enterLayer(layer);
    list.add("input_norm", at + "input_layernorm.weight", {dims.hidden});
    list.addProjection("q_proj", attention + "q_proj",
                       {dims.qHeads, dims.hidden});
    list.addProjection("k_proj", attention + "k_proj",
                       {dims.kvHeads, dims.hidden});
    list.addProjection("v_proj", attention + "v_proj",
                       {dims.kvHeads, dims.hidden});
    list.add("q_norm", attention + "q_norm.weight", {dims.qHeads});
    list.add("k_norm", attention + "k_norm.weight", {dims.kvHeads});
    list.addCacheScales("kv", attention);
    list.addProjection("o_proj", attention + "o_proj",
                       {dims.hidden, dims.qHeads});
    list.add("post_attention_norm", at + "post_attention_layernorm.weight",
             {dims.hidden});
    list.add("router", moe + "gate.weight", {dims.routed, dims.hidden}).dtype =
        routerType;
    list.add("router_bias", moe + "e_score_correction_bias", {dims.routed})
        .dtype = routerType;
    listExperts(list, dims, moe);
  }
  list.leaveLayers();
  list.add("final_norm", "model.norm.weight", {dims.hidden});
  if (!config.tieWordEmbeddings)
    list.add("lm_head", "lm_head.weight", {dims.vocab, dims.hidden});
  return list.take();
}

AccountingRules m2AccountingRules(const M2Config &config,
                                  const std::string &configPath) {
  AccountingRules rules = decoderAccountingRules(
      config, config.quantisation, config.tieWordEmbeddings, configPath);
  rules.ignore.push_back({"model.layers.{}.*",
                          "multi-token prediction is not used",
                          config.checkpointLayers,
                          config.checkpointLayers + config.mtpLayers - 1});
  return rules;
}

} // namespace saddle
