#include "models/MiniMax/M1Weights.h"

#include "models/MiniMax/DecoderWeights.h"
#include "models/MiniMax/M1Decays.h"

namespace saddle {

static std::string attentionOf(int64_t layer) {
  return "model.layers." + std::to_string(layer) + ".self_attn.";
}

StatusOr<ModelWeights> listM1Weights(const M1Config &config,
                                     const std::string &configPath) {
  const DecoderDimensions dims(config);
  // Query, key and value of a head stand together.
  const Dimension qkvHeads{"q_heads", 3 * dims.qHeads.extent,
                           3 * dims.qHeads.unit};

  WeightLister list(config.dtype, config.quantisation, configPath);
  list.add("embed", "model.embed_tokens.weight", {dims.embedded, dims.hidden});
  for (int64_t layer = 0; layer < config.checkpointLayers; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    const std::string attention = attentionOf(layer);
    const std::string moe = at + "block_sparse_moe.";
    list.enterLayer(layer);
    list.add("input_norm", at + "input_layernorm.weight", {dims.hidden});
    if (config.isLinear[size_t(layer)]) {
      list.addProjection("qkv_proj", attention + "qkv_proj",
                         {qkvHeads, dims.hidden});
      list.add("scan_norm", attention + "norm.weight", {dims.qHeads});
      list.addProjection("output_gate", attention + "output_gate",
                         {dims.qHeads, dims.hidden});
      list.addProjection("out_proj", attention + "out_proj",
                         {dims.hidden, dims.qHeads});
    } else {
      list.addProjection("q_proj", attention + "q_proj",
                         {dims.qHeads, dims.hidden});
      list.addProjection("k_proj", attention + "k_proj",
                         {dims.kvHeads, dims.hidden});
      list.addProjection("v_proj", attention + "v_proj",
                         {dims.kvHeads, dims.hidden});
      list.addCacheScales("kv", attention);
      list.addProjection("o_proj", attention + "o_proj",
                         {dims.hidden, dims.qHeads});
    }
    list.add("post_attention_norm", at + "post_attention_layernorm.weight",
             {dims.hidden});
    list.add("router", moe + "gate.weight", {dims.routed, dims.hidden}).dtype =
        config.routerDType;
    listExperts(list, dims, moe);
  }
  list.leaveLayers();
  list.add("final_norm", "model.norm.weight", {dims.hidden});
  if (!config.tieWordEmbeddings)
    list.add("lm_head", "lm_head.weight", {dims.vocab, dims.hidden});
  return list.take();
}

AccountingRules m1AccountingRules(const M1Config &config,
                                  const std::string &configPath) {
  AccountingRules rules = decoderAccountingRules(
      config, config.quantisation, config.tieWordEmbeddings, configPath);
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
  return rules;
}

} // namespace saddle
