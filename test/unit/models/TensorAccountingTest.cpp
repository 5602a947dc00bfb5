// Lists of weights and what a folder has of them, on a family of three tensors.
// M2WeightsTest.cpp has the messages of a whole model.

#include "models/Common/TensorAccounting.h"

#include "runtime/src/checkpoint/Fingerprint.h"
#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/checkpoint/SafetensorsWriter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

TEST(WeightSpec, MemberNames) {
  EXPECT_EQ(memberName("a.{}.b", 12), "a.12.b");
  EXPECT_EQ(memberName("a.b", 12), "a.b");
}

TEST(IgnoreRule, Patterns) {
  auto matches = [](const char *pattern, const char *name, int64_t first = 0,
                    int64_t last = INT64_MAX) {
    return IgnoreRule{pattern, "", first, last}.matches(name);
  };
  EXPECT_TRUE(matches("lm_head.weight", "lm_head.weight"));
  EXPECT_FALSE(matches("lm_head.weight", "lm_head.weight_scale"));
  EXPECT_FALSE(matches("lm_head.weight", "lm_head"));
  EXPECT_TRUE(matches("*.inv_freq", "layers.0.rotary.inv_freq"));
  EXPECT_TRUE(matches("vision_tower.*", "vision_tower.a.b"));
  EXPECT_FALSE(matches("vision_tower.*", "vision_towers.a"));
  EXPECT_TRUE(matches("*.self_attn.*decay", "l.1.self_attn.key_decay"));
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("l.{}.*", "l.12.x"));
  EXPECT_FALSE(matches("l.{}.*", "l.x.y"));
  EXPECT_FALSE(matches("l.{}.*", "l..y"));
  EXPECT_FALSE(matches("l.{}.*", "l.1"));
  EXPECT_TRUE(matches("l.{}.*", "l.12.x", 12, 12));
  EXPECT_FALSE(matches("l.{}.*", "l.13.x", 12, 12));
  EXPECT_FALSE(matches("l.{}.*", "l.1.x", 12, 12));  // digits are not split
  EXPECT_FALSE(matches("l.{}.*", "l.12.x", 12, 11)); // an empty range
  EXPECT_FALSE(matches("l.{}.*", "l.99999999999999999999.x"));
}

const std::string configPath = "c.json";

Quantisation fp8() {
  std::vector<std::string> warnings;
  StatusOr<ConfigReader> reader = ConfigReader::parse(
      R"({"quantization_config": {"quant_method": "fp8",
          "weight_block_size": [128, 128]}})",
      configPath);
  return readQuantisation(*reader, warnings);
}

/// norm [8] outside, and in each of two layers experts 2 x [4, 8], whose units
/// are 2 rows.
ModelWeights listTiny(const Quantisation &quantisation) {
  WeightLister list(TensorDType::BF16, quantisation, configPath);
  list.add("norm", "n", {{"hidden", 8}});
  for (int64_t layer : {0, 1}) {
    list.enterLayer(layer);
    list.addProjection("up", "l." + std::to_string(layer) + ".e.{}.up",
                       {{"experts", 2}, {"width", 4, 2}, {"hidden", 8}});
  }
  StatusOr<ModelWeights> weights = list.take();
  EXPECT_TRUE(weights.ok());
  return *weights;
}

TEST(WeightLister, DerivesShapesStacksAndSymbols) {
  ModelWeights weights = listTiny(Quantisation());
  ASSERT_EQ(weights.used.size(), 3u);
  const ModelWeight *up = weights.find("layers.1.up");
  ASSERT_TRUE(up);
  EXPECT_EQ(up->layer, 1);
  EXPECT_EQ(up->spec.name, "l.1.e.{}.up.weight");
  EXPECT_EQ(up->spec.stack, 2u);
  EXPECT_THAT(up->spec.shape, ElementsAre(4, 8));
  ASSERT_EQ(up->dims.size(), 3u);
  EXPECT_EQ(up->dims[1].unit, 2u);
  EXPECT_EQ(weights.find("norm")->layer, -1);
  EXPECT_FALSE(weights.find("up"));
  EXPECT_EQ(weights.tensorCount(), 5u);        // 1 + 2 * 2
  EXPECT_EQ(weights.elementCount(), 8u + 128); // 2 * 2 * 4 * 8
}

TEST(WeightLister, QuantisesProjectionsOnly) {
  Quantisation quantisation = fp8();
  ModelWeights weights = listTiny(quantisation);
  EXPECT_FALSE(weights.find("norm")->spec.isQuantised());
  EXPECT_TRUE(weights.find("layers.0.up")->spec.isQuantised());
  EXPECT_EQ(weights.tensorCount(), 9u);
  EXPECT_EQ(weights.elementCount(), 8u + 128 + 4); // a scale each
}

TEST(ModelWeights, LayersThatAreNotCompiledLeaveTheFingerprint) {
  ModelWeights all = listTiny(Quantisation());
  ModelWeights fewer = listTiny(Quantisation());
  fewer.keepLayers(1);
  EXPECT_TRUE(fewer.find("norm"));
  EXPECT_FALSE(fewer.find("layers.1.up"));
  ASSERT_EQ(fewer.ignored.size(), 1u);
  EXPECT_EQ(fewer.ignored[0].spec.name, "l.1.e.{}.up.weight");
  EXPECT_EQ(fewer.ignored[0].reason, "layer is not compiled");
  EXPECT_NE(fewer.fingerprint(), all.fingerprint());
}

std::vector<TestTensor> tinyTensors(const char *dtype, size_t bytes) {
  std::vector<TestTensor> tensors = {{"n", "BF16", {8}, std::string(16, '\0')}};
  for (const char *name : {"l.0.e.0.up.weight", "l.0.e.1.up.weight",
                           "l.1.e.0.up.weight", "l.1.e.1.up.weight"})
    tensors.push_back({name, dtype, {4, 8}, std::string(32 * bytes, '\0')});
  return tensors;
}

struct Account {
  ModelWeights weights;
  std::string error; // without the folder
};

Account account(const std::vector<TestTensor> &tensors,
                const Quantisation &quantisation,
                const std::vector<IgnoreRule> &ignore = {},
                const std::string &besideThem = "") {
  TemporaryFolder folder;
  if (!besideThem.empty())
    folder.write(besideThem, "{}");
  folder.write("model.safetensors", safetensors(tensors));
  StatusOr<Checkpoint> checkpoint = Checkpoint::open(folder.path(""));
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  Account result{listTiny(quantisation), ""};
  Status status = accountForTensors(
      *checkpoint, {configPath, quantisation, ignore, "layers = 2"},
      result.weights);
  if (status.ok())
    EXPECT_EQ(result.weights.ignored.empty() ? result.weights.fingerprint()
                                             : fingerprintOf(*checkpoint),
              fingerprintOf(*checkpoint));
  else
    result.error = status.message().substr(folder.path("").size() + 2);
  return result;
}

TEST(TensorAccounting, TakesDTypesAsFound) {
  Account found = account(tinyTensors("F32", 4), Quantisation());
  EXPECT_EQ(found.error, "");
  EXPECT_EQ(found.weights.find("layers.1.up")->spec.dtype, TensorDType::F32);
  EXPECT_EQ(found.weights.find("norm")->spec.dtype, TensorDType::BF16);
  EXPECT_THAT(found.weights.ignored, IsEmpty());
}

TEST(TensorAccounting, IgnoresByTheFirstRuleThatMatches) {
  std::vector<TestTensor> tensors = tinyTensors("BF16", 2);
  tensors.push_back({"l.0.decay", "F32", {1}, std::string(4, '\0')});
  tensors.push_back({"vision.w", "F32", {1}, std::string(4, '\0')});
  std::vector<IgnoreRule> rules = {{"l.{}.decay", "recomputed", 0, 1},
                                   {"vision.*", "text only"},
                                   {"*", "never reached"}};
  Account found = account(tensors, Quantisation(), rules);
  EXPECT_EQ(found.error, "");
  ASSERT_EQ(found.weights.ignored.size(), 2u);
  EXPECT_EQ(found.weights.ignored[0].spec.name, "l.0.decay");
  EXPECT_EQ(found.weights.ignored[0].reason, "recomputed");
  EXPECT_EQ(found.weights.ignored[1].reason, "text only");
  EXPECT_EQ(account(tensors, Quantisation(), {rules[1]}).error,
            "tensor \"l.0.decay\" is not part of this model (layers = 2)");
}

TEST(TensorAccounting, CodesNeedTheConfigsWord) {
  EXPECT_EQ(account(tinyTensors("F8_E4M3", 1), Quantisation()).error,
            "tensor \"l.0.e.0.up.weight\" is f8e4m3, but c.json has no "
            "quantization_config");
  EXPECT_EQ(account(tinyTensors("BF16", 2), fp8()).error,
            "tensor \"l.0.e.0.up.weight\" is bf16, but c.json declares FP8 "
            "weights (quantization_config); expected f8e4m3, or the module in "
            "modules_to_not_convert");
  EXPECT_EQ(account(tinyTensors("F8_E4M3", 1), fp8()).error,
            "tensor \"l.0.e.0.up.weight\" is f8e4m3, but its scale "
            "\"l.0.e.0.up.weight_scale_inv\" is missing, expected f32 [1, 1]");
}

// Values with a scale beside them are refused as codes.
TEST(TensorAccounting, ACompanionOfAWeightOfValues) {
  std::vector<TestTensor> tensors = tinyTensors("BF16", 2);
  const std::string name = "l.0.e.0.up.weight";
  tensors.push_back({name + "_scale_inv", "F32", {1}, std::string(4, '\0')});
  EXPECT_EQ(account(tensors, Quantisation()).error,
            "scale \"" + name + "_scale_inv\" is present, but its weight \"" +
                name + "\" is bf16, not f8e4m3");
}

TEST(TensorAccounting, MembersOfAStackAreStoredAlike) {
  std::vector<TestTensor> tensors = tinyTensors("BF16", 2);
  tensors[2] = {"l.0.e.1.up.weight", "F32", {4, 8}, std::string(128, '\0')};
  EXPECT_EQ(account(tensors, Quantisation()).error,
            "tensor \"l.0.e.1.up.weight\" is f32, but \"l.0.e.0.up.weight\" is "
            "bf16; all experts of a layer must be stored alike");
}

TEST(TensorAccounting, MissingTensorsAreCounted) {
  std::vector<TestTensor> tensors = tinyTensors("BF16", 2);
  tensors.resize(2);
  EXPECT_EQ(account(tensors, Quantisation()).error,
            "tensor \"l.0.e.1.up.weight\" is missing, expected [4, 8]; and 2 "
            "more");
}

TEST(TensorAccounting, ForeignLayoutsAreNamed) {
  auto errorWith = [](const std::string &name) {
    std::vector<TestTensor> tensors = tinyTensors("BF16", 2);
    tensors.resize(1);
    tensors.push_back({"a.other", "BF16", {1}, "00"});
    tensors.push_back({name, "BF16", {1}, "00"});
    std::string error = account(tensors, Quantisation()).error;
    const std::string missing = "tensor \"l.0.e.0.up.weight\" is missing, "
                                "expected [4, 8]; and 3 more; the folder has ";
    EXPECT_EQ(error.substr(0, missing.size()), missing);
    return error.substr(std::min(missing.size(), error.size()));
  };
  EXPECT_EQ(errorWith("b.other"),
            "\"a.other\", which is not part of this model");
  EXPECT_EQ(errorWith("l.0.switch_mlp.up_proj.weight"),
            "\"l.0.switch_mlp.up_proj.weight\", a name of MLX; use the "
            "checkpoint that it was converted from");
  EXPECT_EQ(errorWith("blk.0.attn_q.weight"),
            "\"blk.0.attn_q.weight\", a name of GGUF; use the checkpoint that "
            "it was converted from");
  EXPECT_EQ(errorWith("l.0.e.0.up.lora_A.weight"),
            "\"l.0.e.0.up.lora_A.weight\", which is part of an adapter; merge "
            "it into its model first");
}

} // namespace
