// `"quant_method": "modelopt"`, as NVIDIA's Model Optimizer saves it.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"
#include "runtime/src/base/Printable.h"

#include <algorithm>
#include <iterator>
#include <map>

namespace saddle {

static constexpr FixedField fixedFields[] = {
    {"has_zero_point", "[false]", "zero points are not implemented"},
    {"pre_quant_scale", "[false]", "scaled activations are not implemented"},
};
static constexpr UnusedField unusedFields[] = {
    {"producer", "about the tool"},
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

StorageFormat modelOptFp8Channels() {
  CompanionFormat scale = {CompanionRole::Scale, "weight_scale",
                           TensorDType::F32, 1, 0};
  scale.rank = 1;
  return {"FP8 per channel", TensorDType::F8E4M3, {scale}};
}

StorageFormat modelOptMxfp8() {
  return {"MXFP8", TensorDType::F8E4M3, {e8m0Scale("weight_scale")}};
}

namespace {
struct Algorithm {
  const char *name; // quant_algo
  StorageFormat (*format)();
  const char *group;    // JSON list of the group sizes that it may have
  const char *bits;     // JSON list of num_bits
  const char *strategy; // JSON list
  bool activations;     // may be quantised, too
};
} // namespace

static constexpr Algorithm algorithms[] = {
    {"FP8", modelOptFp8, "[]", "[8]", R"(["tensor"])", true},
    {"FP8_PER_CHANNEL_PER_TOKEN", modelOptFp8Channels, "[]", "[8]",
     R"(["channel"])", true},
    {"MXFP8", modelOptMxfp8, "[32]", "[8]", "[]", true},
    {"NVFP4", modelOptNvfp4, "[16]", "[4]", "[]", true},
    {"W4A16_NVFP4", modelOptNvfp4, "[16]", "[4]", "[]", false},
};
static constexpr const char *expectedAlgorithm =
    "\"FP8\", \"FP8_PER_CHANNEL_PER_TOKEN\", \"MXFP8\", \"NVFP4\" or "
    "\"W4A16_NVFP4\", the only ones implemented";
static constexpr const char *mixed = "MIXED_PRECISION";

static const Algorithm *find(const std::string &name) {
  for (const Algorithm &each : algorithms)
    if (name == each.name)
      return &each;
  return nullptr;
}

/// What a group of `config_groups` says of its modules, which is no name of an
/// algorithm but what follows from it. `expected`, if there is one; else the
/// algorithm that stores weights so.
static const Algorithm *readScheme(ConfigReader &group,
                                   const Algorithm *expected) {
  acceptFixed(group, fixedFields);
  std::optional<ConfigReader> weights = group.object("weights");
  if (!expected && !weights) {
    group.failExpected("weights", "how weights are stored");
    return nullptr;
  }
  if (!expected) {
    bool isByte = weights->integer("num_bits", 1, 64, ConfigReader::Required)
                      .value_or(8) == 8;
    expected = find(!isByte                        ? "NVFP4"
                    : weights->isSet("group_size") ? "MXFP8"
                    : weights->string("strategy") == "channel"
                        ? "FP8_PER_CHANNEL_PER_TOKEN"
                        : "FP8");
  }
  const std::string reason = std::string("as of ") + expected->name;
  auto check = [&](const char *key) {
    std::optional<ConfigReader> scheme = group.object(key);
    if (!scheme)
      return;
    scheme->accept("num_bits", expected->bits, reason.c_str());
    scheme->accept("type", R"(["float"])", reason.c_str());
    scheme->accept("group_size", expected->group, reason.c_str());
    scheme->accept("strategy", expected->strategy, reason.c_str());
    scheme->accept("dynamic", "[false]", "what is stored is static");
  };
  check("weights");
  if (expected->activations)
    check("input_activations");
  else
    group.accept("input_activations", "[]", reason.c_str());
  return expected;
}

namespace {
/// Modules by the name of their algorithm's format, in the order of algorithms.
class ByFormat {
public:
  explicit ByFormat(const char *field) : field(field) {}

  void add(const std::string &module, const Algorithm &algorithm) {
    names[indexOf(algorithm)].push_back(module);
  }
  void appendTo(std::vector<FormatGroup> &groups) {
    for (size_t i = 0; i < std::size(algorithms); ++i)
      if (!names[i].empty())
        groups.push_back({std::string(field) + " (" + algorithms[i].name + ")",
                          ModuleNames(std::move(names[i]), ModuleNames::Exact),
                          algorithms[i].format()});
  }

private:
  static size_t indexOf(const Algorithm &algorithm) {
    return size_t(&algorithm - algorithms);
  }
  const char *field;
  std::vector<std::string> names[std::size(algorithms)];
};

using Layers = std::map<std::string, const Algorithm *>;
} // namespace

/// Which modules have which algorithm, one entry for each.
static Layers readLayers(ConfigReader &quantization) {
  Layers result;
  std::optional<ConfigReader> layers = quantization.object("quantized_layers");
  if (!layers)
    return result;
  for (const std::string &name : layers->keys()) {
    std::optional<ConfigReader> layer = layers->object(name);
    if (!layer)
      continue;
    acceptFixed(*layer, fixedFields);
    std::optional<std::string> algo =
        layer->string("quant_algo", ConfigReader::Required);
    const Algorithm *found = algo ? find(*algo) : nullptr;
    if (found)
      layer->accept("group_size", found->group,
                    "the algorithm has no other groups");
    else if (algo)
      layer->failExpected("quant_algo", expectedAlgorithm);
    result[name] = found;
  }
  return result;
}

/// Groups of modules; "Linear" among the targets of one is all that no other
/// names. With `layers`, which say the same one by one, both must agree.
static void readGroups(ConfigReader &quantization, const Algorithm *ofAll,
                       const Layers &layers, Formats &result) {
  std::optional<ConfigReader> groups = quantization.object("config_groups");
  if (!groups)
    return;
  std::string first;
  for (const std::string &key : groups->keys()) {
    std::optional<ConfigReader> group = groups->object(key);
    if (!group)
      continue;
    std::vector<std::string> targets =
        group->strings("targets").value_or(std::vector<std::string>{"Linear"});
    const bool all =
        std::find(targets.begin(), targets.end(), "Linear") != targets.end();
    const Algorithm *algorithm = readScheme(*group, all ? ofAll : nullptr);
    if (!algorithm)
      continue;
    if (all && !first.empty())
      groups->fail(key,
                   "is for all \"Linear\" modules, and so is %s; expected one "
                   "format for each module",
                   first.c_str());
    if (all) {
      first = key;
      result.format = algorithm->format();
    }
    std::vector<std::string> exact, others;
    for (const std::string &target : targets) {
      auto layer = layers.find(target);
      if (!layers.empty() &&
          (layer == layers.end() ||
           (layer->second && layer->second->format != algorithm->format)))
        group->fail("targets",
                    "%s of \"%s\" contradicts quantized_layers, where it is "
                    "%s; one of them is stale, delete it",
                    algorithm->name, printable(target).c_str(),
                    layer == layers.end() ? "missing" : layer->second->name);
      bool isName = target.find_first_of("*?[:") == std::string::npos;
      if (target != "Linear")
        (isName ? exact : others).push_back(target);
    }
    if (!layers.empty())
      continue;
    const std::string field = "config_groups." + key + ".targets";
    if (!exact.empty())
      result.groups.push_back(
          {field, ModuleNames(std::move(exact), ModuleNames::Exact),
           algorithm->format()});
    if (!others.empty())
      result.groups.push_back(
          {field,
           ModuleNames::check(*group, "targets", std::move(others),
                              ModuleNames::Globs),
           algorithm->format()});
  }
}

Formats readModelOpt(ConfigReader &quantization) {
  Formats result;
  acceptFixed(quantization, fixedFields);
  skipUnused(quantization, unusedFields);
  std::optional<std::string> algo =
      quantization.string("quant_algo", ConfigReader::Required);
  if (!algo)
    return result;
  if (*algo == mixed) {
    Layers layers = readLayers(quantization);
    readGroups(quantization, /*ofAll=*/nullptr, layers, result);
    ByFormat names("quantized_layers");
    for (const auto &[name, algorithm] : layers)
      if (algorithm)
        names.add(name, *algorithm);
    names.appendTo(result.groups);
    if (layers.empty() && result.groups.empty() && !result.format)
      quantization.failExpected("quantized_layers",
                                "the modules and their quant_algo, or "
                                "config_groups, since quant_algo is "
                                "MIXED_PRECISION");
    return result;
  }
  quantization.accept("quantized_layers", "[{}]",
                      "quant_algo is not MIXED_PRECISION");
  const Algorithm *algorithm = find(*algo);
  if (!algorithm) {
    quantization.failExpected("quant_algo", std::string("\"") + mixed + "\", " +
                                                expectedAlgorithm);
    return result;
  }
  quantization.accept("group_size", algorithm->group,
                      "quant_algo has no other groups");
  result.format = algorithm->format();
  readGroups(quantization, algorithm, {}, result);
  return result;
}

} // namespace saddle
