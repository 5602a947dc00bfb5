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
  auto attention = [&](int64_t layer, const std::string &) {
    const std::string at = attentionOf(layer);
    if (!config.isLinear[size_t(layer)]) {
      listQKV(list, dims, at);
      list.addProjection("o_proj", at + "o_proj", {dims.hidden, dims.qHeads});
      return;
    }
    list.addProjection("qkv_proj", at + "qkv_proj", {qkvHeads, dims.hidden});
    list.add("scan_norm", at + "norm.weight", {dims.qHeads});
    list.addProjection("output_gate", at + "output_gate",
                       {dims.qHeads, dims.hidden});
    list.addProjection("out_proj", at + "out_proj", {dims.hidden, dims.qHeads});
  };
  auto shared = [&](int64_t, const std::string &at) {
    if (config.sharedIntermediate == 0)
      return;
    list.add("shared_gate", at + "coefficient.weight", {dims.one, dims.hidden});
    listSharedExpert(list, dims, at + "shared_mlp.");
  };
  listDecoder(list, config, dims, attention, nullptr, shared);
  return list.take();
}

AccountingRules m1AccountingRules(const M1Config &config,
                                  const std::string &configPath) {
  AccountingRules rules = decoderAccountingRules(config, configPath);
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
