// `"quant_method": "gptq"`, as AutoGPTQ and GPTQModel save it: integers packed
// along the columns of a weight, which the file has as rows.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

#include <numeric>

namespace saddle {

static constexpr FixedField fixedFields[] = {
    {"bits", "[4, 8]", "other integers are not implemented"},
    {"desc_act", "[false]",
     "columns in the order of their activations (g_idx) are not implemented; "
     "quantise with desc_act false"},
    {"pack_dtype", R"(["int32"])", "other words are not implemented"},
    {"is_marlin_format", "[false]", "tiles of kernels are not implemented"},
    {"lm_head", "[false]", "a quantised lm_head is not implemented"},
    {"modules_in_block_to_quantize", "[]",
     "name what stays unquantised in \"dynamic\""},
};
/// How codes were found, and with what they were meant to run.
static constexpr UnusedField unusedFields[] = {
    {"static_groups", "without desc_act all groups are"},
    {"true_sequential", "the codes are stored"},
    {"damp_percent", "the codes are stored"},
    {"damp_auto_increment", "the codes are stored"},
    {"dataset", "the codes are stored"},
    {"model_seqlen", "the codes are stored"},
    {"batch_size", "the codes are stored"},
    {"tokenizer", "the codes are stored"},
    {"model_name_or_path", "the folder is named by the user"},
    {"model_file_base_name", "the folder is named by the user"},
    {"block_name_to_quantize", "tensors say what is quantised"},
    {"module_name_preceding_first_block", "the codes are stored"},
    {"cache_block_outputs", "the codes are stored"},
    {"pad_token_id", "the codes are stored"},
    {"meta", "about the tool"},
    {"backend", "about another program's kernels"},
    {"use_cuda_fp16", "about another program's kernels"},
    {"use_exllama", "about another program's kernels"},
    {"exllama_config", "about another program's kernels"},
    {"max_input_length", "about another program's kernels"},
};

StorageFormat gptq(const GptqShape &shape) {
  TensorLayout words;
  words.elements = shape.bits == 4 ? Elements::UInt4 : Elements::UInt8;
  words.order.resize(size_t(32 / shape.bits));
  std::iota(words.order.begin(), words.order.end(), 0);
  words.transposed = true;
  TensorLayout zeros = words, scales;
  words.alongRows = true;
  scales.transposed = true;
  StorageFormat format;
  format.name = shape.bits == 4 ? "GPTQ int4" : "GPTQ int8";
  format.dtype = TensorDType::I32;
  format.tensor = "qweight";
  format.layout = words;
  format.companions = {{CompanionRole::Scale, "scales", TensorDType::F16, 1,
                        uint64_t(shape.group), /*anyFloat=*/true, scales},
                       {CompanionRole::Zero, "qzeros", TensorDType::I32, 1,
                        uint64_t(shape.group), /*anyFloat=*/false, zeros,
                        /*plus=*/shape.zerosLessOne ? 1 : 0}};
  format.redundant = {{"g_idx", TensorDType::I32, RedundantTensor::Groups,
                       "desc_act is false: columns stand in their groups"}};
  return format;
}

static int64_t readBits(ConfigReader &config, int64_t other) {
  return config.integer("bits", 4, 8).value_or(other) == 8 ? 8 : 4;
}

/// Keys of `dynamic` but those of "-:": expressions, with or without "+:", for
/// modules that are stored with other fields than the rest.
static void readDynamic(ConfigReader &quantization, const GptqShape &shape,
                        Formats &result) {
  std::optional<ConfigReader> dynamic = quantization.object("dynamic");
  if (!dynamic)
    return;
  for (const std::string &key : dynamic->keys()) {
    if (key.compare(0, 2, "-:") == 0)
      continue;
    std::optional<ConfigReader> fields = dynamic->object(key);
    if (!fields)
      continue;
    GptqShape own = shape;
    fields->accept("bits", "[4, 8]", "other integers are not implemented");
    fields->accept("desc_act", "[false]",
                   "columns in the order of their activations (g_idx) are not "
                   "implemented; quantise with desc_act false");
    fields->boolean("sym");
    own.bits = readBits(*fields, shape.bits);
    if (fields->isSet("group_size"))
      own.group = readGroupSize(*fields, "group_size");
    for (const std::string &unknown : fields->unread())
      quantization.fail("dynamic", "the meaning of %s is not known",
                        unknown.c_str());
    std::string expression = key.compare(0, 2, "+:") == 0 ? key.substr(2) : key;
    result.groups.push_back(
        {"dynamic." + key,
         ModuleNames::check(quantization, "dynamic", {"re:" + expression},
                            ModuleNames::Expressions),
         gptq(own)});
  }
}

Formats readGptq(ConfigReader &quantization) {
  GptqShape shape;
  acceptFixed(quantization, fixedFields);
  skipUnused(quantization, unusedFields);
  quantization.integer("bits", 4, 8, ConfigReader::Required);
  shape.bits = readBits(quantization, 4);
  shape.group = readGroupSize(quantization, "group_size");
  // Zero points are stored, so symmetric weights are no special case.
  quantization.boolean("sym");
  // The first version stores zero points less one.
  std::optional<std::string> version = quantization.string("checkpoint_format");
  std::optional<std::string> alias = quantization.string("format");
  if (version && alias && *version != *alias)
    quantization.fail("format", "contradicts checkpoint_format");
  const std::string name = version ? *version : alias.value_or("gptq");
  if (name != "gptq" && name != "gptq_v2")
    quantization.failExpected(version ? "checkpoint_format" : "format",
                              "\"gptq\" or \"gptq_v2\", the only ones "
                              "implemented");
  shape.zerosLessOne = name == "gptq";
  Formats result = gptq(shape);
  readDynamic(quantization, shape, result);
  return result;
}

} // namespace saddle
