// `"quant_method": "mxfp8"`, as MiniMax publishes it: E4M3 with a power of two
// for every 32 columns.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

static constexpr int64_t groupColumns = 32;

static constexpr FixedField fixedFields[] = {
    {"activation_scheme", R"(["dynamic"])",
     "stored activation scales are not implemented"},
    {"fmt", R"(["float8_e4m3fn", "e4m3"])",
     "other FP8 formats are not implemented"},
    {"scale_fmt", R"(["ue8m0", "e8m0"])", "MXFP8 has scales of e8m0"},
    {"moe_quant_algo", R"(["MXFP8", "NVFP4"])",
     "experts of another format are not implemented"},
};

static constexpr UnusedField unusedFields[] = {
    {"attention_quant_algo", activationsAsTheyAre},
    {"index_k_quant_type", "about a cache that these models do not have"},
};

CompanionFormat e8m0Scale(const char *tensor) {
  CompanionFormat scale = {CompanionRole::Scale, tensor, TensorDType::U8, 1,
                           groupColumns};
  scale.layout.elements = Elements::E8M0;
  scale.layout.order = {0}; // bytes of one value
  return scale;
}

StorageFormat mxfp8() {
  return {"MXFP8", TensorDType::F8E4M3, {e8m0Scale("weight_scale_inv")}};
}

Formats readMxfp8(ConfigReader &quantization) {
  std::optional<std::vector<int64_t>> block =
      quantization.integers("weight_block_size", 1, maxInt32);
  if (!block || *block != std::vector<int64_t>{1, groupColumns})
    quantization.failExpected("weight_block_size",
                              "[1, 32], the blocks of MXFP8");
  acceptFixed(quantization, fixedFields);
  skipUnused(quantization, unusedFields);
  Formats result = mxfp8();
  bool fp4 = quantization.string("moe_quant_algo") == "NVFP4";
  quantization.accept("moe_quant_format",
                      fp4 ? R"(["nvfp4-pack-quantized"])" : "[]",
                      fp4 ? "other names of NVFP4 are not implemented"
                          : "experts are stored as the rest");
  quantization.accept("group_size", fp4 ? "[16, 32]" : "[32]",
                      "the format has no other groups");
  if (fp4)
    result.groups.push_back(
        {"moe_quant_algo",
         ModuleNames({"re:.*[.]experts[.].*"}, ModuleNames::Expressions),
         nvfp4()});
  return result;
}

} // namespace saddle
