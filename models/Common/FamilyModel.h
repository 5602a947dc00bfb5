// A model as the compiler sees it before any IR, whatever its family: sizes,
// weights, and what the user should hear about the input.

#ifndef SADDLE_MODELS_COMMON_FAMILYMODEL_H
#define SADDLE_MODELS_COMMON_FAMILYMODEL_H

#include "models/Common/TokenizerIds.h"
#include "models/ModelSource.h"

namespace saddle {

/// The first two products of experts are one, so gate (w1) and up (w3) of a
/// layer must be stored alike; else Unsupported, which names both.
Status checkGateAndUp(const ConfigReader &config, const ModelWeights &weights);

/// Decides what becomes of the scales of caches that a folder stores: they
/// count for fp8 caches, and a warning says so of others. Errors: some layers
/// have them and others do not, keys have one and values do not.
Status settleCacheScales(const ImportOptions &options,
                         const ConfigReader &config,
                         const Quantisation &quantisation,
                         ModelWeights &weights,
                         std::vector<std::string> &warnings);

/// A warning for entries of the list of modules that stay unquantised that name
/// none of this model's: they were written for other names, or for nothing.
void warnOfUselessNames(const ConfigReader &config,
                        const Quantisation &quantisation,
                        const ModelWeights &weights,
                        std::vector<std::string> &warnings);

/// Config has `layers`, `checkpointLayers`, `vocab`, `tokens` and
/// `quantisation`.
template <typename Config>
struct FamilyModel {
  Config config;
  /// Of the compiled layers.
  ModelWeights weights;
  std::vector<std::string> warnings;
};

/// Errors as in the functions given, overrideTokenIds, settleCacheScales, and
/// layersToCompile and resolve of the source.
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
  settleTokenIds(source.config, source.generation, config.vocab, config.tokens,
                 model.warnings);
  SADDLE_ASSIGN_OR_RETURN(
      config.layers, source.layersToCompile(options, config.checkpointLayers));
  SADDLE_ASSIGN_OR_RETURN(model.weights,
                          listWeights(config, source.configPath));
  warnOfUselessNames(source.config, config.quantisation, model.weights,
                     model.warnings);
  SADDLE_RETURN_IF_ERROR(source.resolve(
      options, accountingRules(config, source.configPath), model.weights));
  SADDLE_RETURN_IF_ERROR(checkGateAndUp(source.config, model.weights));
  SADDLE_RETURN_IF_ERROR(settleCacheScales(options, source.config,
                                           config.quantisation, model.weights,
                                           model.warnings));
  model.weights.keepLayers(config.layers);
  return model;
}

} // namespace saddle

#endif // SADDLE_MODELS_COMMON_FAMILYMODEL_H
