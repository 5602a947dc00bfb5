// Formats that differ by module, methods of other tools, files beside
// config.json, and what tokenizers say of ids. Configurations have the forms of
// published ones, with numbers and names of our own.

#include "models/MiniMax/M2Model.h"

#include "test/unit/models/TinyCheckpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

/// Of one configuration: its formats by module, or what is wrong with it.
class Methods : public testing::Test {
protected:
  void read(const std::string &quantisation) {
    nlohmann::json config = smallConfig();
    config["quantization_config"] = nlohmann::json::parse(quantisation);
    ConfigReader reader = *ConfigReader::parse(config.dump(), "c.json");
    warnings.clear();
    found = readQuantisation(reader, warnings);
    error = reader.status().message();
  }
  /// "NVFP4", "" for values, or the error.
  std::string of(const std::string &module, uint64_t members = 1) {
    StatusOr<const StorageFormat *> format =
        found.formatOf(module, "c.json", members);
    return !format.ok() ? format.status().message()
           : *format    ? (*format)->name
                        : "";
  }
  const std::string q = "model.layers.1.self_attn.q_proj",
                    w1 = "model.layers.1.block_sparse_moe.experts.{}.w1",
                    gate = "model.layers.1.block_sparse_moe.gate";
  Quantisation found;
  std::vector<std::string> warnings;
  std::string error;
};

const std::string kInt4 =
    R"({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32,
        "symmetric": true, "dynamic": false})";
const std::string kFp8 = R"({"num_bits": 8, "type": "float",
        "strategy": "channel", "symmetric": true, "dynamic": false})";
const std::string kTokens = R"({"num_bits": 8, "type": "float",
        "strategy": "token", "symmetric": true, "dynamic": true})";

std::string mixed(const std::string &first, const std::string &second,
                  const std::string &format = "mixed-precision") {
  return R"({"quant_method": "compressed-tensors", "format": ")" + format +
         R"(", "ignore": ["lm_head", "re:.*gate$"], "config_groups": {
           "group_0": {"targets": )" +
         first + R"(, "format": "pack-quantized", "weights": )" + kInt4 +
         R"(}, "group_1": {"targets": )" + second +
         R"(, "format": "float-quantized", "weights": )" + kFp8 +
         R"(, "input_activations": )" + kTokens + "}}}";
}

TEST_F(Methods, GroupsOfCompressedTensors) {
  read(mixed(R"(["Linear"])", R"(["re:.*self_attn.*"])"));
  EXPECT_EQ(error, "");
  EXPECT_EQ(of(q), "FP8 per channel");
  EXPECT_EQ(of(w1, 4), "packed int4");
  EXPECT_EQ(of(gate), "");
  read(
      mixed(R"(["re:.*experts.*"])", R"(["model.layers.1.self_attn.q_proj"])"));
  EXPECT_EQ(error, "");
  EXPECT_EQ(of(q), "FP8 per channel");
  EXPECT_EQ(of("model.layers.0.self_attn.q_proj"), "");
  EXPECT_EQ(of(w1, 4), "packed int4");
}

TEST_F(Methods, GroupsThatContradict) {
  read(mixed(R"(["Linear"])", R"(["Linear"])"));
  EXPECT_THAT(error, HasSubstr("config_groups.group_1: is for all \"Linear\" "
                               "modules, and so is group_0"));
  read(mixed(R"(["re:.*attn.*"])", R"(["re:.*q_proj"])"));
  EXPECT_EQ(error, "");
  EXPECT_EQ(of(q), "c.json: quantization_config.config_groups.group_0.targets "
                   "and config_groups.group_1.targets both name "
                   "\"model.layers.1.self_attn.q_proj\", expected one format "
                   "for each module");
  read(mixed(R"(["re:.*experts[.]1[.].*"])", R"(["Linear"])"));
  EXPECT_THAT(of(w1, 4), HasSubstr("names single members"));
  read(mixed(R"(["Linear"])", R"(["MiniMaxM2Attention"])"));
  EXPECT_THAT(error, HasSubstr("other classes of modules are not implemented"));
  read(mixed(R"(["Linear"])", R"(["re:.*attn.*"])", "pack-quantized"));
  EXPECT_THAT(error, HasSubstr("group_1.format: expected \"pack-quantized\", "
                               "as the list says"));
  read(R"({"quant_method": "compressed-tensors", "format": "mixed-precision",
           "config_groups": {"group_0": {"weights": )" +
       kInt4 + "}}}");
  EXPECT_THAT(error, HasSubstr("group_0.format: missing, expected"));
  read(R"({"quant_method": "compressed-tensors", "config_groups": {}})");
  EXPECT_THAT(error, HasSubstr("config_groups: expected an object of groups"));
}

TEST_F(Methods, BlocksOfCompressedTensors) {
  auto config = [](const std::string &block) {
    return R"({"quant_method": "compressed-tensors", "format":
      "float-quantized", "config_groups": {"group_0": {"targets": ["Linear"],
      "weights": {"num_bits": 8, "type": "float", "strategy": "block",
        "block_structure": )" +
           block + R"(, "symmetric": true,
        "dynamic": false},
      "input_activations": {"num_bits": 8, "type": "float", "strategy": "group",
        "group_size": 128, "symmetric": true, "dynamic": true}}}})";
  };
  read(config("[128, 128]"));
  EXPECT_EQ(error, "");
  ASSERT_EQ(of(q), "FP8");
  EXPECT_STREQ((*found.formatOf(q, ""))->companions[0].tensor, "weight_scale");
  EXPECT_EQ((*found.formatOf(q, ""))->companions[0].blockRows, 128u);
  read(config("[64, 128]"));
  EXPECT_THAT(error, HasSubstr("block_structure: expected [128, 128], the only "
                               "block implemented, found [64,128]"));
}

TEST_F(Methods, MixedPrecisionOfModelOpt) {
  read(R"({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION",
    "kv_cache_quant_algo": null, "exclude_modules": ["lm_head"],
    "quantized_layers": {
      "language_model.model.layers.1.self_attn.q_proj":
        {"quant_algo": "MXFP8"},
      "model.layers.1.block_sparse_moe.experts.0.w1":
        {"quant_algo": "NVFP4", "group_size": 16},
      "model.layers.1.block_sparse_moe.experts.1.w1":
        {"quant_algo": "NVFP4", "group_size": 16}}})");
  EXPECT_EQ(error, "");
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_EQ(of(q), "MXFP8");
  EXPECT_EQ(of(w1, 2), "NVFP4");
  EXPECT_THAT(of(w1, 3), HasSubstr("quantized_layers (NVFP4): names single "
                                   "members"));
  EXPECT_EQ(of("model.layers.0.self_attn.q_proj"), "");
  read(R"({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"})");
  EXPECT_THAT(error, HasSubstr("quantized_layers: missing, expected the "
                               "modules and their quant_algo"));
  read(R"({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION",
    "quantized_layers": {"a.b": {"quant_algo": "W4A8_AWQ"}}})");
  EXPECT_THAT(error, HasSubstr("a.b.quant_algo: expected \"FP8\", "
                               "\"FP8_PER_CHANNEL_PER_TOKEN\", \"MXFP8\", "
                               "\"NVFP4\" or \"W4A16_NVFP4\""));
  read(R"({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION",
    "quantized_layers": {"a.b": {"quant_algo": "FP8",
                                 "pre_quant_scale": true}}})");
  EXPECT_THAT(error, HasSubstr("scaled activations are not implemented"));
  read(R"({"quant_method": "modelopt", "quant_algo": "NVFP4",
    "quantized_layers": {"a.b": {"quant_algo": "FP8"}}})");
  EXPECT_THAT(error, HasSubstr("quant_algo is not MIXED_PRECISION"));
}

/// As ModelOpt writes MIXED_PRECISION: groups, and the same by layers.
std::string modelOptGroups(const std::string &first, const std::string &second,
                           const std::string &more = "",
                           const std::string &algo = "MIXED_PRECISION") {
  return R"({"quant_method": "modelopt", "ignore": ["lm_head", "*.gate"],
    "quant_algo": ")" +
         algo + R"(", "config_groups": {
      "group_0": {"targets": )" +
         first + R"(, "weights": {"dynamic": false, "num_bits": 4,
          "type": "float", "group_size": 16},
        "input_activations": {"dynamic": false, "num_bits": 4,
          "type": "float", "group_size": 16}},
      "group_1": {"targets": )" +
         second + R"(, "weights": {"dynamic": false, "num_bits": 8,
          "type": "float"},
        "input_activations": {"dynamic": false, "num_bits": 8,
          "type": "float"}}})" +
         more + "}";
}

TEST_F(Methods, GroupsOfModelOpt) {
  const std::string experts =
      R"(["model.layers.1.block_sparse_moe.experts.0.w1",
          "model.layers.1.block_sparse_moe.experts.1.w1"])";
  const std::string attention = R"(["model.layers.1.self_attn.q_proj"])";
  const std::string layers = R"(, "quantized_layers": {
    "model.layers.1.block_sparse_moe.experts.0.w1":
      {"quant_algo": "NVFP4", "group_size": 16},
    "model.layers.1.block_sparse_moe.experts.1.w1":
      {"quant_algo": "W4A16_NVFP4", "group_size": 16},
    "model.layers.1.self_attn.q_proj": {"quant_algo": "FP8"}})";
  for (const std::string &more : {std::string(), layers}) {
    read(modelOptGroups(experts, attention, more));
    EXPECT_EQ(error, "");
    EXPECT_THAT(warnings, IsEmpty());
    EXPECT_EQ(of(q), "FP8 per tensor");
    EXPECT_EQ(of("model.layers.2.self_attn.q_proj"), "");
  }
  std::string renamed = modelOptGroups(experts, attention);
  renamed.replace(renamed.find("\"modelopt\""), 10, "\"modelopt_mixed\"");
  read(renamed);
  EXPECT_EQ(error, "");
  EXPECT_EQ(of(w1, 2), "NVFP4");
  EXPECT_THAT(of(w1, 3), HasSubstr("config_groups.group_0.targets: names "
                                   "single members"));
  // Globs, expressions, and all that no other group names.
  read(modelOptGroups(R"(["Linear"])", R"(["*.self_attn*"])"));
  EXPECT_EQ(error, "");
  EXPECT_EQ(of(q), "FP8 per tensor");
  EXPECT_EQ(of(w1, 4), "NVFP4");
  EXPECT_EQ(of(gate), "");
  read(modelOptGroups(R"(["Linear"])", R"(["re:.*attn.*"])", "", "NVFP4"));
  EXPECT_EQ(error, "");
  EXPECT_EQ(of(q), "FP8 per tensor");
  EXPECT_EQ(of(w1, 4), "NVFP4");
}

TEST_F(Methods, GroupsOfModelOptThatContradict) {
  read(modelOptGroups(R"(["Linear"])", R"(["Linear"])"));
  EXPECT_THAT(error, HasSubstr("config_groups.group_1: is for all \"Linear\" "
                               "modules, and so is group_0"));
  read(modelOptGroups(R"(["*.q_proj"])", R"(["*.self_attn*"])"));
  EXPECT_THAT(of(q), HasSubstr("config_groups.group_0.targets and "
                               "config_groups.group_1.targets both name"));
  read(modelOptGroups(R"(["a.b"])", R"(["c.d"])", R"(, "quantized_layers":
      {"a.b": {"quant_algo": "FP8"}, "c.d": {"quant_algo": "FP8"}})"));
  EXPECT_THAT(error, HasSubstr("group_0.targets: NVFP4 of \"a.b\" contradicts "
                               "quantized_layers, where it is FP8; one of them "
                               "is stale, delete it"));
  read(modelOptGroups(R"(["a.b"])", R"(["c.d"])", R"(, "quantized_layers":
      {"a.b": {"quant_algo": "NVFP4"}})"));
  EXPECT_THAT(error, HasSubstr("group_1.targets: FP8 of \"c.d\" contradicts "
                               "quantized_layers, where it is missing"));
  read(modelOptGroups(R"(["Linear"])", R"(["a.b"])", "", "FP8"));
  EXPECT_THAT(error, HasSubstr("group_0.weights.num_bits: expected 8 or "
                               "nothing, found 4; as of FP8"));
  auto group = [](const std::string &fields) {
    return R"({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION",
      "config_groups": {"group_0": {"targets": ["a.b"])" +
           fields + "}}}";
  };
  read(group(""));
  EXPECT_THAT(error, HasSubstr("group_0.weights: missing, expected how weights "
                               "are stored"));
  read(group(R"(, "weights": {"num_bits": 4, "type": "int",
                              "group_size": 128})"));
  EXPECT_THAT(error, HasSubstr("group_0.weights.type: expected \"float\" or "
                               "nothing, found \"int\"; as of NVFP4"));
  read(group(R"(, "weights": {"num_bits": 8, "type": "float"},
                  "pre_quant_scale": true)"));
  EXPECT_THAT(error, HasSubstr("scaled activations are not implemented"));
}

TEST_F(Methods, Fp4ExpertsBesideMxfp8) {
  read(R"({"quant_method": "mxfp8", "weight_block_size": [1, 32],
    "activation_scheme": "dynamic", "moe_quant_algo": "NVFP4",
    "moe_quant_format": "nvfp4-pack-quantized", "group_size": 16,
    "kv_cache_quant_algo": "FP8", "attention_quant_algo": "FP8",
    "ignored_layers": ["gate", "lm_head"]})");
  EXPECT_EQ(error, "");
  EXPECT_EQ(of(q), "MXFP8");
  EXPECT_EQ(of(w1, 4), "NVFP4");
  EXPECT_EQ(of(gate), "");
  EXPECT_TRUE(found.cacheScales);
  // What values were multiplied by.
  EXPECT_TRUE((*found.formatOf(w1, "", 4))->companions.back().divides);
  read(R"({"quant_method": "mxfp8", "weight_block_size": [1, 32],
    "moe_quant_algo": "NVFP4", "moe_quant_format": "other"})");
  EXPECT_THAT(error, HasSubstr("moe_quant_format: expected "
                               "\"nvfp4-pack-quantized\" or nothing"));
}

const char *const kQuark = R"({"quant_method": "quark",
  "algo_config": null, "exclude": ["lm_head", "re:.*gate$",
    "model.layers.0.self_attn.*"],
  "export": {"kv_cache_group": [], "pack_method": "reorder"},
  "global_quant_config": {"bias": null, "input_tensors": {"dtype": "fp4",
      "is_dynamic": true}, "output_tensors": null, "target_device": null,
    "weight": {"ch_axis": -1, "dtype": "fp4", "group_size": 32,
      "is_dynamic": false, "observer_cls": "PerBlockMXObserver",
      "qscheme": "per_group", "round_method": "half_even",
      "scale_format": "e8m0", "scale_type": "float", "symmetric": null}},
  "kv_cache_quant_config": {}, "layer_quant_config": {},
  "layer_type_quant_config": {}, "quant_mode": "eager_mode",
  "softmax_quant_spec": null, "version": "0.1"})";

TEST_F(Methods, Quark) {
  read(kQuark);
  EXPECT_EQ(error, "");
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_EQ(of(q), "MXFP4");
  EXPECT_STREQ((*found.formatOf(q, ""))->tensor, "weight");
  EXPECT_EQ(of(gate), "");
  EXPECT_EQ(of("model.layers.0.self_attn.q_proj"), "");
  auto patched = [&](const char *patch) {
    nlohmann::json config = nlohmann::json::parse(kQuark);
    config.merge_patch(nlohmann::json::parse(patch));
    read(config.dump());
    return error;
  };
  EXPECT_THAT(
      patched(R"({"global_quant_config": {"weight": {"dtype": "int4"}}})"),
      HasSubstr("weight.dtype: expected \"fp4\", the only one"));
  EXPECT_THAT(patched(R"({"global_quant_config": {"weight":
                            {"group_size": 16}}})"),
              HasSubstr("MXFP4 has groups of 32"));
  EXPECT_THAT(patched(R"({"global_quant_config": null})"),
              HasSubstr("global_quant_config: "));
  EXPECT_THAT(patched(R"({"layer_type_quant_config": {"Linear": {}}})"),
              HasSubstr("formats that differ by class of module"));
}

TEST_F(Methods, ModelSlim) {
  read(R"({"quant_method": "modelslim", "model_quant_type": "W8A8_DYNAMIC",
    "version": "1.0.0", "lm_head.weight": "FLOAT",
    "model.layers.1.self_attn.q_proj.weight": "W8A8_DYNAMIC",
    "model.layers.1.self_attn.q_proj.weight_scale": "W8A8_DYNAMIC",
    "model.layers.1.self_attn.q_proj.weight_offset": "W8A8_DYNAMIC",
    "model.layers.1.block_sparse_moe.gate.weight": "FLOAT"})");
  EXPECT_EQ(error, "");
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_EQ(of(q), "int8 of ModelSlim");
  EXPECT_EQ(of(gate), "");
  read(R"({"quant_method": "ascend", "a.b.weight": "W8A8"})");
  EXPECT_THAT(error, HasSubstr("a.b.weight: expected \"FLOAT\", "
                               "\"W8A8_DYNAMIC\" or \"W8A16\"; with static "
                               "scales of activations"));
  read(R"({"quant_method": "ascend", "a.b.weight": "W4A4_FLATQUANT"})");
  EXPECT_THAT(error, HasSubstr("the only ones implemented"));
}

TEST_F(Methods, FastDeploysSixVariants) {
  const std::string w2 = "model.layers.0.block_sparse_moe.experts.{}.w2";
  auto variant = [&](const std::string &fields) {
    read(R"({"quantization": "mix_quant", "dense_quant_type": "none")" +
         fields + "}");
    EXPECT_EQ(of(q), "");
    return error;
  };
  auto formatOf = [&](const std::string &module) {
    return **found.formatOf(module, "", 4);
  };
  EXPECT_EQ(variant(""), "");
  EXPECT_EQ(of(w1, 4), "");
  EXPECT_EQ(variant(R"(, "moe_quant_type": "block_wise_fp8")"), "");
  EXPECT_EQ(of(w1, 4), "FP8");

  EXPECT_EQ(variant(R"(, "moe_quant_type": "tensor_wise_fp8")"), "");
  for (const std::string &module : {w1, w2}) {
    EXPECT_EQ(formatOf(module).name, std::string("FP8 of FastDeploy"));
    EXPECT_EQ(formatOf(module).rotated, 32);
  }

  const std::string w4a8 =
      R"(, "moe_quant_type": "w4a8", "is_permuted": false)";
  const std::string w4afp8 =
      R"(, "moe_quant_type": "w4afp8", "is_permuted": false)";
  for (const std::string &variantOfInt4 : {w4a8, w4afp8}) {
    EXPECT_EQ(variant(variantOfInt4 + R"(, "is_quantized": true)"), "");
    EXPECT_THAT(warnings, IsEmpty());
    EXPECT_EQ(formatOf(w1).name, std::string("int4 of FastDeploy"));
    EXPECT_EQ(formatOf(w1).rotated, 0);
    EXPECT_EQ(formatOf(w2).rotated, 128);
    EXPECT_EQ(formatOf(w2).companions[0].over, 7);
    EXPECT_EQ(formatOf(w2).companions[0].blockColumns, 0u);
    EXPECT_EQ(formatOf(w2).redundant.size(), 1u);
  }
  EXPECT_EQ(variant(w4afp8 + R"(, "moe_dynamic_quant": true,
                                  "hadamard_block_size": 512)"),
            "");
  EXPECT_EQ(formatOf(w2).rotated, 512);
  EXPECT_EQ(formatOf(w1).companions[0].blockColumns, 128u);
  EXPECT_EQ(formatOf(w1).redundant.size(), 0u);

  // What else is refused: test/e2e/bad_storage.py.
  EXPECT_THAT(
      variant(R"(, "moe_quant_type": "w4a8")"),
      HasSubstr("is_permuted: missing, expected false; FastDeploy takes codes "
                "and scales in the order of its kernels"));
  EXPECT_THAT(variant(R"(, "dense_quant_type": "wint8")"),
              HasSubstr("only experts are quantised"));
}

TEST_F(Methods, DynamicOfGptq) {
  read(R"({"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": true,
    "desc_act": false, "dynamic": {"-:.*gate$": {},
      "+:.*self_attn.*": {"bits": 8, "group_size": 64}}})");
  EXPECT_EQ(error, "");
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_EQ(of(gate), "");
  EXPECT_EQ(of(q), "GPTQ int8");
  EXPECT_EQ((*found.formatOf(q, ""))->companions[0].blockColumns, 64u);
  EXPECT_EQ(of(w1, 4), "GPTQ int4");
  // The first that matches decides, and which that is is not known.
  read(R"({"quant_method": "gptq", "bits": 4, "group_size": 32,
    "dynamic": {"+:.*[.]q_proj": {"bits": 8}, "-:.*self_attn.*": {}}})");
  EXPECT_EQ(error, "");
  EXPECT_EQ(of(q),
            "c.json: quantization_config.dynamic leaves "
            "\"model.layers.1.self_attn.q_proj\" unquantised, and "
            "dynamic.+:.*[.]q_proj says how it is stored; the tool takes "
            "what stands first, which JSON does not keep: narrow one of "
            "the expressions");
  EXPECT_EQ(of("model.layers.1.self_attn.k_proj"), "");
  read(R"({"quant_method": "gptq", "bits": 4, "group_size": 32,
    "dynamic": {"+:.*[.]q_proj": {"bits": 8}, ".*attn.*": {"bits": 8}}})");
  EXPECT_THAT(of(q),
              HasSubstr("dynamic.+:.*[.]q_proj and dynamic..*attn.* both "
                        "name"));
}

TEST_F(Methods, NaiveFormatsOfCompressedTensors) {
  auto naive = [](const std::string &weights, const std::string &inputs) {
    return R"({"quant_method": "compressed-tensors", "format":
      "naive-quantized", "config_groups": {"group_0": {"targets": ["Linear"],
      "weights": )" +
           weights + R"(, "input_activations": )" + inputs + "}}}";
  };
  read(naive(kFp8, kTokens));
  EXPECT_EQ(error, "");
  EXPECT_EQ(of(q), "FP8 per channel");
  read(naive(R"({"num_bits": 8, "type": "int", "strategy": "channel",
                 "symmetric": true, "dynamic": false})",
             "null"));
  EXPECT_EQ(error, "");
  EXPECT_EQ(of(q), "int8 per channel");
}

TEST_F(Methods, Mlx) {
  nlohmann::json config = smallConfig();
  config["quantization"] = {{"group_size", 64}, {"bits", 6}};
  ConfigReader reader = *ConfigReader::parse(config.dump(), "c.json");
  readQuantisation(reader, warnings);
  EXPECT_THAT(reader.status().message(),
              HasSubstr("quantization: expected nothing"));
  EXPECT_THAT(reader.status().message(), HasSubstr("formats of MLX"));
}

//===--- Folders ----------------------------------------------------------===//

class Folders : public testing::Test {
protected:
  std::string import() {
    folder.write("config.json", config.dump());
    tensors.write(folder);
    StatusOr<ModelSource> source = ModelSource::open(folder.path(""));
    if (!source.ok())
      return source.status().message();
    StatusOr<M2Model> read = readM2(*source);
    if (!read.ok())
      return read.status().message();
    model = std::move(*read);
    return "";
  }
  /// Attention stays as it is, experts are FP8 of ModelOpt.
  void quantise() {
    for (const char *layer : {"0", "1"})
      for (const char *e : {"0.", "1.", "2."})
        for (const char *w : {"w1", "w2", "w3"}) {
          std::string module = std::string("model.layers.") + layer +
                               ".block_sparse_moe.experts." + e + w;
          tensors.set(module + ".weight", "F8_E4M3",
                      w == std::string("w2") ? std::vector<uint64_t>{32, 24}
                                             : std::vector<uint64_t>{24, 32});
          tensors.set(module + ".weight_scale", "F32", {});
        }
    for (const char *layer : {"0", "1"})
      for (const char *suffix : {"gate.weight", "e_score_correction_bias"}) {
        std::string name = std::string("model.layers.") + layer +
                           ".block_sparse_moe." + suffix;
        tensors.set(name, "F32", tensors.tensors[name].shape);
      }
  }
  nlohmann::json side = nlohmann::json::parse(R"({"producer": {"name":
    "modelopt"}, "quantization": {"quant_algo": "FP8",
    "kv_cache_quant_algo": null, "exclude_modules": ["lm_head",
    "model.layers.*.self_attn*", "*.gate"]}})");
  nlohmann::json config = smallConfig();
  TinyCheckpoint tensors;
  TemporaryFolder folder;
  M2Model model;
};

TEST_F(Folders, HfQuantConfigBesideIsRead) {
  quantise();
  EXPECT_THAT(import(), HasSubstr("has no quantization_config"));
  folder.write("hf_quant_config.json", side.dump());
  ASSERT_EQ(import(), "");
  EXPECT_THAT(model.warnings, IsEmpty());
  EXPECT_EQ(model.weights.find("layers.1.w1")->spec.dtype, TensorDType::F8E4M3);
  EXPECT_EQ(model.weights.find("layers.1.q_proj")->spec.dtype,
            TensorDType::BF16);
  // Beside a config.json alone, too.
  ModelSource alone = *ModelSource::open(folder.path("config.json"));
  EXPECT_EQ(readM2(alone)->weights.find("layers.1.w1")->spec.dtype,
            TensorDType::F8E4M3);
  side["quantization"]["quant_algo"] = "FP2";
  std::string path = folder.write("hf_quant_config.json", side.dump());
  EXPECT_THAT(import(), HasSubstr(path + ": quant_algo: expected"));
  folder.write("hf_quant_config.json", R"({"quantization": 1})");
  EXPECT_THAT(import(), HasSubstr("expected an object \"quantization\""));
  folder.write("hf_quant_config.json", "{");
  EXPECT_THAT(import(), HasSubstr("hf_quant_config.json"));
}

TEST_F(Folders, HfQuantConfigAgreesWithTheConfiguration) {
  quantise();
  config["quantization_config"] = side["quantization"];
  config["quantization_config"]["quant_method"] = "modelopt";
  folder.write("hf_quant_config.json", side.dump());
  ASSERT_EQ(import(), "");
  side["quantization"]["quant_algo"] = "NVFP4";
  folder.write("hf_quant_config.json", side.dump());
  EXPECT_THAT(import(), HasSubstr("quant_algo is \"NVFP4\", but "
                                  "quantization_config of config.json says "
                                  "\"FP8\"; one of them is stale"));
  side["quantization"]["quant_algo"] = "FP8";
  side["quantization"]["quantized_layers"] = nlohmann::json::object();
  config["quantization_config"]["quantized_layers"]["a.b"] = {
      {"quant_algo", "FP8"}};
  folder.write("hf_quant_config.json", side.dump());
  EXPECT_THAT(import(), HasSubstr("quantized_layers differ from those of "
                                  "quantization_config of config.json; one of "
                                  "them is stale, delete it"));
  config["quantization_config"].erase("quantized_layers");
  side["quantization"].erase("quantized_layers");
  side["quantization"]["exclude_modules"] = {"lm_head"};
  folder.write("hf_quant_config.json", side.dump());
  EXPECT_THAT(
      import(),
      HasSubstr("exclude_modules differs from what quantization_config of "
                "config.json ignores"));
}

TEST_F(Folders, NamesThatMatchNothing) {
  quantise();
  side["quantization"]["exclude_modules"].push_back("vision_tower*");
  side["quantization"]["exclude_modules"].push_back("model.layers.7.*");
  folder.write("hf_quant_config.json", side.dump());
  ASSERT_EQ(import(), "");
  ASSERT_EQ(model.warnings.size(), 1u);
  EXPECT_THAT(
      model.warnings[0],
      HasSubstr("quantization_config.exclude_modules: "
                "\"vision_tower*\" and 1 more match no module of this model"));
}

TEST_F(Folders, GateAndUpAreStoredAlike) {
  config["quantization_config"] = nlohmann::json::parse(
      mixed(R"(["re:.*w1"])", R"(["re:.*w[23]", "re:.*attn.*"])"));
  config["quantization_config"]["config_groups"]["group_0"]["weights"]
        ["group_size"] = 16;
  std::string path = folder.write("config.json", config.dump());
  ModelSource source = *ModelSource::open(path);
  EXPECT_THAT(readM2(source).status().message(),
              HasSubstr("experts.{}.w1.weight_packed (i32, scale bf16 [24, 2]) "
                        "and model.layers.0.block_sparse_moe.experts.{}.w3."
                        "weight (f8e4m3, scale bf16 [24, 1]) are multiplied as "
                        "one, expected one format for both"));
}

TEST_F(Folders, HalfPrecisionBesideFp8) {
  // Scales follow the precision of the model.
  config = smallFp8Config();
  config["dtype"] = "float16";
  tensors = TinyCheckpoint(true, "F16");
  for (auto &[name, tensor] : tensors.tensors)
    if (name.find("scale_inv") != std::string::npos) {
      tensor.dtype = "F16";
      tensor.data.resize(2);
    }
  ASSERT_EQ(import(), "");
  const WeightSpec &spec = model.weights.find("layers.1.w1")->spec;
  EXPECT_EQ(spec.companions[0].dtype, TensorDType::F16);
  EXPECT_EQ(model.weights.find("embed")->spec.dtype, TensorDType::F16);
}

TEST_F(Folders, TokenizersOverruleIds) {
  folder.write("tokenizer_config.json",
               R"({"bos_token": {"content": "<b>"}, "eos_token": "<e>",
                   "added_tokens_decoder": {"30": {"content": "<e>"}}})");
  folder.write("tokenizer.json",
               R"({"added_tokens": [{"id": 31, "content": "<b>"}]})");
  ASSERT_EQ(import(), "");
  EXPECT_THAT(model.config.tokens.eos, ElementsAre(30));
  EXPECT_THAT(model.config.tokens.bos, ElementsAre(31));
  ASSERT_EQ(model.warnings.size(), 2u);
  EXPECT_THAT(model.warnings[1],
              HasSubstr("eos_token_id is 1, but eos_token of "
                        "tokenizer_config.json, \"<e>\", is token 30, which is "
                        "used"));
  // What generation_config.json says was meant.
  folder.write("generation_config.json", R"({"eos_token_id": [5]})");
  ASSERT_EQ(import(), "");
  EXPECT_THAT(model.config.tokens.eos, ElementsAre(5));
  // Nothing is made of tokenizers that say nothing.
  folder.write("tokenizer_config.json",
               R"({"eos_token": 7, "bos_token": {"id": 3}})");
  folder.write("generation_config.json", "{}");
  ASSERT_EQ(import(), "");
  EXPECT_THAT(model.config.tokens.eos, ElementsAre(1));
  EXPECT_THAT(model.warnings, IsEmpty());
}

} // namespace
