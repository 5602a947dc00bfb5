#include "models/ModelSource.h"

#include "models/Common/Quantisation/SideFiles.h"
#include "models/Common/StoredNames.h"
#include "runtime/src/base/File.h"

#include <cinttypes>
#include <filesystem>

namespace fs = std::filesystem;

namespace saddle {

StatusOr<ModelSource> ModelSource::open(const std::string &path) {
  SADDLE_ASSIGN_OR_RETURN(bool isThere, exists(path));
  if (!isThere)
    return makeError(
        StatusCode::NotFound,
        "%s: no such file or folder, expected a model folder or a config.json",
        path.c_str());
  std::error_code ignored;
  fs::path base = path;
  std::string configPath = path, folder;
  if (fs::is_directory(base, ignored)) {
    folder = path;
    configPath = base / "config.json";
    SADDLE_ASSIGN_OR_RETURN(bool hasConfig, exists(configPath));
    if (!hasConfig)
      return makeError(StatusCode::NotFound,
                       "%s: the folder has no config.json%s", path.c_str(),
                       describeHubFolder(path).c_str());
  } else {
    base = base.parent_path();
  }
  SADDLE_ASSIGN_OR_RETURN(ConfigReader config, ConfigReader::open(configPath));
  SADDLE_RETURN_IF_ERROR(
      readSideFiles(base.empty() ? "." : base.string(), config));
  ModelSource source{std::move(configPath), std::move(config), std::nullopt,
                     std::move(folder)};
  std::string generationPath = base / "generation_config.json";
  SADDLE_ASSIGN_OR_RETURN(bool hasGeneration, exists(generationPath));
  if (hasGeneration) {
    SADDLE_ASSIGN_OR_RETURN(source.generation,
                            ConfigReader::open(generationPath));
  }
  return source;
}

StatusOr<int64_t> ModelSource::layersToCompile(const ImportOptions &options,
                                               int64_t layers) const {
  if (options.layers < 0 || options.layers > layers)
    return makeError(StatusCode::InvalidArgument,
                     "%s: cannot compile %" PRId64
                     " layers, num_hidden_layers = %" PRId64,
                     configPath.c_str(), options.layers, layers);
  return options.layers ? options.layers : layers;
}

Status ModelSource::resolve(const ImportOptions &options,
                            const AccountingRules &rules,
                            ModelWeights &weights) const {
  if (folder.empty() || options.configOnly)
    return Status();
  StatusOr<Checkpoint> opened = Checkpoint::open(folder);
  if (opened.status().code() == StatusCode::NotFound)
    return retellError(opened.status(),
                       "%s; or give its config.json to compile without weights",
                       opened.status().message().c_str());
  SADDLE_ASSIGN_OR_RETURN(Checkpoint checkpoint, std::move(opened));
  SADDLE_RETURN_IF_ERROR(resolveNames(checkpoint, weights));
  SADDLE_RETURN_IF_ERROR(accountForTensors(checkpoint, rules, weights));
  return rules.check ? rules.check(checkpoint) : Status();
}

} // namespace saddle
