// `"quant_method": "compressed-tensors"`, as LLM Compressor saves it: FP8 with
// a scale for each output channel, and activations quantised per token.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

static constexpr FixedField fixedFields[] = {
    {"format", R"(["float-quantized"])", "other formats are not implemented"},
    {"quantization_status", R"(["compressed"])",
     "the checkpoint must store what it is to be read as"},
    {"kv_cache_scheme", "[]", "stored KV cache scales are not implemented"},
    {"sparsity_config", "[{}]", "sparse weights are not implemented"},
    {"transform_config", "[{}]", "transformed weights are not implemented"},
};
static constexpr FixedField groupFields[] = {
    {"format", R"(["float-quantized"])", "other formats are not implemented"},
    {"output_activations", "[]", "quantised outputs are not implemented"},
    {"targets", R"([["Linear"]])",
     "formats that differ by module are not implemented"},
};
/// Of weights and of activations.
static constexpr FixedField schemeFields[] = {
    {"num_bits", "[8]", "only FP8 is implemented"},
    {"type", R"(["float"])", "only FP8 is implemented"},
    {"symmetric", "[true]", "zero points are not implemented"},
    {"group_size", "[]", "groups are not implemented"},
    {"block_structure", "[]", "blocks are not implemented"},
    {"actorder", "[]", "reordered columns are not implemented"},
    {"scale_dtype", "[]", "scales are floats as stored"},
    {"zp_dtype", "[]", "zero points are not implemented"},
};
/// How scales were found; they are in the checkpoint.
static constexpr UnusedField observerFields[] = {
    {"observer", "the scales are stored"},
    {"observer_kwargs", "the scales are stored"},
};

StorageFormat fp8Channels() {
  return {"FP8 per channel",
          TensorDType::F8E4M3,
          {{CompanionRole::Scale, "_scale", TensorDType::BF16, 1, 0,
            /*anyFloat=*/true}}};
}

static void readScheme(ConfigReader &group, const char *key,
                       const char *strategy, bool dynamic,
                       const char *expected) {
  std::optional<ConfigReader> scheme = group.object(key);
  if (!scheme)
    return group.failExpected(key, expected);
  for (const char *required : {"num_bits", "type"})
    if (!scheme->isSet(required))
      scheme->failExpected(required, expected);
  if (scheme->string("strategy", ConfigReader::Required) != strategy)
    scheme->failExpected("strategy", std::string("\"") + strategy + "\", " +
                                         "the only one implemented here");
  if (scheme->boolean("dynamic").value_or(false) != dynamic)
    scheme->failExpected("dynamic", dynamic ? "true: stored activation scales "
                                              "are not implemented"
                                            : "false: weights are stored");
  acceptFixed(*scheme, schemeFields);
  skipUnused(*scheme, observerFields);
}

StorageFormat readCompressedTensors(ConfigReader &quantization) {
  acceptFixed(quantization, fixedFields);
  quantization.skip("version");
  quantization.skip("global_compression_ratio");
  std::optional<ConfigReader> groups = quantization.object("config_groups");
  std::optional<ConfigReader> group;
  if (groups)
    group = groups->object("group_0");
  if (!group) {
    quantization.failExpected("config_groups",
                              "an object with one \"group_0\"");
    return fp8Channels();
  }
  if (!groups->unread().empty())
    quantization.fail("config_groups", "expected one \"group_0\", found also " +
                                           groups->unread().front() +
                                           "; formats that differ by module "
                                           "are not implemented");
  readScheme(*group, "weights", "channel", /*dynamic=*/false,
             "FP8 weights with a scale for each channel");
  readScheme(*group, "input_activations", "token", /*dynamic=*/true,
             "FP8 activations, quantised per token; FP8 weights alone are not "
             "implemented");
  acceptFixed(*group, groupFields);
  return fp8Channels();
}

} // namespace saddle
