// `quantization_config` of FastDeploy, which says what becomes of experts
// (`moe_quant_type`), under FastDeploy's names (StoredNames.cpp). What its
// files hold follows from what it does with them when it loads (its Cutlass and
// Triton backends of experts): scales are the largest magnitude of their
// values, so a code of int4 is worth scale / 7; weights of w2 are made for
// activations that a Hadamard matrix of +1 and -1 has multiplied in groups, and
// those of tensor_wise_fp8 all are. Factors of its kernels (112, 448, 2^-9,
// those of activations) are put on behind the file and are not in it.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

static constexpr UnusedField unusedFields[] = {
    {"quantization", "moe_quant_type says it"},
    {"is_quantized", "moe_quant_type and the tensors say it"},
    {"is_moe_quantized", "moe_quant_type and the tensors say it"},
    {"moe_dynamic_quant", "activations are multiplied as they are"},
    {"is_permuted", "experts are stored by rows"},
    {"hadamard_block_size", "the format rotates as it does"},
};

/// Columns that tensor_wise_fp8 rotates together.
static constexpr int64_t fp8Rotation = 32;
/// Columns of a group of w4afp8 with scales of activations found at run time.
static constexpr int64_t int4Group = 128;

/// Not read, since activations are multiplied as they are.
static RedundantTensor scaleOfActivations() {
  return {"activation_scale", TensorDType::F32, RedundantTensor::Single,
          activationsAsTheyAre, /*anyFloat=*/true};
}

StorageFormat fastDeployInt4(const FastDeployShape &shape) {
  StorageFormat format;
  format.name = "int4 of FastDeploy";
  format.dtype = TensorDType::U8;
  format.anyByte = true;
  format.tensor = "quant_weight";
  // Two neighbours of a row, the first in the low half, as two's complements.
  format.layout.elements = Elements::UInt4;
  format.layout.order = {0, 1};
  format.layout.alongRows = true;
  format.layout.transposed = true;
  format.plus = format.offset = 8;
  format.rotated = shape.rotated;
  CompanionFormat scale = {CompanionRole::Scale,  "weight_scale",
                           TensorDType::F32,      1,
                           uint64_t(shape.group),
                           /*anyFloat=*/true};
  scale.over = 7;
  if (shape.group == 0) {
    scale.rank = 1;
    scale.layout.transposed = true;
  }
  format.companions = {scale};
  if (shape.activations)
    format.redundant = {scaleOfActivations()};
  return format;
}

StorageFormat fastDeployFp8() {
  StorageFormat format;
  format.name = "FP8 of FastDeploy";
  format.dtype = TensorDType::F8E4M3;
  format.anyByte = true;
  format.tensor = "quant_weight";
  format.layout.transposed = true;
  format.rotated = fp8Rotation;
  CompanionFormat scale = {
      CompanionRole::Scale, "weight_scale", TensorDType::F32, 0, 0,
      /*anyFloat=*/true};
  scale.rank = 1;
  format.companions = {scale};
  format.redundant = {scaleOfActivations()};
  return format;
}

static FormatGroup groupOf(const char *experts, StorageFormat format) {
  return {"moe_quant_type",
          ModuleNames({std::string("re:.*[.]experts[.].*") + experts},
                      ModuleNames::Expressions),
          std::move(format)};
}

/// Columns of w2 that are rotated together.
static int64_t readRotation(ConfigReader &quantization) {
  int64_t columns =
      quantization.integer("hadamard_block_size", 1, maxWidth).value_or(128);
  if (columns < 32 || columns > 1024 || (columns & (columns - 1)) != 0)
    quantization.failExpected("hadamard_block_size",
                              "a power of two from 32 to 1024, the columns of "
                              "down_proj that are rotated together");
  return columns;
}

Formats readFastDeploy(ConfigReader &quantization) {
  Formats result;
  quantization.accept("dense_quant_type", R"(["none", "unquantized"])",
                      "only experts are quantised");
  std::optional<std::string> type = quantization.string("moe_quant_type");
  bool isInt4 = type == "w4a8" || type == "w4afp8";
  bool isDynamic = quantization.boolean("moe_dynamic_quant").value_or(false);
  if (isInt4) {
    std::optional<bool> permuted = quantization.boolean("is_permuted");
    if (permuted.value_or(true))
      quantization.failExpected(
          "is_permuted",
          "false; FastDeploy takes codes and scales in the order of its "
          "kernels for granted without it, which is not implemented: save the "
          "checkpoint as it was before they were permuted");
  }
  if (isDynamic && type != "w4afp8")
    quantization.failExpected("moe_dynamic_quant",
                              "false, or \"w4afp8\" as moe_quant_type");
  if (type == "block_wise_fp8") {
    result.groups.push_back(groupOf("", fp8Blocks()));
  } else if (type == "tensor_wise_fp8") {
    result.groups.push_back(groupOf("", fastDeployFp8()));
  } else if (isInt4) {
    FastDeployShape shape;
    shape.group = isDynamic ? int4Group : 0;
    shape.activations = !isDynamic;
    result.groups.push_back(groupOf("w[13]$", fastDeployInt4(shape)));
    shape.rotated = readRotation(quantization);
    result.groups.push_back(groupOf("w2$", fastDeployInt4(shape)));
  } else if (type && *type != "none" && *type != "unquantized") {
    quantization.failExpected("moe_quant_type",
                              "\"block_wise_fp8\", \"tensor_wise_fp8\", "
                              "\"w4a8\", \"w4afp8\" or nothing, the only ones "
                              "implemented");
  }
  skipUnused(quantization, unusedFields);
  return result;
}

} // namespace saddle
