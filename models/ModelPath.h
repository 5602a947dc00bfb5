// What the user pointed at: a model folder, or a config.json alone.

#ifndef SADDLE_MODELS_MODELPATH_H
#define SADDLE_MODELS_MODELPATH_H

#include "runtime/src/base/Status.h"

#include <string>

namespace saddle {

struct ModelPath {
  std::string config;
  /// Beside the config; empty when there is none.
  std::string generationConfig;
  /// Where the weights lie; empty when the path is a config file.
  std::string folder;

  /// Errors: the path does not exist, is a folder without config.json.
  static StatusOr<ModelPath> find(const std::string &path);

  /// Errors: the folder has neither model.safetensors nor an index.
  Status requireWeights() const;
};

} // namespace saddle

#endif // SADDLE_MODELS_MODELPATH_H
