// What the user pointed at: a model folder, or a config.json alone, found and
// opened once.

#ifndef SADDLE_MODELS_MODELSOURCE_H
#define SADDLE_MODELS_MODELSOURCE_H

#include "models/Common/TensorAccounting.h"

#include <optional>

namespace saddle {

/// What the user decides about an import.
struct ImportOptions {
  /// Compile only the first layers; 0 means all. The rest of the checkpoint's
  /// layers are ignored weights.
  int64_t layers = 0;
  /// Take tensor dtypes from the architecture even when the source is a folder.
  bool configOnly = false;
  /// Caches are fp8, so that stored scales of theirs count.
  bool fp8Cache = false;
};

struct ModelSource {
  std::string configPath;
  ConfigReader config;
  /// generation_config.json beside the config, if there is one.
  std::optional<ConfigReader> generation;
  /// Where the weights lie; empty when the user gave a config file, which then
  /// stands for the model as published, without a look at any weights.
  std::string folder;

  /// Errors: the path does not exist, is a folder without config.json; those of
  /// ConfigReader::open.
  static StatusOr<ModelSource> open(const std::string &path);

  /// Layers to compile of the `layers` that there are. Errors: the user asked
  /// for more.
  StatusOr<int64_t> layersToCompile(const ImportOptions &options,
                                    int64_t layers) const;

  /// Matches the folder's tensors with `weights`, all layers of them; without a
  /// folder, or with `configOnly`, they stay as the architecture stores them.
  /// Errors: a folder without weights, Checkpoint::open's, resolveNames',
  /// accountForTensors' and those of the rules' check.
  Status resolve(const ImportOptions &options, const AccountingRules &rules,
                 ModelWeights &weights) const;
};

} // namespace saddle

#endif // SADDLE_MODELS_MODELSOURCE_H
