#include "models/Common/Quantisation/Quantisation.h"

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

namespace {

struct Method {
  const char *name; // quant_method
  StorageFormat (*read)(ConfigReader &quantization);
};
constexpr Method methods[] = {
    {"fp8", readFp8},
};
constexpr const char *expectedMethod =
    "\"fp8\", the only quantisation implemented";

/// The list under its present or its old name.
ModuleNames readUnconverted(ConfigReader &quantization) {
  constexpr const char *key = "modules_to_not_convert";
  constexpr const char *oldKey = "ignored_layers";
  ModuleNames now = ModuleNames::read(quantization, key);
  ModuleNames old = ModuleNames::read(quantization, oldKey);
  if (!quantization.isSet(key))
    return old;
  if (quantization.isSet(oldKey) && now.list() != old.list())
    quantization.fail(oldKey, std::string("contradicts ") + key);
  return now;
}

} // namespace

StatusOr<const StorageFormat *>
Quantisation::formatOf(const std::string &module,
                       const std::string &configPath) const {
  const StorageFormat *none = nullptr;
  if (!format)
    return none;
  switch (unconverted.match(module)) {
  case ModuleNames::No:
    return &*format;
  case ModuleNames::Yes:
    return none;
  case ModuleNames::Partly:
    break;
  }
  return Status(StatusCode::Unsupported,
                configPath +
                    ": quantization_config.modules_to_not_convert: names "
                    "single members of \"" +
                    module + "\", expected all or none of them");
}

void store(const StorageFormat &format, WeightSpec &spec) {
  assert(spec.shape.size() == 2 && "formats describe matrices");
  uint64_t rows = spec.shape[0], columns = spec.shape[1];
  spec.dtype = format.dtype;
  for (const CompanionFormat &companion : format.companions) {
    Companion made;
    made.role = companion.role;
    made.name = spec.name + companion.suffix;
    made.dtype = companion.dtype;
    made.blockRows = companion.blockRows ? companion.blockRows : rows;
    made.blockColumns =
        companion.blockColumns ? companion.blockColumns : columns;
    made.shape = {(rows + made.blockRows - 1) / made.blockRows,
                  (columns + made.blockColumns - 1) / made.blockColumns};
    spec.companions.push_back(std::move(made));
  }
}

Quantisation readQuantisation(ConfigReader &reader,
                              std::vector<std::string> &warnings) {
  reader.accept("compression_config", "[]",
                "only FP8 block quantisation is implemented");
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
    if (*name == method.name)
      result.format = method.read(*quantization);
  if (!result.format) {
    quantization->failExpected("quant_method", expectedMethod);
    return result;
  }
  result.unconverted = readUnconverted(*quantization);
  if (reader.status().ok())
    warnUnknownFields(*quantization, warnings);
  return result;
}

const std::vector<StorageFormat> &knownFormats() {
  static const std::vector<StorageFormat> formats = {fp8Blocks()};
  return formats;
}

} // namespace saddle
