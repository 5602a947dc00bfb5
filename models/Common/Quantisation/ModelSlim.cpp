// `quant_model_description.json` of Huawei's ModelSlim: one entry for each
// tensor, which says how its module is stored.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

/// Entries that are no tensors.
static constexpr UnusedField unusedFields[] = {
    {"model_quant_type", "each tensor has an entry"},
    {"version", "about the tool"},
    {"group_size", "the formats that are implemented have none"},
    {"metadata", "about the tool"},
};
static constexpr FixedField fixedFields[] = {
    {"kv_quant_type", "[]",
     "quantised caches of ModelSlim are not implemented"},
    {"kv_cache_type", "[]",
     "quantised caches of ModelSlim are not implemented"},
    {"fa_quant_type", "[]", "quantised attention is not implemented"},
    {"reduce_quant_type", "[]", "quantised sums are not implemented"},
    {"is_rot_used", "[false]", "rotated weights are not implemented"},
};

StorageFormat modelSlimInt8() {
  StorageFormat format = int8Channels();
  format.name = "int8 of ModelSlim";
  format.redundant = {{"weight_offset", TensorDType::F32, RedundantTensor::Rows,
                       "symmetric: the offsets are zero", /*anyFloat=*/true,
                       /*zero=*/true}};
  return format;
}

static bool endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() &&
         text.compare(text.size() - end.size(), end.size(), end) == 0;
}

Formats readModelSlim(ConfigReader &quantization) {
  Formats result;
  acceptFixed(quantization, fixedFields);
  skipUnused(quantization, unusedFields);
  std::vector<std::string> int8;
  for (const std::string &key : quantization.keys()) {
    // Others say of a companion what its weight's entry says.
    if (!endsWith(key, ".weight")) {
      if (key.find('.') != std::string::npos)
        quantization.skip(key);
      continue;
    }
    std::optional<std::string> type = quantization.string(key);
    if (type == "W8A8_DYNAMIC" || type == "W8A16")
      int8.push_back(key.substr(0, key.rfind('.')));
    else if (type && *type != "FLOAT")
      quantization.failExpected(
          key, *type == "W8A8"
                   ? "\"FLOAT\", \"W8A8_DYNAMIC\" or \"W8A16\"; with static "
                     "scales of activations (deq_scale, quant_bias) weights "
                     "have no scale of their own"
                   : "\"FLOAT\", \"W8A8_DYNAMIC\" or \"W8A16\", the only ones "
                     "implemented");
  }
  if (!int8.empty())
    result.groups.push_back({"quant_model_description.json",
                             ModuleNames(std::move(int8), ModuleNames::Exact),
                             modelSlimInt8()});
  return result;
}

} // namespace saddle
