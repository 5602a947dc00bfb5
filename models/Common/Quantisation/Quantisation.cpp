#include "models/Common/Quantisation/Quantisation.h"

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

#include <algorithm>

namespace saddle {

int64_t readGroupSize(ConfigReader &quantization, const char *key) {
  int64_t group =
      quantization.integer(key, -1, maxWidth, ConfigReader::Required)
          .value_or(1);
  if (group == 0)
    quantization.failExpected(key, "a positive number of columns, or -1 for "
                                   "all");
  return std::max<int64_t>(group, 0);
}

namespace {

struct Method {
  const char *name; // quant_method
  Formats (*read)(ConfigReader &quantization);
  /// The list of modules that stay unquantised, and its old name, if any.
  const char *unconverted, *oldUnconverted;
  ModuleNames::Syntax syntax;
};
constexpr Method methods[] = {
    {"fp8", readFp8, "modules_to_not_convert", "ignored_layers",
     ModuleNames::Components},
    {"compressed-tensors", readCompressedTensors, "ignore", nullptr,
     ModuleNames::Expressions},
    {"gptq", readGptq, "dynamic", nullptr, ModuleNames::Keys},
    {"awq", readAwq, "modules_to_not_convert", nullptr,
     ModuleNames::Substrings},
    {"modelopt", readModelOpt, "ignore", "exclude_modules", ModuleNames::Globs},
    // As programs that serve its files call it.
    {"modelopt_fp4", readModelOpt, "ignore", "exclude_modules",
     ModuleNames::Globs},
    {"modelopt_mixed", readModelOpt, "ignore", "exclude_modules",
     ModuleNames::Globs},
    {"mxfp8", readMxfp8, "modules_to_not_convert", "ignored_layers",
     ModuleNames::Components},
    {"quark", readQuark, "exclude", nullptr, ModuleNames::Globs},
    {"modelslim", readModelSlim, "modules_to_not_convert", nullptr,
     ModuleNames::Components},
    {"ascend", readModelSlim, "modules_to_not_convert", nullptr,
     ModuleNames::Components},
    {"mix_quant", readFastDeploy, "modules_to_not_convert", nullptr,
     ModuleNames::Components},
};
constexpr const char *expectedMethod =
    "\"fp8\", \"compressed-tensors\", \"gptq\", \"awq\", \"modelopt\", "
    "\"mxfp8\", "
    "\"quark\", \"modelslim\" or \"mix_quant\", the only ones implemented";

/// The list under its present or its old name.
ModuleNames readUnconverted(ConfigReader &quantization, const Method &method) {
  const char *key = method.unconverted, *oldKey = method.oldUnconverted;
  ModuleNames now = ModuleNames::read(quantization, key, method.syntax);
  if (!oldKey)
    return now;
  ModuleNames old = ModuleNames::read(quantization, oldKey, method.syntax);
  if (!quantization.isSet(key))
    return old;
  if (quantization.isSet(oldKey) && now.list() != old.list())
    quantization.fail(oldKey, "contradicts %s", key);
  return now;
}

constexpr FixedField cacheFields[] = {
    {"num_bits", "[8]", "only fp8 caches are implemented"},
    {"type", R"(["float"])", "only fp8 caches are implemented"},
    {"dynamic", "[false]",
     "scales that are found at run time are not "
     "implemented"},
    {"symmetric", "[true]", "zero points are not implemented"},
    {"strategy", R"(["tensor"])",
     "a cache has one scale for its keys and one "
     "for its values"},
    {"group_size", "[]",
     "a cache has one scale for its keys and one for its "
     "values"},
    {"block_structure", "[]",
     "a cache has one scale for its keys and one for "
     "its values"},
    {"actorder", "[]", "a word of weights"},
    {"scale_dtype", "[]", "scales are floats as stored"},
    {"zp_dtype", "[]", "zero points are not implemented"},
};

/// Whether the file says that scales of an fp8 cache are stored.
bool readCacheScheme(ConfigReader &quantization) {
  quantization.accept("kv_cache_quant_algo", R"(["FP8"])",
                      "only fp8 caches are implemented");
  bool isSet = quantization.isSet("kv_cache_quant_algo");
  std::optional<ConfigReader> scheme = quantization.object("kv_cache_scheme");
  if (!scheme)
    return isSet;
  acceptFixed(*scheme, cacheFields);
  for (const char *key : {"observer", "observer_kwargs"})
    scheme->skip(key);
  for (const std::string &unknown : scheme->unread())
    quantization.fail("kv_cache_scheme", "the meaning of %s is not known",
                      unknown.c_str());
  return true;
}

} // namespace

StatusOr<const StorageFormat *>
Quantisation::formatOf(const std::string &module, const std::string &configPath,
                       uint64_t members) const {
  auto partly = [&](const std::string &field) {
    return makeError(StatusCode::Unsupported,
                     "%s: quantization_config.%s: names single members of "
                     "\"%s\", expected all or none of them",
                     configPath.c_str(), field.c_str(), module.c_str());
  };
  const StorageFormat *none = nullptr;
  switch (unconverted.match(module, members)) {
  case ModuleNames::No:
    break;
  case ModuleNames::Yes:
    for (const FormatGroup &group : groups)
      if (firstDecides &&
          group.modules.match(module, members) != ModuleNames::No)
        return makeError(StatusCode::Unsupported,
                         "%s: quantization_config.%s leaves \"%s\" "
                         "unquantised, and %s says how it is stored; the tool "
                         "takes what stands first, which JSON does not keep: "
                         "narrow one of the expressions",
                         configPath.c_str(), unconvertedField, module.c_str(),
                         group.field.c_str());
    return none;
  case ModuleNames::Partly:
    return partly(unconvertedField);
  }
  const FormatGroup *found = nullptr;
  for (const FormatGroup &group : groups)
    switch (group.modules.match(module, members)) {
    case ModuleNames::No:
      break;
    case ModuleNames::Yes:
      if (found)
        return makeError(StatusCode::InvalidArgument,
                         "%s: quantization_config.%s and %s both name \"%s\", "
                         "expected one format for each module",
                         configPath.c_str(), found->field.c_str(),
                         group.field.c_str(), module.c_str());
      found = &group;
      break;
    case ModuleNames::Partly:
      return partly(group.field);
    }
  return found ? &found->format : format ? &*format : none;
}

void store(const StorageFormat &format, WeightSpec &spec) {
  assert(spec.shape.size() == 2 && "formats describe matrices");
  uint64_t rows = spec.shape[0], columns = spec.shape[1];
  const std::string module = moduleName(spec.name);
  spec.name = module + "." + format.tensor;
  spec.dtype = format.dtype;
  spec.layout = format.layout;
  spec.plus = format.plus;
  spec.offset = format.offset;
  spec.rotated = format.rotated;
  spec.anyByte = format.anyByte;
  spec.shape = format.layout.storedShape(rows, columns);
  for (const CompanionFormat &companion : format.companions) {
    Companion made;
    made.role = companion.role;
    made.name = module + "." + companion.tensor;
    made.dtype = companion.dtype;
    made.blockRows = companion.blockRows;
    made.blockColumns = companion.blockColumns;
    made.anyFloat = companion.anyFloat;
    auto blocks = [](uint64_t extent, uint64_t block) {
      return block ? (extent + block - 1) / block : 1;
    };
    made.layout = companion.layout;
    made.plus = companion.plus;
    made.divides = companion.divides;
    made.over = companion.over;
    made.shape = made.layout.storedShape(blocks(rows, made.blockRows),
                                         blocks(columns, made.blockColumns));
    if (companion.rank < 2 && made.blockRows == 0)
      made.shape.assign(companion.rank, 1);
    else if (companion.rank < 2)
      made.shape = {blocks(rows, made.blockRows)};
    spec.companions.push_back(std::move(made));
  }
}

Quantisation readQuantisation(ConfigReader &reader,
                              std::vector<std::string> &warnings) {
  reader.accept("compression_config", "[]", "only quantization_config is read");
  reader.accept("quantization", "[]",
                "formats of MLX are not implemented; use the checkpoint that "
                "it was converted from");
  Quantisation result;
  std::optional<ConfigReader> quantization =
      reader.object("quantization_config");
  if (!quantization)
    return result;
  // FastDeploy has another name for it.
  std::optional<std::string> name =
      quantization->string(quantization->isSet("quant_method") ||
                                   !quantization->isSet("quantization")
                               ? "quant_method"
                               : "quantization",
                           ConfigReader::Required);
  if (!name)
    return result;
  if (*name == "none") { // as good as no object
    warnUnknownFields(*quantization, warnings);
    return result;
  }
  for (const Method &method : methods)
    if (*name == method.name) {
      static_cast<Formats &>(result) = method.read(*quantization);
      result.method = method.name;
      result.unconverted = readUnconverted(*quantization, method);
      result.unconvertedField = method.unconverted;
      result.firstDecides = method.syntax == ModuleNames::Keys;
      if (method.oldUnconverted && !quantization->isSet(method.unconverted) &&
          quantization->isSet(method.oldUnconverted))
        result.unconvertedField = method.oldUnconverted;
    }
  if (result.method.empty()) {
    quantization->failExpected("quant_method", expectedMethod);
    return result;
  }
  result.cacheScales = readCacheScheme(*quantization);
  if (reader.status().ok())
    warnUnknownFields(*quantization, warnings);
  return result;
}

const std::vector<StorageFormat> &knownFormats() {
  static const std::vector<StorageFormat> formats = {
      fp8Blocks(),
      fp8Channels(),
      packedIntegers({}),
      packedIntegers({4, 0, /*symmetric=*/false}),
      gptq({}),
      awq(0),
      fp8Tensors(),
      int8Channels(),
      nvfp4(),
      mxfp4(),
      mxfp8(),
      modelOptNvfp4(),
      modelOptFp8(),
      modelOptFp8Channels(),
      quarkMxfp4(),
      modelOptMxfp8(),
      fp8ScaledBlocks(),
      modelSlimInt8(),
      fastDeployInt4({}),
      fastDeployFp8()};
  return formats;
}

} // namespace saddle
