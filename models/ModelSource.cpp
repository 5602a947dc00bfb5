#include "models/ModelSource.h"

#include <filesystem>

namespace fs = std::filesystem;

namespace saddle {

static bool isThere(const fs::path &path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

static Status requireWeights(const std::string &folder) {
  for (const char *name : {"model.safetensors.index.json", "model.safetensors"})
    if (isThere(fs::path(folder) / name))
      return Status();
  return Status(StatusCode::NotFound,
                folder + ": the folder has neither model.safetensors nor "
                         "model.safetensors.index.json; give its config.json "
                         "to compile without weights");
}

StatusOr<ModelSource> ModelSource::open(const std::string &path) {
  if (!isThere(path))
    return Status(StatusCode::NotFound,
                  path + ": no such file or folder, expected a model folder or "
                         "a config.json");
  std::error_code ignored;
  fs::path base = path;
  std::string configPath = path, folder;
  if (fs::is_directory(base, ignored)) {
    folder = path;
    configPath = base / "config.json";
    if (!isThere(configPath))
      return Status(StatusCode::NotFound,
                    path + ": the folder has no config.json");
  } else {
    base = base.parent_path();
  }
  SADDLE_ASSIGN_OR_RETURN(ConfigReader config, ConfigReader::open(configPath));
  ModelSource source{std::move(configPath), std::move(config), std::nullopt,
                     std::move(folder)};
  std::string generationPath = base / "generation_config.json";
  if (isThere(generationPath)) {
    SADDLE_ASSIGN_OR_RETURN(source.generation,
                            ConfigReader::open(generationPath));
  }
  return source;
}

StatusOr<int64_t> ModelSource::layersToCompile(const ImportOptions &options,
                                               int64_t layers) const {
  if (options.layers < 0 || options.layers > layers)
    return Status(StatusCode::InvalidArgument,
                  configPath + ": cannot compile " +
                      std::to_string(options.layers) +
                      " layers, num_hidden_layers = " + std::to_string(layers));
  return options.layers ? options.layers : layers;
}

Status ModelSource::resolve(const ImportOptions &options,
                            const AccountingRules &rules,
                            ModelWeights &weights) const {
  if (folder.empty() || options.configOnly)
    return Status();
  SADDLE_RETURN_IF_ERROR(requireWeights(folder));
  SADDLE_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::open(folder));
  SADDLE_RETURN_IF_ERROR(accountForTensors(checkpoint, rules, weights));
  return rules.check ? rules.check(checkpoint) : Status();
}

} // namespace saddle
