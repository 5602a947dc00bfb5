#include "models/MiniMax/M2Model.h"

namespace saddle {

StatusOr<M2Model> readM2(const ModelSource &source,
                         const ImportOptions &options) {
  M2Model model;
  SADDLE_ASSIGN_OR_RETURN(model.config,
                          readM2Config(source.config, model.warnings));
  M2Config &config = model.config;
  if (source.generation)
    SADDLE_RETURN_IF_ERROR(overrideTokenIds(*source.generation, config.vocab,
                                            config.tokens, model.warnings));
  SADDLE_ASSIGN_OR_RETURN(
      config.layers, source.layersToCompile(options, config.checkpointLayers));
  SADDLE_ASSIGN_OR_RETURN(model.weights,
                          listM2Weights(config, source.configPath));
  SADDLE_RETURN_IF_ERROR(source.resolve(
      options, m2AccountingRules(config, source.configPath), model.weights));
  model.weights.keepLayers(config.layers);
  return model;
}

} // namespace saddle
