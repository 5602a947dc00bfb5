// A MiniMax-M2 model as the compiler sees it before any IR: sizes, weights and
// what the user should hear about the input.

#ifndef SADDLE_MODELS_MINIMAX_M2MODEL_H
#define SADDLE_MODELS_MINIMAX_M2MODEL_H

#include "models/MiniMax/M2Config.h"
#include "models/MiniMax/M2Weights.h"

namespace saddle {

struct ImportOptions {
  /// Compile only the first layers; 0 means all. The rest of the checkpoint's
  /// layers stay in M2Weights::ignored.
  int64_t layers = 0;
  /// Take tensor dtypes from the architecture even when `path` is a folder.
  bool configOnly = false;
};

struct M2Model {
  M2Config config;
  M2Weights weights;
  std::vector<std::string> warnings;
};

/// `path` is a folder with config.json and safetensors, or a config.json file,
/// which then stands for the model as published, without a look at any weights.
/// generation_config.json beside the config is read when present. Errors as in
/// readM2Config, Checkpoint::open and resolveM2Weights; also a path that does
/// not exist, a folder without config.json or without weights, and more layers
/// than there are.
StatusOr<M2Model> importM2(const std::string &path,
                           const ImportOptions &options = {});

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M2MODEL_H
