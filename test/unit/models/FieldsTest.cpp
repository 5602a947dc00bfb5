// Fields that all families share, where one family alone does not reach them.

#include "models/Common/Fields.h"
#include "models/Common/Rope.h"
#include "test/unit/models/Warnings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

ConfigReader open(const std::string &text) {
  StatusOr<ConfigReader> reader = ConfigReader::parse(text, "c.json");
  EXPECT_TRUE(reader.ok()) << reader.status().message();
  return *reader;
}

TEST(Fields, ASizeThatIsMissingCanStillDivide) {
  ConfigReader reader = open("{}");
  EXPECT_EQ(readSize(reader, "n", 7), 1);
  EXPECT_EQ(reader.status().message(),
            "c.json: n: missing, expected an integer from 1 to 7");
}

TEST(Fields, FixedAndUnusedFieldsAreKnown) {
  constexpr FixedField fixed[] = {{"act", R"(["silu"])", "no others"}};
  constexpr UnusedField unused[] = {{"seed", "training only"}};
  ConfigReader reader = open(
      R"({"act": "silu", "seed": 1, "model_type": "x", "odd": 2, "also": 3})");
  std::vector<std::string> warnings;
  acceptFixed(reader, fixed);
  skipUnused(reader, unused);
  skipGenericFields(reader);
  warnUnknownFields(reader, warnings);
  EXPECT_TRUE(reader.status().ok());
  EXPECT_THAT(warnings, WarningsAre("c.json: also: not a known field, ignored",
                                    "c.json: odd: not a known field, ignored"));
  ConfigReader bad = open(R"({"act": "gelu"})");
  acceptFixed(bad, fixed);
  EXPECT_EQ(bad.status().message(),
            "c.json: act: expected \"silu\" or nothing, found \"gelu\"; no "
            "others");
}

// Two kinds of layers, as hybrid models have them.
const std::vector<LayerKind<int64_t>> kinds = {{0, "0 (linear attention)"},
                                               {1, "1 (full attention)"}};

std::vector<size_t> layerKinds(ConfigReader &reader) {
  return readLayerKinds(reader, "types", 3, kinds, "no other is implemented");
}

TEST(LayerKinds, OneForEachLayer) {
  ConfigReader reader = open(R"({"types": [0, 1, 0]})");
  EXPECT_THAT(layerKinds(reader), ElementsAre(0, 1, 0));
  ConfigReader names = open(R"({"types": ["b", "a"]})");
  EXPECT_THAT(readLayerKinds<std::string>(names, "types", 2,
                                          {{"a", "\"a\""}, {"b", "\"b\""}}, ""),
              ElementsAre(1, 0));
  ConfigReader absent = open(R"({"types": null})");
  EXPECT_THAT(layerKinds(absent), IsEmpty());
  EXPECT_TRUE(absent.status().ok());
}

TEST(LayerKinds, WrongLists) {
  auto error = [](const std::string &text) {
    ConfigReader reader = open(text);
    EXPECT_THAT(layerKinds(reader), IsEmpty());
    return reader.status().message();
  };
  EXPECT_EQ(error(R"({"types": [0, 2, 1]})"),
            "c.json: types[1]: expected 0 (linear attention) or 1 (full "
            "attention); no other is implemented");
  EXPECT_EQ(error(R"({"types": [0, 1]})"),
            "c.json: types: has 2 entries, expected one per layer, "
            "num_hidden_layers = 3");
}

TEST(DType, EachName) {
  auto read = [](const std::string &text) {
    ConfigReader reader = open(text);
    TensorDType dtype = readDType(reader);
    EXPECT_TRUE(reader.status().ok()) << text;
    return dtype;
  };
  EXPECT_EQ(read("{}"), TensorDType::BF16);
  EXPECT_EQ(read(R"({"torch_dtype": "bfloat16"})"), TensorDType::BF16);
  EXPECT_EQ(read(R"({"dtype": "float16"})"), TensorDType::F16);
  EXPECT_EQ(read(R"({"dtype": "float32", "torch_dtype": "float32"})"),
            TensorDType::F32);
}

TEST(TokenIds, FallbacksOnlyWhenAbsentAndInTheVocabulary) {
  std::vector<std::string> warnings;
  ConfigReader absent = open("{}");
  TokenIds ids = readTokenIds(absent, 10, 9, 10, warnings);
  EXPECT_THAT(ids.bos, ElementsAre(9));
  EXPECT_THAT(ids.eos, IsEmpty());
  ConfigReader null = open(R"({"bos_token_id": null, "eos_token_id": [3]})");
  ids = readTokenIds(null, 10, 9, 8, warnings);
  EXPECT_THAT(ids.bos, IsEmpty());
  EXPECT_THAT(ids.eos, ElementsAre(3));
  EXPECT_THAT(warnings, IsEmpty());
}

// Llama-like heads always rotate whole; nobody misses the field.
TEST(Rope, AllDimsByDefault) {
  std::vector<std::string> warnings;
  ConfigReader reader = open(R"({"rope_theta": 5e6})");
  RopeParameters rope = readRope(reader, 128, RotaryDefault::AllDims, warnings);
  EXPECT_TRUE(reader.status().ok());
  EXPECT_EQ(rope.dims, 128);
  EXPECT_EQ(rope.theta, 5e6);
  EXPECT_THAT(warnings, IsEmpty());
  rope = readRope(reader, 128, RotaryDefault::AllDimsWithWarning, warnings);
  EXPECT_EQ(rope.dims, 128);
  EXPECT_THAT(warnings,
              WarningsAre("c.json: rotary_dim: missing, and no "
                          "partial_rotary_factor either: all 128 dims of a "
                          "head rotate"));
}

// A default that a head of odd size cannot have is refused like a wrong field.
TEST(Rope, OddHeads) {
  std::vector<std::string> warnings;
  ConfigReader reader = open(R"({"rope_theta": 1})");
  readRope(reader, 7, RotaryDefault::AllDims, warnings);
  EXPECT_EQ(reader.status().message(),
            "c.json: rotary_dim: 7 must be even and at most head_dim = 7");
}

} // namespace
