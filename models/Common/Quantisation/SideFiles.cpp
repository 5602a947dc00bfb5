#include "models/Common/Quantisation/SideFiles.h"

#include "runtime/src/base/File.h"
#include "runtime/src/base/Json.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace saddle {

using nlohmann::json;

namespace {

struct SideFile {
  const char *name, *method;
  /// The field that holds what matters; null: the whole file.
  const char *field;
};
constexpr SideFile kSideFiles[] = {
    {"hf_quant_config.json", "modelopt", "quantization"},
    {"quant_model_description.json", "modelslim", nullptr},
    {"quantize_config.json", "gptq", nullptr},
    {"quant_config.json", "awq", nullptr},
};

StatusOr<json> readObject(const std::string &path) {
  SADDLE_ASSIGN_OR_RETURN(OwnedBytes text, readFile(path, kMaxJsonBytes));
  SADDLE_ASSIGN_OR_RETURN(JsonDocument root, readJson(path, text.bytes()));
  if (!root->is_object())
    return makeError(StatusCode::InvalidArgument, "%s: expected a JSON object",
                     path.c_str());
  return std::move(root.get());
}

/// The names of modules that stay unquantised, under either key, sorted.
json exceptions(const json &quantization) {
  json names = json::array();
  for (const char *key : {"ignore", "exclude_modules"})
    if (auto found = quantization.find(key);
        found != quantization.end() && found->is_array())
      names = *found;
  std::sort(names.begin(), names.end());
  return names;
}

/// What the two say of one thing, where both say it.
Status compare(const std::string &path, const json &side, const json &own,
               const char *key) {
  auto ours = own.find(key), theirs = side.find(key);
  if (ours == own.end() || theirs == side.end() || ours->is_null() ||
      theirs->is_null() || *ours == *theirs)
    return Status();
  return makeError(StatusCode::InvalidArgument,
                   "%s: %s is %s, but quantization_config of config.json says "
                   "%s; one of them is stale, delete it",
                   path.c_str(), key, theirs->dump().c_str(),
                   ours->dump().c_str());
}

} // namespace

Status readSideFiles(const std::string &folder, ConfigReader &config) {
  for (const SideFile &file : kSideFiles) {
    const std::string path = folder + "/" + file.name;
    StatusOr<bool> isThere = exists(path);
    if (!isThere.ok() || !*isThere)
      continue;
    SADDLE_ASSIGN_OR_RETURN(json root, readObject(path));
    json quantization = root;
    if (file.field) {
      auto found = root.find(file.field);
      if (found == root.end() || !found->is_object())
        return makeError(StatusCode::InvalidArgument,
                         "%s: expected an object \"%s\"", path.c_str(),
                         file.field);
      quantization = *found;
    }
    if (config.isSet("quantization_config")) {
      // Others repeat parts of what the configuration says in their own way.
      if (!file.field)
        continue;
      SADDLE_ASSIGN_OR_RETURN(json whole, readObject(config.path()));
      const json &own = whole["quantization_config"];
      if (!own.is_object())
        continue; // whoever reads it says so
      for (const char *key : {"quant_algo", "kv_cache_quant_algo"})
        SADDLE_RETURN_IF_ERROR(compare(path, quantization, own, key));
      if (exceptions(quantization) != exceptions(own))
        return makeError(
            StatusCode::InvalidArgument,
            "%s: exclude_modules differs from what quantization_config of "
            "config.json ignores; one of them is stale, delete it",
            path.c_str());
      constexpr const char *layers = "quantized_layers";
      if (own.contains(layers) && quantization.contains(layers) &&
          own[layers] != quantization[layers])
        return makeError(StatusCode::InvalidArgument,
                         "%s: quantized_layers differ from those of "
                         "quantization_config of config.json; one of them is "
                         "stale, delete it",
                         path.c_str());
      continue;
    }
    if (config.contains("quantization_config"))
      continue; // null: the configuration says that there is none
    quantization["quant_method"] = file.method;
    SADDLE_ASSIGN_OR_RETURN(ConfigReader reader,
                            ConfigReader::parse(quantization.dump(), path));
    config.attach("quantization_config", std::move(reader));
  }
  return Status();
}

} // namespace saddle
