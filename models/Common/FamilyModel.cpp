#include "models/Common/FamilyModel.h"

#include "models/Common/Fields.h"
#include "runtime/src/base/Printable.h"

namespace saddle {

static bool endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() &&
         text.compare(text.size() - end.size(), end.size(), end) == 0;
}

void warnOfUselessNames(const ConfigReader &config,
                        const Quantisation &quantisation,
                        const ModelWeights &weights,
                        std::vector<std::string> &warnings) {
  if (quantisation.unconverted.isEmpty())
    return;
  std::vector<ModuleNames::Module> modules;
  for (const ModelWeight &weight : weights.used) {
    // A bias of the router is named itself.
    modules.push_back({moduleName(weight.spec.name), weight.spec.members()});
    modules.push_back({weight.spec.name, weight.spec.members()});
  }
  const std::vector<std::string> useless =
      quantisation.unconverted.unmatched(modules);
  if (useless.empty())
    return;
  const bool all = useless.size() == quantisation.unconverted.list().size();
  const std::string others =
      useless.size() > 1
          ? " and " + std::to_string(useless.size() - 1) + " more"
          : "";
  warn(config, warnings,
       "quantization_config.%s: \"%s\"%s match no module of this model%s",
       quantisation.unconvertedField, printable(useless.front()).c_str(),
       others.c_str(), all ? "; nothing is left unquantised by this list" : "");
}

Status checkGateAndUp(const ConfigReader &config, const ModelWeights &weights) {
  auto describe = [](const WeightSpec &spec) {
    std::string text = spec.name + " (" + dtypeName(spec.dtype);
    for (const Companion &companion : spec.companions)
      text += std::string(", ") + roleName(companion.role) + " " +
              dtypeName(companion.dtype) + " " + formatShape(companion.shape);
    return text + ")";
  };
  auto isAlike = [](const WeightSpec &a, const WeightSpec &b) {
    if (a.dtype != b.dtype || a.offset != b.offset ||
        a.layout.elements != b.layout.elements ||
        a.layout.order != b.layout.order ||
        a.companions.size() != b.companions.size())
      return false;
    for (size_t i = 0; i < a.companions.size(); ++i)
      if (a.companions[i].role != b.companions[i].role ||
          a.companions[i].dtype != b.companions[i].dtype ||
          a.companions[i].shape != b.companions[i].shape ||
          a.companions[i].divides != b.companions[i].divides)
        return false;
    return true;
  };
  for (const ModelWeight &gate : weights.used) {
    if (!endsWith(gate.symbol, ".w1"))
      continue;
    const ModelWeight *up =
        weights.find(gate.symbol.substr(0, gate.symbol.size() - 1) + "3");
    if (up && !isAlike(gate.spec, up->spec))
      return makeError(
          StatusCode::Unsupported,
          "%s: %s and %s are multiplied as one, expected one format for both",
          config.path().c_str(), describe(gate.spec).c_str(),
          describe(up->spec).c_str());
  }
  return Status();
}

static bool isScale(const ModelWeight &weight) {
  return endsWith(weight.symbol, kKeyScale) ||
         endsWith(weight.symbol, kValueScale);
}

Status settleCacheScales(const ImportOptions &options,
                         const ConfigReader &config,
                         const Quantisation &quantisation,
                         ModelWeights &weights,
                         std::vector<std::string> &warnings) {
  const ModelWeight *last = nullptr;
  size_t keys = 0, values = 0;
  for (const ModelWeight &weight : weights.used) {
    keys += endsWith(weight.symbol, kKeyScale);
    values += endsWith(weight.symbol, kValueScale);
    if (isScale(weight))
      last = &weight;
  }
  if (!last) {
    if (quantisation.cacheScales && options.fp8Cache)
      warn(config, warnings,
           "quantization_config says that scales of the KV cache are stored, "
           "but there are none: keys and values are stored as they are");
    return Status();
  }
  // Layers with caches are those that may have scales at all.
  const std::string count = std::to_string(keys) +
                            " layers have \"k_scale\", " +
                            std::to_string(values) + " have \"v_scale\"";
  if (keys != values || keys != weights.cacheLayers)
    return makeError(
        StatusCode::DataLoss,
        "%s: scales of the KV cache: %s, expected both in each of %zu layers "
        "with attention, or in none; the last one is \"%s\"",
        config.path().c_str(), count.c_str(), weights.cacheLayers,
        last->spec.name.c_str());
  if (options.fp8Cache)
    return Status();
  std::vector<ModelWeight> kept;
  for (ModelWeight &weight : weights.used) {
    if (isScale(weight))
      weights.ignored.push_back(
          {std::move(weight.spec), "the KV cache is not fp8"});
    else
      kept.push_back(std::move(weight));
  }
  weights.used = std::move(kept);
  warn(config, warnings,
       "scales of the KV cache are stored, which count for an fp8 cache only; "
       "give --kv-dtype fp8 to use them");
  return Status();
}

} // namespace saddle
