// A model as the compiler sees it before any IR, whatever its family: sizes,
// weights, and what the user should hear about the input.

#ifndef SADDLE_MODELS_COMMON_FAMILYMODEL_H
#define SADDLE_MODELS_COMMON_FAMILYMODEL_H

#include "models/ModelSource.h"

namespace saddle {

/// Config has `layers`, `checkpointLayers`, `vocab` and `tokens`.
template <typename Config>
struct FamilyModel {
  Config config;
  /// Of the compiled layers.
  ModelWeights weights;
  std::vector<std::string> warnings;
};

/// Errors as in the functions given, overrideTokenIds, and layersToCompile and
/// resolve of the source.
template <typename Config>
StatusOr<FamilyModel<Config>> readFamilyModel(
    const ModelSource &source, const ImportOptions &options,
    StatusOr<Config> (*readConfig)(ConfigReader, std::vector<std::string> &),
    StatusOr<ModelWeights> (*listWeights)(const Config &, const std::string &),
    AccountingRules (*accountingRules)(const Config &, const std::string &)) {
  FamilyModel<Config> model;
  SADDLE_ASSIGN_OR_RETURN(model.config,
                          readConfig(source.config, model.warnings));
  Config &config = model.config;
  if (source.generation)
    SADDLE_RETURN_IF_ERROR(overrideTokenIds(*source.generation, config.vocab,
                                            config.tokens, model.warnings));
  SADDLE_ASSIGN_OR_RETURN(
      config.layers, source.layersToCompile(options, config.checkpointLayers));
  SADDLE_ASSIGN_OR_RETURN(model.weights,
                          listWeights(config, source.configPath));
  SADDLE_RETURN_IF_ERROR(source.resolve(
      options, accountingRules(config, source.configPath), model.weights));
  model.weights.keepLayers(config.layers);
  return model;
}

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_FAMILYMODEL_H
