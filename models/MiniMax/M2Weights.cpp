#include "models/MiniMax/M2Weights.h"

#include "models/MiniMax/DecoderWeights.h"

namespace saddle {

StatusOr<ModelWeights> listM2Weights(const M2Config &config,
                                     const std::string &configPath) {
  const DecoderDimensions dims(config);
  WeightLister list(config.dtype, config.quantisation, configPath);
  listDecoder(
      list, config, dims,
      [&](int64_t, const std::string &at) {
        const std::string attention = at + "self_attn.";
        listQKV(list, dims, attention);
        list.add("q_norm", attention + "q_norm.weight", {dims.qHeads});
        list.add("k_norm", attention + "k_norm.weight", {dims.kvHeads});
        list.addProjection("o_proj", attention + "o_proj",
                           {dims.hidden, dims.qHeads});
      },
      [&](int64_t, const std::string &at) {
        list.add("router_bias", at + "block_sparse_moe.e_score_correction_bias",
                 {dims.routed})
            .dtype = config.routerDType;
      },
      nullptr);
  return list.take();
}

AccountingRules m2AccountingRules(const M2Config &config,
                                  const std::string &configPath) {
  AccountingRules rules = decoderAccountingRules(config, configPath);
  rules.ignore.push_back({"model.layers.{}.*",
                          "multi-token prediction is not used",
                          config.checkpointLayers,
                          config.checkpointLayers + config.mtpLayers - 1});
  return rules;
}

} // namespace saddle
