// What quantization_config says about each weight. Its fields one by one are
// tested with the family that has them (M2ConfigErrorTest.cpp).

#include "models/Common/Quantisation/Quantisation.h"
#include "test/unit/models/Warnings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

WeightSpec matrix(uint64_t rows, uint64_t columns) {
  WeightSpec spec;
  spec.name = "m.weight";
  spec.shape = {rows, columns};
  return spec;
}

TEST(Store, BlocksRoundUp) {
  WeightSpec spec = matrix(129, 256);
  store({"FP8",
         TensorDType::F8E4M3,
         {{CompanionRole::Scale, "weight_scale_inv", TensorDType::F32, 128,
           128}}},
        spec);
  EXPECT_EQ(spec.dtype, TensorDType::F8E4M3);
  ASSERT_EQ(spec.companions.size(), 1u);
  EXPECT_EQ(spec.companions[0].name, "m.weight_scale_inv");
  EXPECT_THAT(spec.companions[0].shape, ElementsAre(2, 2));
  EXPECT_EQ(spec.companion(CompanionRole::Scale), &spec.companions[0]);
}

// One scale per output channel, one for the tensor: a block of 0 is everything.
TEST(Store, ABlockOfZeroIsTheWholeExtent) {
  WeightSpec spec = matrix(12, 40);
  spec.stack = 3;
  spec.name = "e.{}.weight";
  store({"X",
         TensorDType::U8,
         {{CompanionRole::Scale, "weight_scale", TensorDType::BF16, 1, 0},
          {CompanionRole::Scale, "weight_scale_2", TensorDType::F32, 0, 0}}},
        spec);
  ASSERT_EQ(spec.companions.size(), 2u);
  EXPECT_THAT(spec.companions[0].shape, ElementsAre(12, 1));
  EXPECT_EQ(spec.companions[0].blockRows, 1u);
  EXPECT_EQ(spec.companions[0].blockColumns, 0u);
  EXPECT_EQ(spec.companions[0].dtype, TensorDType::BF16);
  EXPECT_EQ(spec.companions[1].name, "e.{}.weight_scale_2");
  EXPECT_THAT(spec.companions[1].shape, ElementsAre(1, 1));
  EXPECT_EQ(spec.stack, 3u);
}

struct Read {
  Quantisation quantisation;
  Status status;
  std::vector<std::string> warnings;
};

Read read(const std::string &text) {
  Read result;
  StatusOr<ConfigReader> reader = ConfigReader::parse(text, "c.json");
  EXPECT_TRUE(reader.ok()) << reader.status().message();
  result.quantisation = readQuantisation(*reader, result.warnings);
  result.status = reader->status();
  return result;
}

constexpr const char *fp8 = R"({"quantization_config": {
    "quant_method": "fp8", "weight_block_size": [128, 128],
    "modules_to_not_convert": ["lm_head", "experts.1"], "odd": 1}})";

TEST(Quantisation, NoneMeansValues) {
  Read none = read(R"({"quantization_config": {"quant_method": "none",
                                               "bits": 4}})");
  EXPECT_TRUE(none.status.ok()) << none.status.message();
  EXPECT_FALSE(none.quantisation);
  EXPECT_THAT(none.warnings,
              ElementsAre(HasSubstr("quantization_config.bits: not a known "
                                    "field, ignored")));
}

TEST(Quantisation, AbsentMeansValues) {
  Read none = read("{}");
  EXPECT_TRUE(none.status.ok());
  EXPECT_FALSE(none.quantisation);
  StatusOr<const StorageFormat *> format =
      none.quantisation.formatOf("m", "c.json");
  ASSERT_TRUE(format.ok());
  EXPECT_EQ(*format, nullptr);
}

TEST(Quantisation, DecidesForEachModule) {
  Read found = read(fp8);
  ASSERT_TRUE(found.status.ok()) << found.status.message();
  ASSERT_TRUE(found.quantisation);
  EXPECT_THAT(
      found.warnings,
      WarningsAre(
          "c.json: quantization_config.odd: not a known field, ignored"));
  auto format = found.quantisation.formatOf("layers.0.q_proj", "c.json");
  ASSERT_TRUE(format.ok() && *format);
  EXPECT_EQ((*format)->dtype, TensorDType::F8E4M3);
  auto head = found.quantisation.formatOf("lm_head", "c.json");
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(*head, nullptr);
  EXPECT_EQ(found.quantisation.formatOf("experts.{}.w1", "c.json", 8)
                .status()
                .message(),
            "c.json: quantization_config.modules_to_not_convert: names single "
            "members of \"experts.{}.w1\", expected all or none of them");
}

TEST(Quantisation, AnUnknownMethodIsNamed) {
  Read found = read(R"({"quantization_config": {"quant_method": "quanto"}})");
  EXPECT_FALSE(found.quantisation);
  EXPECT_EQ(found.status.message(),
            "c.json: quantization_config.quant_method: expected \"fp8\", "
            "\"compressed-tensors\", \"gptq\", \"awq\", \"modelopt\", "
            "\"mxfp8\", \"quark\", \"modelslim\" or \"mix_quant\", the only "
            "ones implemented, found \"quanto\"");
  EXPECT_THAT(found.warnings, IsEmpty());
}

TEST(Quantisation, OldNameOfTheExceptions) {
  Read found = read(R"({"quantization_config": {"quant_method": "fp8",
      "weight_block_size": [128, 128], "ignored_layers": ["a.b"]}})");
  ASSERT_TRUE(found.status.ok()) << found.status.message();
  EXPECT_THAT(found.quantisation.unconverted.list(), ElementsAre("a.b"));
}

// A format that is read must be known to the accounting of strays.
TEST(Quantisation, EveryFormatThatIsReadIsKnown) {
  Read found = read(fp8);
  bool known = false;
  for (const StorageFormat &format : knownFormats())
    known |= format.dtype == found.quantisation.format->dtype;
  EXPECT_TRUE(known);
}

} // namespace
