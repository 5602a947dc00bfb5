// `"quant_method": "compressed-tensors"`, as LLM Compressor saves it: what
// `format` says decides how weights are stored, and the one group of modules
// says the details.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

#include <numeric>

namespace saddle {

static constexpr FixedField fixedFields[] = {
    {"quantization_status", R"(["compressed"])",
     "the checkpoint must store what it is to be read as"},
    {"sparsity_config", "[{}]", "sparse weights are not implemented"},
    {"transform_config", "[{}]", "transformed weights are not implemented"},
};
static constexpr FixedField groupFields[] = {
    {"output_activations", "[]", "quantised outputs are not implemented"},
};
/// Of weights and of activations.
static constexpr FixedField schemeFields[] = {
    {"zp_dtype", "[]", "zero points are integers like the weights"},
};
static constexpr FixedField symmetricFields[] = {
    {"symmetric", "[true]", "zero points are not implemented"},
    {"actorder", "[]", "reordered columns are not implemented"},
};
static constexpr FixedField fp8Fields[] = {
    {"num_bits", "[8]", "only FP8 is implemented"},
    {"type", R"(["float"])", "only FP8 is implemented"},
};
static constexpr FixedField int8Fields[] = {
    {"num_bits", "[8]", "bytes hold int8"},
    {"type", R"(["int"])", "bytes hold int8"},
};
static constexpr FixedField fp4Fields[] = {
    {"num_bits", "[4]", "pairs in bytes hold FP4"},
    {"type", R"(["float"])", "pairs in bytes hold FP4"},
};
/// Of schemes without blocks, and without groups.
static constexpr FixedField noBlockFields[] = {
    {"block_structure", "[]", "blocks are not implemented here"},
    {"scale_dtype", "[]", "scales are floats as stored"},
};
static constexpr FixedField noGroupFields[] = {
    {"group_size", "[-1]", "groups are not implemented here"},
};
static constexpr FixedField integerFields[] = {
    {"num_bits", "[4, 8]", "other integers are not implemented"},
    {"type", R"(["int"])", "packed weights are integers"},
    {"actorder", R"(["weight", "static"])",
     "columns in another order than their groups (weight_g_idx) are not "
     "implemented; quantise with actorder \"static\""},
};
/// How scales were found; they are in the checkpoint.
static constexpr UnusedField observerFields[] = {
    {"observer", "the scales are stored"},
    {"observer_kwargs", "the scales are stored"},
};

StorageFormat fp8Channels() {
  return {"FP8 per channel",
          TensorDType::F8E4M3,
          {{CompanionRole::Scale, "weight_scale", TensorDType::BF16, 1, 0,
            /*anyFloat=*/true}}};
}

StorageFormat packedIntegers(const PackedIntegers &shape) {
  TensorLayout words;
  words.elements = shape.bits == 4 ? Elements::UInt4 : Elements::UInt8;
  words.order.resize(size_t(32 / shape.bits));
  std::iota(words.order.begin(), words.order.end(), 0);
  StorageFormat format;
  format.name = shape.bits == 4 ? "packed int4" : "packed int8";
  format.dtype = TensorDType::I32;
  format.tensor = "weight_packed";
  format.layout = words;
  format.companions = {{CompanionRole::Scale, "weight_scale", TensorDType::BF16,
                        1, uint64_t(shape.group), /*anyFloat=*/true}};
  // Codes are the integers and half their number, zero points too.
  if (shape.symmetric) {
    format.offset = int64_t(1) << (shape.bits - 1);
  } else {
    words.alongRows = true;
    format.companions.push_back({CompanionRole::Zero, "weight_zero_point",
                                 TensorDType::I32, 1, uint64_t(shape.group),
                                 /*anyFloat=*/false, words});
  }
  format.redundant = {{"weight_shape", TensorDType::I64, RedundantTensor::Pair,
                       "the configuration says it"}};
  return format;
}

StorageFormat fp8Tensors() {
  CompanionFormat scale = {
      CompanionRole::Scale, "weight_scale", TensorDType::BF16, 0, 0,
      /*anyFloat=*/true};
  scale.rank = 1;
  return {"FP8 per tensor", TensorDType::F8E4M3, {scale}};
}

StorageFormat int8Channels() {
  return {"int8 per channel",
          TensorDType::I8,
          {{CompanionRole::Scale, "weight_scale", TensorDType::BF16, 1, 0,
            /*anyFloat=*/true}}};
}

/// Codes of E2M1, two to a byte.
static StorageFormat fp4(const char *name, CompanionFormat scale) {
  StorageFormat format;
  format.name = name;
  format.dtype = TensorDType::U8;
  format.tensor = "weight_packed";
  format.layout.elements = Elements::E2M1;
  format.layout.order = {0, 1};
  format.companions = {std::move(scale)};
  return format;
}

StorageFormat nvfp4() {
  StorageFormat format = fp4("NVFP4", {CompanionRole::Scale, "weight_scale",
                                       TensorDType::F8E4M3, 1, 16});
  CompanionFormat global = {CompanionRole::GlobalScale, "weight_global_scale",
                            TensorDType::F32, 0, 0};
  // What values were multiplied by before they were encoded.
  global.divides = true;
  global.rank = 1;
  format.companions.push_back(std::move(global));
  format.redundant = {{"input_global_scale", TensorDType::F32,
                       RedundantTensor::Single, activationsAsTheyAre}};
  return format;
}

StorageFormat mxfp4() { return fp4("MXFP4", e8m0Scale("weight_scale")); }

/// The fields that all schemes have.
static std::optional<ConfigReader> openScheme(ConfigReader &group,
                                              const char *key, bool dynamic,
                                              const char *expected) {
  std::optional<ConfigReader> scheme = group.object(key);
  if (!scheme) {
    group.failExpected(key, expected);
    return scheme;
  }
  for (const char *required : {"num_bits", "type"})
    if (!scheme->isSet(required))
      scheme->failExpected(required, expected);
  if (scheme->boolean("dynamic").value_or(false) != dynamic)
    scheme->failExpected("dynamic", dynamic ? "true: stored activation scales "
                                              "are not implemented"
                                            : "false: weights are stored");
  acceptFixed(*scheme, schemeFields);
  skipUnused(*scheme, observerFields);
  return scheme;
}

/// Activations that are quantised per token at run time.
static void readTokens(ConfigReader &group, const FixedField (&fields)[2],
                       const char *expected) {
  std::optional<ConfigReader> scheme =
      openScheme(group, "input_activations", /*dynamic=*/true, expected);
  if (!scheme)
    return;
  if (scheme->string("strategy", ConfigReader::Required) != "token")
    scheme->failExpected("strategy",
                         "\"token\", the only one implemented here");
  acceptFixed(*scheme, fields);
  acceptFixed(*scheme, symmetricFields);
  acceptFixed(*scheme, noBlockFields);
  acceptFixed(*scheme, noGroupFields);
}

/// Whether there is a scale for each channel; else there is one in all.
static bool readChannels(ConfigReader &scheme) {
  std::optional<std::string> strategy =
      scheme.string("strategy", ConfigReader::Required);
  if (strategy != "channel" && strategy != "tensor")
    scheme.failExpected("strategy", "\"channel\" or \"tensor\", the only ones "
                                    "implemented here");
  acceptFixed(scheme, symmetricFields);
  acceptFixed(scheme, noBlockFields);
  acceptFixed(scheme, noGroupFields);
  return strategy != "tensor";
}

StorageFormat fp8ScaledBlocks() {
  StorageFormat format = fp8Blocks();
  format.companions.front().tensor = "weight_scale";
  return format;
}

/// Blocks of 128 x 128, whose activations are quantised per token and 128
/// columns.
static StorageFormat readFloatBlocks(ConfigReader &group,
                                     ConfigReader &weights) {
  std::optional<std::vector<int64_t>> block =
      weights.integers("block_structure", 1, maxInt32);
  if (!block || *block != std::vector<int64_t>{fp8BlockExtent, fp8BlockExtent})
    weights.failExpected("block_structure",
                         "[128, 128], the only block implemented");
  acceptFixed(weights, fp8Fields);
  acceptFixed(weights, symmetricFields);
  acceptFixed(weights, noGroupFields);
  weights.accept("scale_dtype", "[]", "scales are floats as stored");
  std::optional<ConfigReader> inputs =
      openScheme(group, "input_activations", /*dynamic=*/true,
                 "FP8 activations, quantised per token and 128 columns");
  if (inputs) {
    acceptFixed(*inputs, fp8Fields);
    acceptFixed(*inputs, symmetricFields);
    acceptFixed(*inputs, noBlockFields);
    inputs->accept("strategy", R"(["group"])", "the strategy of blocks");
    inputs->accept("group_size", "[128]", "the columns of a block");
  }
  return fp8ScaledBlocks();
}

static StorageFormat readFloatQuantized(ConfigReader &group) {
  std::optional<ConfigReader> scheme =
      openScheme(group, "weights", /*dynamic=*/false,
                 "FP8 weights with a scale for each channel");
  bool channels = true;
  if (scheme && scheme->string("strategy") == "block")
    return readFloatBlocks(group, *scheme);
  if (scheme) {
    channels = readChannels(*scheme);
    acceptFixed(*scheme, fp8Fields);
  }
  readTokens(group, fp8Fields,
             "FP8 activations, quantised per token; FP8 weights alone are not "
             "implemented");
  return channels ? fp8Channels() : fp8Tensors();
}

/// Activations stay as they are, whatever the file says of them at run time:
/// nothing of it is stored.
static StorageFormat readIntQuantized(ConfigReader &group) {
  std::optional<ConfigReader> scheme =
      openScheme(group, "weights", /*dynamic=*/false,
                 "int8 weights with a scale for each channel");
  if (scheme) {
    if (!readChannels(*scheme))
      scheme->failExpected("strategy", "\"channel\", the only one implemented "
                                       "for int8");
    acceptFixed(*scheme, int8Fields);
  }
  if (group.isSet("input_activations"))
    readTokens(group, int8Fields, "int8 activations, quantised per token");
  return int8Channels();
}

/// Either of both, as the type of the weights says.
static StorageFormat readNaiveQuantized(ConfigReader &group) {
  std::optional<ConfigReader> weights = group.object("weights");
  return weights && weights->string("type") == "int"
             ? readIntQuantized(group)
             : readFloatQuantized(group);
}

/// A group of 4-bit floats: `group` columns share a scale.
static void readFp4(ConfigReader &group, const char *strategy,
                    const char *groupSize) {
  std::optional<ConfigReader> scheme =
      openScheme(group, "weights", /*dynamic=*/false, "FP4 weights");
  if (scheme) {
    acceptFixed(*scheme, fp4Fields);
    acceptFixed(*scheme, symmetricFields);
    scheme->skip("scale_dtype"); // one format of scales for each format
    if (scheme->string("strategy", ConfigReader::Required) != strategy)
      scheme->failExpected("strategy", std::string("\"") + strategy +
                                           "\", the one of this format");
    if (!scheme->isSet("group_size"))
      scheme->failExpected("group_size", groupSize);
    scheme->accept("group_size", groupSize, "the format has no other groups");
    scheme->accept("block_structure", "[]", "blocks are not implemented here");
  }
  // Multiplied as they are: an engine whose device has FP4 products rounds
  // them.
  std::optional<ConfigReader> inputs = group.object("input_activations");
  if (!inputs)
    return;
  acceptFixed(*inputs, fp4Fields);
  acceptFixed(*inputs, symmetricFields);
  inputs->accept("group_size", groupSize, "the format has no other groups");
  inputs->accept("dynamic", R"([true, false, "local"])", "a word of the tool");
  for (const char *key : {"strategy", "block_structure", "scale_dtype",
                          "zp_dtype", "observer", "observer_kwargs"})
    inputs->skip(key);
}

static StorageFormat readNvfp4(ConfigReader &group) {
  readFp4(group, "tensor_group", "[16]");
  return nvfp4();
}

static StorageFormat readMxfp4(ConfigReader &group) {
  readFp4(group, "group", "[32]");
  return mxfp4();
}

static StorageFormat readPackQuantized(ConfigReader &group) {
  PackedIntegers shape;
  std::optional<ConfigReader> scheme =
      openScheme(group, "weights", /*dynamic=*/false,
                 "integer weights with a scale for each group of columns");
  group.accept("input_activations", "[]",
               "activations of packed weights stay as they are");
  if (!scheme)
    return packedIntegers(shape);
  acceptFixed(*scheme, integerFields);
  acceptFixed(*scheme, noBlockFields);
  shape.bits = scheme->integer("num_bits", 4, 8).value_or(4) == 8 ? 8 : 4;
  shape.symmetric = scheme->boolean("symmetric").value_or(true);
  std::optional<std::string> strategy =
      scheme->string("strategy", ConfigReader::Required);
  if (strategy == "group")
    shape.group =
        scheme->integer("group_size", 1, maxWidth, ConfigReader::Required)
            .value_or(1);
  else if (strategy == "channel")
    scheme->accept("group_size", "[-1]", "the strategy is \"channel\"");
  else
    scheme->failExpected("strategy", "\"group\" or \"channel\", the only "
                                     "ones implemented here");
  return packedIntegers(shape);
}

namespace {
struct Format {
  const char *name; // format
  StorageFormat (*read)(ConfigReader &group);
};
} // namespace

/// Each group says its own.
static constexpr const char *mixedFormat = "mixed-precision";

static constexpr Format formats[] = {
    {"float-quantized", readFloatQuantized},
    {"int-quantized", readIntQuantized},
    {"mxfp4-pack-quantized", readMxfp4},
    {"naive-quantized", readNaiveQuantized},
    {"nvfp4-pack-quantized", readNvfp4},
    {"pack-quantized", readPackQuantized},
};

/// Names of the formats that are there, for messages.
static std::string knownNames() {
  std::string known;
  for (const Format &format : formats)
    known += std::string(known.empty() ? "\"" : ", \"") + format.name + "\"";
  return known;
}

/// A group's own format, or that of all; null after an error.
static const Format *readFormat(ConfigReader &quantization, ConfigReader &group,
                                const std::optional<std::string> &ofAll) {
  std::optional<std::string> own = group.string("format");
  const bool mixed = ofAll == mixedFormat;
  if (ofAll && !mixed && own && *ofAll != *own) {
    group.failExpected("format", "\"" + *ofAll + "\", as the list says");
    return nullptr;
  }
  if (mixed && !own) {
    group.failExpected("format",
                       knownNames() + ", since the formats are mixed");
    return nullptr;
  }
  const std::optional<std::string> &name = own ? own : ofAll;
  for (const Format &format : formats)
    if (!name || *name == format.name)
      return &format;
  (own ? group : quantization)
      .failExpected("format", knownNames() +
                                  " or nothing; other formats are not "
                                  "implemented");
  return nullptr;
}

/// "Linear" among the targets means all modules that no other group names.
static bool splitTargets(ConfigReader &group, std::vector<std::string> &names) {
  bool all = false;
  std::vector<std::string> targets =
      group.strings("targets").value_or(std::vector<std::string>{"Linear"});
  for (const std::string &target : targets) {
    bool isClass = target.find_first_of(".:_") == std::string::npos &&
                   !target.empty() && target[0] >= 'A' && target[0] <= 'Z';
    if (target == "Linear")
      all = true;
    else if (isClass)
      group.failExpected("targets", "\"Linear\", names of modules, or \"re:\" "
                                    "and an expression; other classes of "
                                    "modules are not implemented");
    else
      names.push_back(target);
  }
  return all;
}

Formats readCompressedTensors(ConfigReader &quantization) {
  Formats result;
  acceptFixed(quantization, fixedFields);
  quantization.skip("version");
  quantization.skip("global_compression_ratio");
  std::optional<ConfigReader> groups = quantization.object("config_groups");
  if (!groups || groups->keys().empty()) {
    quantization.failExpected("config_groups",
                              "an object of groups, such as \"group_0\"");
    return result;
  }
  std::optional<std::string> ofAll = quantization.string("format");
  std::string first;
  for (const std::string &key : groups->keys()) {
    std::optional<ConfigReader> group = groups->object(key);
    if (!group)
      continue;
    const Format *format = readFormat(quantization, *group, ofAll);
    acceptFixed(*group, groupFields);
    std::vector<std::string> names;
    bool all = splitTargets(*group, names);
    if (!format)
      return result;
    StorageFormat read = format->read(*group);
    if (all && result.format)
      groups->fail(key,
                   "is for all \"Linear\" modules, and so is %s; expected one "
                   "format for each module",
                   first.c_str());
    if (all) {
      result.format = read;
      first = key;
    }
    if (!names.empty())
      result.groups.push_back(
          {"config_groups." + key + ".targets",
           ModuleNames::check(*group, "targets", std::move(names),
                              ModuleNames::Expressions),
           std::move(read)});
  }
  return result;
}

} // namespace saddle
