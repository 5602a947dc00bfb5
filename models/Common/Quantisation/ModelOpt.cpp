// `"quant_method": "modelopt"`, as NVIDIA's Model Optimizer saves it.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

#include <iterator>

namespace saddle {

static constexpr FixedField fixedFields[] = {
    {"has_zero_point", "[false]", "zero points are not implemented"},
    {"pre_quant_scale", "[false]", "scaled activations are not implemented"},
};
static constexpr UnusedField unusedFields[] = {
    {"producer", "about the tool"},
};
/// What quant_algo says again.
static constexpr FixedField nvfp4Fields[] = {
    {"num_bits", "[4]", "quant_algo is NVFP4"},
    {"type", R"(["float"])", "quant_algo is NVFP4"},
    {"group_size", "[16]", "quant_algo is NVFP4"},
};
static constexpr FixedField fp8Fields[] = {
    {"num_bits", "[8]", "quant_algo is FP8"},
    {"type", R"(["float"])", "quant_algo is FP8"},
    {"group_size", "[]", "quant_algo is FP8"},
};

static CompanionFormat single(CompanionRole role, const char *tensor) {
  CompanionFormat scale = {role, tensor, TensorDType::F32, 0, 0};
  scale.rank = 0;
  return scale;
}

StorageFormat modelOptNvfp4() {
  StorageFormat format;
  format.name = "NVFP4";
  format.dtype = TensorDType::U8;
  format.layout.elements = Elements::E2M1;
  format.layout.order = {0, 1};
  format.companions = {
      {CompanionRole::Scale, "weight_scale", TensorDType::F8E4M3, 1, 16},
      single(CompanionRole::GlobalScale, "weight_scale_2")};
  format.redundant = {{"input_scale", TensorDType::F32, RedundantTensor::Single,
                       activationsAsTheyAre}};
  return format;
}

StorageFormat modelOptFp8() {
  StorageFormat format;
  format.name = "FP8 per tensor";
  format.dtype = TensorDType::F8E4M3;
  format.companions = {single(CompanionRole::Scale, "weight_scale")};
  format.redundant = {{"input_scale", TensorDType::F32, RedundantTensor::Single,
                       "activations are quantised by their own largest"}};
  return format;
}

/// Groups and what they say again; there may be none.
template <size_t N>
static void checkGroups(ConfigReader &quantization,
                        const FixedField (&fields)[N]) {
  std::optional<ConfigReader> groups = quantization.object("config_groups");
  if (!groups)
    return;
  std::optional<ConfigReader> group = groups->object("group_0");
  if (!group || !groups->unread().empty())
    return quantization.fail("config_groups",
                             "expected one \"group_0\"; formats that differ by "
                             "module are not implemented");
  group->accept("targets", R"([["Linear"]])",
                "formats that differ by module are not implemented");
  for (const char *key : {"weights", "input_activations"}) {
    std::optional<ConfigReader> scheme = group->object(key);
    if (!scheme)
      continue;
    acceptFixed(*scheme, fields);
    scheme->accept("dynamic", "[false]", "what is stored is static");
  }
}

StorageFormat modelOptMxfp8() {
  return {"MXFP8", TensorDType::F8E4M3, {e8m0Scale("weight_scale")}};
}

namespace {
struct Algorithm {
  const char *name; // quant_algo
  StorageFormat (*format)();
  const char *groups; // JSON list of the group sizes that it may have
};
} // namespace

static constexpr Algorithm algorithms[] = {
    {"FP8", modelOptFp8, "[]"},
    {"MXFP8", modelOptMxfp8, "[32]"},
    {"NVFP4", modelOptNvfp4, "[16]"},
};

/// Which modules have which algorithm, one entry for each.
static std::vector<FormatGroup> readLayers(ConfigReader &quantization) {
  constexpr const char *key = "quantized_layers";
  std::vector<FormatGroup> groups;
  std::optional<ConfigReader> layers = quantization.object(key);
  if (!layers || layers->keys().empty()) {
    quantization.failExpected(key, "the modules and their quant_algo, since "
                                   "quant_algo is MIXED_PRECISION");
    return groups;
  }
  std::vector<std::string> names[std::size(algorithms)];
  for (const std::string &name : layers->keys()) {
    std::optional<ConfigReader> layer = layers->object(name);
    if (!layer)
      continue;
    std::optional<std::string> algo =
        layer->string("quant_algo", ConfigReader::Required);
    bool known = false;
    for (size_t i = 0; i < std::size(algorithms); ++i)
      if (algo == algorithms[i].name) {
        layer->accept("group_size", algorithms[i].groups,
                      "the algorithm has no other groups");
        names[i].push_back(name);
        known = true;
      }
    if (algo && !known)
      layer->failExpected("quant_algo", "\"FP8\", \"MXFP8\" or \"NVFP4\", the "
                                        "only ones implemented");
  }
  for (size_t i = 0; i < std::size(algorithms); ++i)
    if (!names[i].empty())
      groups.push_back({std::string(key) + " (" + algorithms[i].name + ")",
                        ModuleNames(std::move(names[i]), ModuleNames::Exact),
                        algorithms[i].format()});
  return groups;
}

Formats readModelOpt(ConfigReader &quantization) {
  Formats result;
  acceptFixed(quantization, fixedFields);
  skipUnused(quantization, unusedFields);
  std::optional<std::string> algo =
      quantization.string("quant_algo", ConfigReader::Required);
  if (algo == "MIXED_PRECISION") {
    result.groups = readLayers(quantization);
    return result;
  }
  quantization.accept("quantized_layers", "[{}]",
                      "quant_algo is not MIXED_PRECISION");
  for (const Algorithm &each : algorithms)
    if (algo == each.name) {
      quantization.accept("group_size", each.groups,
                          "quant_algo has no other groups");
      result.format = each.format();
    }
  if (algo && !result.format)
    quantization.failExpected("quant_algo",
                              "\"NVFP4\", \"FP8\", \"MXFP8\" or "
                              "\"MIXED_PRECISION\", the only ones implemented");
  else if (algo == "NVFP4")
    checkGroups(quantization, nvfp4Fields);
  else if (algo == "FP8")
    checkGroups(quantization, fp8Fields);
  return result;
}

} // namespace saddle
