// Weights of bytes that are no values: int8, FP4 in pairs, FP8 with one scale
// or with powers of two. What quantization_config may say of them.

#include "models/Common/Quantisation/Quantisation.h"
#include "test/unit/models/SmallConfig.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

const char *const kCompressed = R"({
  "quant_method": "compressed-tensors", "quantization_status": "compressed",
  "config_groups": {"group_0": {
    "targets": ["Linear"], "weights": {"dynamic": false, "symmetric": true}}}})";
const char *const kModelOpt = R"({
  "quant_method": "modelopt", "quant_algo": "NVFP4",
  "producer": {"name": "modelopt"},
  "ignore": ["lm_head", "model.layers.0.self_attn*"],
  "config_groups": {"group_0": {"targets": ["Linear"],
    "weights": {"dynamic": false, "num_bits": 4, "type": "float",
                "group_size": 16},
    "input_activations": {"dynamic": false, "num_bits": 4, "type": "float",
                          "group_size": 16}}}})";
const char *const kMxfp8 = R"({"quant_method": "mxfp8",
  "weight_block_size": [1, 32], "activation_scheme": "dynamic"})";

struct Result {
  Quantisation quantisation;
  std::string error;
  std::vector<std::string> warnings = {};
};

Result read(const char *quantization, const std::string &patch = "{}") {
  ConfigReader reader = *ConfigReader::parse(
      quantisedConfig(quantization, patch).dump(), "c.json");
  std::vector<std::string> warnings;
  Quantisation quantisation = readQuantisation(reader, warnings);
  return {std::move(quantisation), reader.status().message(), warnings};
}
std::string errorOf(const char *quantization, const std::string &patch) {
  return read(quantization, patch).error;
}
Result compressed(const std::string &format, const std::string &weights,
                  const std::string &group = "{}") {
  nlohmann::json patch = {{"format", format}};
  patch["config_groups"]["group_0"] = nlohmann::json::parse(group);
  patch["config_groups"]["group_0"]["weights"] = nlohmann::json::parse(weights);
  return read(kCompressed, patch.dump());
}

/// The tensors of a matrix of 48 x 64, "name dtype [shape]" each.
std::vector<std::string> tensorsOf(const Result &result) {
  EXPECT_EQ(result.error, "");
  EXPECT_THAT(result.warnings, ElementsAre());
  auto format = result.quantisation.formatOf("m", "c.json");
  EXPECT_TRUE(format.ok() && *format);
  WeightSpec spec;
  spec.name = "m.weight";
  spec.shape = {48, 64};
  store(**format, spec);
  std::vector<std::string> tensors = {spec.name + " " + dtypeName(spec.dtype) +
                                      " " + formatShape(spec.shape)};
  for (const Companion &companion : spec.companions)
    tensors.push_back(companion.name + " " + dtypeName(companion.dtype) + " " +
                      formatShape(companion.shape) +
                      (companion.divides ? " divides" : ""));
  return tensors;
}

TEST(ByteWeights, FormatsOfCompressedTensors) {
  const std::string int8 =
      R"({"num_bits": 8, "type": "int", "strategy": "channel"})";
  const std::string tokens = R"({"input_activations": {"num_bits": 8,
    "type": "int", "strategy": "token", "symmetric": true, "dynamic": true}})";
  EXPECT_THAT(
      tensorsOf(compressed("int-quantized", int8)),
      ElementsAre("m.weight i8 [48, 64]", "m.weight_scale bf16 [48, 1]"));
  EXPECT_EQ(compressed("int-quantized", int8, tokens).error, "");
  EXPECT_THAT(tensorsOf(compressed("nvfp4-pack-quantized",
                                   R"({"num_bits": 4, "type": "float",
        "strategy": "tensor_group", "group_size": 16})")),
              ElementsAre("m.weight_packed u8 [48, 32]",
                          "m.weight_scale f8e4m3 [48, 4]",
                          "m.weight_global_scale f32 [1] divides"));
  EXPECT_THAT(
      tensorsOf(compressed("mxfp4-pack-quantized",
                           R"({"num_bits": 4, "type": "float",
        "strategy": "group", "group_size": 32})")),
      ElementsAre("m.weight_packed u8 [48, 32]", "m.weight_scale u8 [48, 2]"));
  EXPECT_THAT(
      tensorsOf(compressed(
          "float-quantized",
          R"({"num_bits": 8, "type": "float", "strategy": "tensor"})",
          R"({"input_activations": {"num_bits": 8, "type": "float",
        "strategy": "token", "symmetric": true, "dynamic": true}})")),
      ElementsAre("m.weight f8e4m3 [48, 64]", "m.weight_scale bf16 [1]"));
}

TEST(ByteWeights, OtherSchemesAreRefused) {
  const std::string at = "c.json: quantization_config.config_groups.group_0.";
  EXPECT_EQ(compressed("int-quantized", R"({"num_bits": 8, "type": "int",
                       "strategy": "tensor"})")
                .error,
            at + "weights.strategy: expected \"channel\", the only one "
                 "implemented for int8, found \"tensor\"");
  EXPECT_EQ(compressed("int-quantized", R"({"num_bits": 4, "type": "int",
                       "strategy": "channel"})")
                .error,
            at + "weights.num_bits: expected 8 or nothing, found 4; bytes hold "
                 "int8");
  EXPECT_THAT(compressed("int-quantized",
                         R"({"num_bits": 8, "type": "int",
                             "strategy": "channel"})",
                         R"({"input_activations": {"num_bits": 8,
                             "type": "int", "strategy": "tensor",
                             "dynamic": false}})")
                  .error,
              HasSubstr("input_activations.dynamic: expected true: stored "
                        "activation scales are not implemented"));
  EXPECT_EQ(compressed("nvfp4-pack-quantized", R"({"num_bits": 4,
                       "type": "float", "strategy": "tensor_group",
                       "group_size": 32})")
                .error,
            at + "weights.group_size: expected 16 or nothing, found 32; the "
                 "format has no other groups");
  EXPECT_EQ(compressed("nvfp4-pack-quantized", R"({"num_bits": 4,
                       "type": "float", "strategy": "tensor_group"})")
                .error,
            at + "weights.group_size: missing, expected [16]");
  EXPECT_EQ(compressed("mxfp4-pack-quantized", R"({"num_bits": 4,
                       "type": "float", "strategy": "tensor",
                       "group_size": 32})")
                .error,
            at + "weights.strategy: expected \"group\", the one of this "
                 "format, found \"tensor\"");
}

TEST(ByteWeights, ModelOpt) {
  EXPECT_THAT(tensorsOf(read(kModelOpt)),
              ElementsAre("m.weight u8 [48, 32]",
                          "m.weight_scale f8e4m3 [48, 4]",
                          "m.weight_scale_2 f32 []"));
  EXPECT_THAT(tensorsOf(read(kModelOpt, R"({"quant_algo": "FP8",
                                            "config_groups": null})")),
              ElementsAre("m.weight f8e4m3 [48, 64]", "m.weight_scale f32 []"));
  const std::string at = "c.json: quantization_config.";
  EXPECT_EQ(errorOf(kModelOpt, R"({"quant_algo": "W4A8_AWQ"})"),
            at + "quant_algo: expected \"MIXED_PRECISION\", \"FP8\", "
                 "\"FP8_PER_CHANNEL_PER_TOKEN\", \"MXFP8\", \"NVFP4\" or "
                 "\"W4A16_NVFP4\", the only ones implemented, found "
                 "\"W4A8_AWQ\"");
  EXPECT_EQ(errorOf(kModelOpt, R"({"quant_algo": null})"),
            at + "quant_algo: missing, expected a string");
  EXPECT_EQ(errorOf(kModelOpt, R"({"quant_algo": "FP8"})"),
            at + "config_groups.group_0.weights.num_bits: expected 8 or "
                 "nothing, found 4; as of FP8");
  EXPECT_THAT(tensorsOf(read(kModelOpt, R"({"quant_algo": "W4A16_NVFP4",
      "config_groups": {"group_0": {"input_activations": null}}})")),
              ElementsAre("m.weight u8 [48, 32]",
                          "m.weight_scale f8e4m3 [48, 4]",
                          "m.weight_scale_2 f32 []"));
  EXPECT_THAT(errorOf(kModelOpt, R"({"quant_algo": "W4A16_NVFP4"})"),
              HasSubstr("input_activations: expected nothing, found"));
  EXPECT_THAT(
      tensorsOf(read(kModelOpt, R"({"config_groups": null,
      "quant_algo": "FP8_PER_CHANNEL_PER_TOKEN"})")),
      ElementsAre("m.weight f8e4m3 [48, 64]", "m.weight_scale f32 [48]"));
  EXPECT_EQ(errorOf(kModelOpt, R"({"group_size": 32})"),
            at + "group_size: expected 16 or nothing, found 32; quant_algo has "
                 "no other groups");
  EXPECT_EQ(errorOf(kModelOpt, R"({"exclude_modules": ["lm_head"]})"),
            at + "exclude_modules: contradicts ignore");
  auto withCache = read(kModelOpt, R"({"kv_cache_scheme": {"num_bits": 8,
                                       "type": "float", "dynamic": false}})");
  EXPECT_TRUE(withCache.quantisation.cacheScales);
  EXPECT_THAT(withCache.warnings, ElementsAre());
  // Globs are of whole names and of those above.
  Quantisation modelOpt = read(kModelOpt).quantisation;
  EXPECT_EQ(*modelOpt.formatOf("model.layers.0.self_attn.q_proj", "c.json"),
            nullptr);
  EXPECT_NE(*modelOpt.formatOf("model.layers.10.self_attn.q_proj", "c.json"),
            nullptr);
  EXPECT_NE(*modelOpt.formatOf("model.layers.0.experts.{}.w1", "c.json", 3),
            nullptr);
  EXPECT_EQ(errorOf(kModelOpt, R"({"ignore": ["a[0-9]"]})"), "");
}

TEST(ByteWeights, Mxfp8) {
  EXPECT_THAT(
      tensorsOf(read(kMxfp8)),
      ElementsAre("m.weight f8e4m3 [48, 64]", "m.weight_scale_inv u8 [48, 2]"));
  const std::string at = "c.json: quantization_config.";
  EXPECT_EQ(errorOf(kMxfp8, R"({"weight_block_size": [128, 128]})"),
            at + "weight_block_size: expected [1, 32], the blocks of MXFP8, "
                 "found [128,128]");
  EXPECT_EQ(errorOf(kMxfp8, R"({"moe_quant_algo": "FP8"})"),
            at + "moe_quant_algo: expected \"MXFP8\" or \"NVFP4\" or nothing, "
                 "found \"FP8\"; experts of another format are not "
                 "implemented");
}

} // namespace
