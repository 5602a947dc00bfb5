// `"quant_method": "quark"`, as AMD's Quark exports it: what stands in
// `global_quant_config` holds for all modules but those that `exclude` names
// and those that `layer_quant_config` says something else of.

#include "models/Common/Fields.h"
#include "models/Common/Quantisation/Formats.h"

namespace saddle {

static constexpr FixedField fixedFields[] = {
    {"layer_type_quant_config", "[{}]",
     "formats that differ by class of module are not implemented"},
    {"kv_cache_quant_config", "[{}]",
     "scales of caches are read where the file has them"},
    {"softmax_quant_spec", "[]", "quantised softmax is not implemented"},
};
static constexpr UnusedField unusedFields[] = {
    {"algo_config", "how codes were found"},
    {"export", "tensors say how they are stored"},
    {"quant_mode", "how codes were found"},
    {"version", "about the tool"},
    {"kv_cache_post_rope", "keys are stored behind their rotation"},
};
static constexpr FixedField schemeFields[] = {
    {"output_tensors", "[]", "quantised outputs are not implemented"},
    {"bias", "[]", "biases are not implemented"},
    {"target_device", "[]", "a place of the tool"},
};
/// Of FP4 with a power of two for a group.
static constexpr FixedField mxfp4Fields[] = {
    {"qscheme", R"(["per_group"])", "FP4 has groups"},
    {"group_size", "[32]", "MXFP4 has groups of 32"},
    {"scale_format", R"(["e8m0"])", "MXFP4 has scales of e8m0"},
    {"is_dynamic", "[false]", "weights are stored"},
    {"ch_axis", "[-1, 1]", "groups are of columns"},
};
static constexpr UnusedField specFields[] = {
    {"observer_cls", "the scales are stored"},
    {"round_method", "the codes are stored"},
    {"scale_calculation_mode", "the scales are stored"},
    {"scale_type", "the scales are stored"},
    {"symmetric", "floats have no zero point"},
    {"mx_element_dtype", "the dtype says it"},
    {"is_scale_quant", "the scales are stored"},
    {"zero_point_type", "floats have no zero point"},
};

StorageFormat quarkMxfp4() {
  StorageFormat format = mxfp4();
  format.tensor = "weight";
  return format;
}

/// Of a module, or of all of them.
static StorageFormat readScheme(ConfigReader &scheme) {
  acceptFixed(scheme, schemeFields);
  // Tokens are multiplied as they are, whatever the file says of them.
  scheme.skip("input_tensors");
  std::optional<ConfigReader> weight = scheme.object("weight");
  if (!weight) {
    scheme.failExpected("weight", "how weights are stored");
    return quarkMxfp4();
  }
  std::optional<std::string> dtype =
      weight->string("dtype", ConfigReader::Required);
  if (dtype && *dtype != "fp4")
    weight->failExpected("dtype", "\"fp4\", the only one implemented");
  acceptFixed(*weight, mxfp4Fields);
  skipUnused(*weight, specFields);
  return quarkMxfp4();
}

Formats readQuark(ConfigReader &quantization) {
  acceptFixed(quantization, fixedFields);
  skipUnused(quantization, unusedFields);
  std::optional<ConfigReader> global =
      quantization.object("global_quant_config");
  if (!global) {
    quantization.failExpected("global_quant_config", "how weights are stored");
    return quarkMxfp4();
  }
  Formats result = readScheme(*global);
  if (std::optional<ConfigReader> layers =
          quantization.object("layer_quant_config"))
    for (const std::string &name : layers->keys())
      if (std::optional<ConfigReader> layer = layers->object(name))
        result.groups.push_back({"layer_quant_config",
                                 ModuleNames({name}, ModuleNames::Globs),
                                 readScheme(*layer)});
  return result;
}

} // namespace saddle
