#include "models/Common/Quantisation/Quantisation.h"

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

namespace {

struct Method {
  const char *name; // quant_method
  StorageFormat (*read)(ConfigReader &quantization);
  /// The list of modules that stay unquantised, and its old name, if any.
  const char *unconverted, *oldUnconverted;
};
constexpr Method methods[] = {
    {"fp8", readFp8, "modules_to_not_convert", "ignored_layers"},
    {"compressed-tensors", readCompressedTensors, "ignore", nullptr},
};
constexpr const char *expectedMethod =
    "\"fp8\" or \"compressed-tensors\", the only ones implemented";

/// The list under its present or its old name.
ModuleNames readUnconverted(ConfigReader &quantization, const Method &method) {
  const char *key = method.unconverted, *oldKey = method.oldUnconverted;
  ModuleNames now = ModuleNames::read(quantization, key);
  if (!oldKey)
    return now;
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
                configPath + ": quantization_config." + unconvertedField +
                    ": names single members of \"" + module +
                    "\", expected all or none of them");
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
    made.blockRows = companion.blockRows;
    made.blockColumns = companion.blockColumns;
    made.anyFloat = companion.anyFloat;
    auto blocks = [](uint64_t extent, uint64_t block) {
      return block ? (extent + block - 1) / block : 1;
    };
    made.shape = {blocks(rows, made.blockRows),
                  blocks(columns, made.blockColumns)};
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
  if (reader.status().ok())
    warnUnknownFields(*quantization, warnings);
  return result;
}

const std::vector<StorageFormat> &knownFormats() {
  static const std::vector<StorageFormat> formats = {fp8Blocks(),
                                                     fp8Channels()};
  return formats;
}

} // namespace saddle
