// `"quant_method": "fp8"`, as DeepSeek and MiniMax publish it and transformers
// saves it.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

static constexpr FixedField fixedFields[] = {
    {"fmt", R"(["float8_e4m3fn", "e4m3"])",
     "other FP8 formats are not implemented"},
    {"activation_scheme", R"(["dynamic"])",
     "stored activation scales are not implemented"},
    {"dequantize", "[false]", "the checkpoint must say what it stores"},
    {"scale_fmt", R"(["float"])", "other scales than F32 are not implemented"},
    {"modules_to_convert", "[[]]",
     "FP8 outside attention and experts is not implemented"},
};

StorageFormat fp8Blocks() {
  // "inv" or not, the factor is a multiplier.
  return {"FP8",
          TensorDType::F8E4M3,
          {{CompanionRole::Scale, "weight_scale_inv", TensorDType::F32,
            fp8BlockExtent, fp8BlockExtent, /*anyFloat=*/true}}};
}

Formats readFp8(ConfigReader &quantization) {
  std::optional<std::vector<int64_t>> block =
      quantization.integers("weight_block_size", 1, maxInt32);
  if (!block || *block != std::vector<int64_t>{fp8BlockExtent, fp8BlockExtent})
    quantization.failExpected("weight_block_size",
                              "[128, 128], the only block implemented");
  acceptFixed(quantization, fixedFields);
  return fp8Blocks();
}

} // namespace saddle
