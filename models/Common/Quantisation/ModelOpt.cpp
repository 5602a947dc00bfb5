// `"quant_method": "modelopt"`, as NVIDIA's Model Optimizer saves it.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

static constexpr FixedField fixedFields[] = {
    {"quantized_layers", "[{}]",
     "formats that differ by module are not implemented"},
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

StorageFormat readModelOpt(ConfigReader &quantization) {
  acceptFixed(quantization, fixedFields);
  skipUnused(quantization, unusedFields);
  std::optional<std::string> algo =
      quantization.string("quant_algo", ConfigReader::Required);
  if (algo == "NVFP4") {
    quantization.accept("group_size", "[16]", "quant_algo is NVFP4");
    checkGroups(quantization, nvfp4Fields);
    return modelOptNvfp4();
  }
  if (algo == "FP8")
    checkGroups(quantization, fp8Fields);
  else if (algo)
    quantization.failExpected("quant_algo", "\"NVFP4\" or \"FP8\", the only "
                                            "ones implemented");
  quantization.accept("group_size", "[]", "quant_algo is FP8");
  return modelOptFp8();
}

} // namespace saddle
