#include "models/ModelPath.h"

#include <filesystem>

namespace fs = std::filesystem;

namespace saddle {

static bool isThere(const fs::path &path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

StatusOr<ModelPath> ModelPath::find(const std::string &path) {
  if (!isThere(path))
    return Status(StatusCode::NotFound,
                  path + ": no such file or folder, expected a model folder or "
                         "a config.json");
  ModelPath place;
  std::error_code ignored;
  fs::path base = path;
  if (fs::is_directory(base, ignored)) {
    place.folder = path;
    place.config = base / "config.json";
    if (!isThere(place.config))
      return Status(StatusCode::NotFound,
                    path + ": the folder has no config.json");
  } else {
    place.config = path;
    base = base.parent_path();
  }
  if (isThere(base / "generation_config.json"))
    place.generationConfig = base / "generation_config.json";
  return place;
}

Status ModelPath::requireWeights() const {
  for (const char *name : {"model.safetensors.index.json", "model.safetensors"})
    if (isThere(fs::path(folder) / name))
      return Status();
  return Status(StatusCode::NotFound,
                folder + ": the folder has neither model.safetensors nor "
                         "model.safetensors.index.json; give its config.json "
                         "to compile without weights");
}

} // namespace saddle
