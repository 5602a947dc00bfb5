// `quantization_config` of FastDeploy, which says what becomes of experts
// (`moe_quant_type`). Only what is stored as others store it is read: experts
// as values or in FP8 blocks, under FastDeploy's names (StoredNames.cpp).

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

static constexpr UnusedField unusedFields[] = {
    {"quantization", "moe_quant_type says it"},
    {"is_quantized", "tensors say it"},
    {"is_moe_quantized", "tensors say it"},
    {"moe_dynamic_quant", "activations are quantised as the format says"},
    {"is_permuted", "experts are stored by rows"},
};

Formats readFastDeploy(ConfigReader &quantization) {
  Formats result;
  skipUnused(quantization, unusedFields);
  quantization.accept("dense_quant_type", R"(["none", "unquantized"])",
                      "only experts are quantised");
  std::optional<std::string> type = quantization.string("moe_quant_type");
  if (type && *type == "block_wise_fp8")
    result.groups.push_back(
        {"moe_quant_type",
         ModuleNames({"re:.*[.]experts[.].*"}, ModuleNames::Expressions),
         fp8Blocks()});
  else if (type == "w4a8" || type == "w4afp8")
    quantization.failExpected(
        "moe_quant_type",
        "\"block_wise_fp8\" or nothing; the scales of w4a8 and w4afp8, static "
        "or dynamic, hold factors of the kernels that they are made for and of "
        "activations (activation_scale), so that the weights cannot be told "
        "from the file: convert the checkpoint that it was made from");
  else if (type == "tensor_wise_fp8")
    quantization.failExpected(
        "moe_quant_type",
        "\"block_wise_fp8\" or nothing; weights of tensor_wise_fp8 are rotated "
        "for activations that are, too (Hadamard), which is not implemented");
  else if (type)
    quantization.failExpected("moe_quant_type",
                              "\"block_wise_fp8\" or nothing, "
                              "the only ones implemented");
  return result;
}

} // namespace saddle
