// FP8 with a scale for each output channel: what quantization_config may say,
// and what a folder must hold.

#include "test/unit/models/AccountingError.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {

nlohmann::json channelConfig() {
  nlohmann::json config = smallConfig();
  config["quantization_config"] = nlohmann::json::parse(R"({
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "quantization_status": "compressed",
    "config_groups": {"group_0": {
      "targets": ["Linear"],
      "weights": {"num_bits": 8, "type": "float", "strategy": "channel",
                  "symmetric": true, "dynamic": false, "observer": "minmax",
                  "observer_kwargs": {}, "group_size": null},
      "input_activations": {"num_bits": 8, "type": "float",
                            "strategy": "token", "symmetric": true,
                            "dynamic": true, "observer": null},
      "output_activations": null}},
    "ignore": ["gate", "lm_head"],
    "kv_cache_scheme": null,
    "sparsity_config": {},
    "global_compression_ratio": null,
    "version": "0.12.2"
  })");
  return config;
}

/// The error about the config after a JSON merge patch of its group.
std::string errorOf(const std::string &patch) {
  std::string text = patched(channelConfig(), patch);
  StatusOr<ConfigReader> reader = ConfigReader::parse(text, "c.json");
  EXPECT_TRUE(reader.ok()) << reader.status().message();
  std::vector<std::string> warnings;
  readQuantisation(*reader, warnings);
  EXPECT_THAT(warnings, ElementsAre());
  return reader->status().message();
}
std::string groupError(const std::string &patch) {
  return errorOf(R"({"quantization_config": {"config_groups": {"group_0": )" +
                 patch + "}}}");
}

TEST(CompressedTensors, AScaleForEachChannel) {
  EXPECT_EQ(errorOf("{}"), "");
  std::vector<std::string> warnings;
  ConfigReader reader = *ConfigReader::parse(channelConfig().dump(), "c.json");
  Quantisation read = readQuantisation(reader, warnings);
  auto format = read.formatOf("model.layers.0.self_attn.q_proj", "c.json");
  ASSERT_TRUE(format.ok() && *format);
  WeightSpec spec;
  spec.name = "q.weight";
  spec.shape = {48, 32};
  store(**format, spec);
  EXPECT_EQ(spec.dtype, TensorDType::F8E4M3);
  ASSERT_EQ(spec.companions.size(), 1u);
  EXPECT_EQ(spec.companions[0].name, "q.weight_scale");
  EXPECT_THAT(spec.companions[0].shape, ElementsAre(48, 1));
  EXPECT_EQ(spec.companions[0].blockRows, 1u);
  EXPECT_EQ(spec.companions[0].blockColumns, 0u);
  EXPECT_EQ(*read.formatOf("lm_head", "c.json"), nullptr);
  EXPECT_THAT(read.formatOf("experts.{}.w1", "c.json").ok(), true);
}

TEST(CompressedTensors, OtherSchemesAreRefused) {
  const std::string group =
      "c.json: quantization_config.config_groups.group_0.";
  EXPECT_EQ(groupError(R"({"weights": {"strategy": "group"}})"),
            group + "weights.strategy: expected \"channel\" or \"tensor\", "
                    "the only ones implemented here, found \"group\"");
  EXPECT_EQ(groupError(R"({"weights": {"strategy": "block"}})"),
            group + "weights.block_structure: missing, expected [128, 128], "
                    "the only block implemented");
  EXPECT_EQ(groupError(R"({"weights": {"strategy": null}})"),
            group + "weights.strategy: missing, expected a string");
  EXPECT_EQ(groupError(R"({"input_activations": {"strategy": "tensor"}})"),
            group + "input_activations.strategy: expected \"token\", the only "
                    "one implemented here, found \"tensor\"");
  EXPECT_EQ(groupError(R"({"input_activations": {"dynamic": false}})"),
            group + "input_activations.dynamic: expected true: stored "
                    "activation scales are not implemented, found false");
  EXPECT_EQ(groupError(R"({"input_activations": null})"),
            group + "input_activations: missing, expected FP8 activations, "
                    "quantised per token; FP8 weights alone are not "
                    "implemented");
  EXPECT_EQ(groupError(R"({"weights": {"num_bits": 4}})"),
            group + "weights.num_bits: expected 8 or nothing, found 4; only "
                    "FP8 is implemented");
  EXPECT_EQ(groupError(R"({"weights": {"type": null}})"),
            group + "weights.type: missing, expected FP8 weights with a scale "
                    "for each channel");
  EXPECT_THAT(groupError(R"({"weights": {"symmetric": false}})"),
              HasSubstr("weights.symmetric: expected true"));
  EXPECT_THAT(groupError(R"x({"targets": ["re:(q_proj"]})x"),
              HasSubstr("group_0.targets: expected module names or \"re:\" and "
                        "an expression"));
}

TEST(CompressedTensors, OtherFilesAreRefused) {
  EXPECT_THAT(
      errorOf(R"({"quantization_config": {"format": "marlin-24"}})"),
      HasSubstr("quantization_config.format: expected \"float-quantized\", "
                "\"int-quantized\", \"mxfp4-pack-quantized\", "
                "\"naive-quantized\", "
                "\"nvfp4-pack-quantized\", \"pack-quantized\" or nothing; "
                "other formats are not implemented, found \"marlin-24\""));
  EXPECT_THAT(groupError(R"({"format": "pack-quantized"})"),
              HasSubstr("group_0.format: expected \"float-quantized\", as the "
                        "list says, found \"pack-quantized\""));
  EXPECT_THAT(errorOf(R"({"quantization_config": {"config_groups": null}})"),
              HasSubstr("quantization_config.config_groups: missing, expected "
                        "an object of groups, such as \"group_0\""));
  EXPECT_EQ(errorOf(R"({"quantization_config": {"config_groups":
                    {"group_1": {}}}})"),
            "c.json: quantization_config.config_groups.group_1.weights: "
            "missing, expected FP8 weights with a scale for each channel");
  EXPECT_THAT(
      errorOf(R"({"quantization_config": {"ignore": ["*.gate"]}})"),
      HasSubstr("quantization_config.ignore: expected module names of"));
  EXPECT_THAT(
      errorOf(R"({"quantization_config": {"ignore": ["re:(gate"]}})"),
      HasSubstr("quantization_config.ignore: expected module names or \"re:\" "
                "and an expression, found \"re:(gate\""));
}

/// What the import says about a folder of this format after a change.
std::string folderError(const std::function<void(TinyCheckpoint &)> &change) {
  TinyCheckpoint tensors(/*fp8=*/true);
  for (auto each = tensors.tensors.begin(); each != tensors.tensors.end();) {
    std::string name = each->first;
    size_t suffix = name.rfind("_scale_inv");
    ++each;
    if (suffix == std::string::npos)
      continue;
    std::string weight = name.substr(0, suffix);
    tensors.erase(name);
    tensors.set(weight + "_scale", "BF16",
                {tensors.tensors[weight].shape[0], 1});
  }
  change(tensors);
  return accountingError(channelConfig(), tensors);
}

TEST(CompressedTensors, FoldersThatFitAndThatDoNot) {
  const std::string q = "model.layers.0.self_attn.q_proj.weight",
                    scale = q + "_scale";
  EXPECT_EQ(folderError([](TinyCheckpoint &) {}), "");
  EXPECT_EQ(
      folderError([&](TinyCheckpoint &t) { t.set(scale, "F32", {48, 1}); }),
      "");
  // As ModelOpt writes a column.
  EXPECT_EQ(folderError([&](TinyCheckpoint &t) { t.set(scale, "F32", {48}); }),
            "");
  EXPECT_EQ(folderError([&](TinyCheckpoint &t) { t.set(scale, "F32", {47}); }),
            "tensor \"" + scale +
                "\" has shape [47], the config asks for [48, 1]");
  EXPECT_EQ(
      folderError([&](TinyCheckpoint &t) { t.set(scale, "BF16", {47, 1}); }),
      "tensor \"" + scale +
          "\" has shape [47, 1], the config asks for [48, 1]");
  EXPECT_EQ(
      folderError([&](TinyCheckpoint &t) { t.set(scale, "BF16", {48, 2}); }),
      "tensor \"" + scale +
          "\" has shape [48, 2], the config asks for [48, 1]");
  EXPECT_EQ(folderError([&](TinyCheckpoint &t) { t.erase(scale); }),
            "tensor \"" + q + "\" is f8e4m3, but its scale \"" + scale +
                "\" is missing, expected bf16 [48, 1]");
  EXPECT_EQ(
      folderError([&](TinyCheckpoint &t) { t.set(scale, "U8", {48, 1}); }),
      "scale \"" + scale + "\" is u8, expected bf16");
  EXPECT_THAT(folderError([&](TinyCheckpoint &t) {
                t.set(q, "BF16", {48, 32});
                t.erase(scale);
              }),
              HasSubstr("declares FP8 per channel weights "
                        "(quantization_config); expected f8e4m3, or the "
                        "module in ignore"));
  EXPECT_THAT(
      folderError([&](TinyCheckpoint &t) {
        t.set("model.layers.0.self_attn.q_proj.input_scale", "F32", {1});
      }),
      HasSubstr(
          "q_proj.input_scale\" is not part of this model "
          "(num_hidden_layers = 2, num_local_experts = 3); it is a stored "
          "scale of activations, of which the configuration says nothing"));
  // Experts of a layer have one type of scale.
  const std::string expert =
      "model.layers.0.block_sparse_moe.experts.1.w1.weight_scale";
  EXPECT_EQ(
      folderError([&](TinyCheckpoint &t) { t.set(expert, "F32", {24, 1}); }),
      "scale \"" + expert + "\" is f32, expected bf16");
}

} // namespace
