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
  StorageFormat (*read)(ConfigReader &quantization);
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
    {"mxfp8", readMxfp8, "modules_to_not_convert", "ignored_layers",
     ModuleNames::Components},
};
constexpr const char *expectedMethod =
    "\"fp8\", \"compressed-tensors\", \"gptq\", \"awq\", \"modelopt\" or "
    "\"mxfp8\", the only ones implemented";

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
    quantization.fail(oldKey, std::string("contradicts ") + key);
  return now;
}

} // namespace

StatusOr<const StorageFormat *>
Quantisation::formatOf(const std::string &module, const std::string &configPath,
                       uint64_t members) const {
  const StorageFormat *none = nullptr;
  if (!format)
    return none;
  switch (unconverted.match(module, members)) {
  case ModuleNames::No:
    return &*format;
  case ModuleNames::Yes:
    return none;
  case ModuleNames::Partly:
    break;
  }
  return Status(StatusCode::Unsupported,
                configPath + ": quantization_config." + unconvertedField +
                    ": names single members of \"" + module +
                    "\", expected all or none of them");
}

void store(const StorageFormat &format, WeightSpec &spec) {
  assert(spec.shape.size() == 2 && "formats describe matrices");
  uint64_t rows = spec.shape[0], columns = spec.shape[1];
  const std::string module = moduleName(spec.name);
  spec.name = module + "." + format.tensor;
  spec.dtype = format.dtype;
  spec.layout = format.layout;
  spec.offset = format.offset;
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
    made.shape = made.layout.storedShape(blocks(rows, made.blockRows),
                                         blocks(columns, made.blockColumns));
    if (companion.rank < 2)
      made.shape.assign(companion.rank, 1);
    spec.companions.push_back(std::move(made));
  }
}

Quantisation readQuantisation(ConfigReader &reader,
                              std::vector<std::string> &warnings) {
  reader.accept("compression_config", "[]", "only quantization_config is read");
  Quantisation result;
  std::optional<ConfigReader> quantization =
      reader.object("quantization_config");
  if (!quantization)
    return result;
  std::optional<std::string> name =
      quantization->string("quant_method", ConfigReader::Required);
  if (!name)
    return result;
  for (const Method &method : methods)
    if (*name == method.name) {
      result.format = method.read(*quantization);
      result.unconverted = readUnconverted(*quantization, method);
      result.unconvertedField = method.unconverted;
    }
  if (!result.format) {
    quantization->failExpected("quant_method", expectedMethod);
    return result;
  }
  // Methods refuse it, or store scales that a cache can do without.
  for (const char *key : {"kv_cache_scheme", "kv_cache_quant_algo"})
    if (reader.status().ok() && quantization->isSet(key))
      warn(reader,
           std::string("quantization_config.") + key +
               ": KV caches hold what is computed, so stored k_scale and "
               "v_scale are not read",
           warnings);
  if (reader.status().ok())
    warnUnknownFields(*quantization, warnings);
  return result;
}

const std::vector<StorageFormat> &knownFormats() {
  static const std::vector<StorageFormat> formats = {
      fp8Blocks(), fp8Channels(), packedIntegers({}), gptq({}),
      awq(0),      fp8Tensors(),  int8Channels(),     nvfp4(),
      mxfp4(),     mxfp8(),       modelOptNvfp4(),    modelOptFp8()};
  return formats;
}

} // namespace saddle
