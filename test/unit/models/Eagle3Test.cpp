// EAGLE3 drafts: fields of their configs, tensors of their folders.

#include "models/Eagle3/Eagle3Weights.h"

#include "test/unit/models/SmallDraft.h"
#include "test/unit/models/Warnings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

struct Parsed {
  Eagle3Config config;
  std::vector<std::string> warnings;
  std::string error;
};

Parsed parse(const std::string &patch) {
  Parsed parsed;
  auto reader = ConfigReader::parse(patched(smallDraft(), patch), "c.json");
  EXPECT_TRUE(reader.ok()) << reader.status().message();
  StatusOr<Eagle3Config> config = readEagle3Config(*reader, parsed.warnings);
  if (config.ok())
    parsed.config = *config;
  else
    parsed.error = config.status().message();
  return parsed;
}

TEST(Eagle3Config, FieldsOf31AreOffWhereTheyAreAbsent) {
  Parsed parsed = parse("{}");
  const Eagle3Config &config = parsed.config;
  EXPECT_THAT(parsed.warnings, IsEmpty());
  EXPECT_EQ(config.hidden, 24);
  EXPECT_EQ(config.targetHidden, 24);
  EXPECT_EQ(config.draftVocab, 40);
  EXPECT_EQ(config.taps, 3);
  EXPECT_THAT(config.tapLayers, IsEmpty());
  EXPECT_EQ(config.rope.dims, 8); // all
  EXPECT_FALSE(config.normEachTap || config.normAllTaps ||
               config.carriesNormed || config.normBeforeResidual);
}

TEST(Eagle3Config, WhatPublishedDraftsSay) {
  Parsed parsed = parse(R"({
    "fc_norm": true, "norm_output": true, "norm_before_residual": true,
    "target_hidden_size": 16, "draft_vocab_size": 40, "ttt_length": 7,
    "eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 3, 4, 6],
                     "use_aux_hidden_state": true}})");
  EXPECT_EQ(parsed.error, "");
  EXPECT_THAT(parsed.warnings, IsEmpty());
  const Eagle3Config &config = parsed.config;
  EXPECT_TRUE(config.normEachTap && config.carriesNormed &&
              config.normBeforeResidual);
  EXPECT_EQ(config.targetHidden, 16);
  EXPECT_THAT(config.tapLayers, ElementsAre(1, 3, 4, 6));
  EXPECT_EQ(config.taps, 4);
  // NVIDIA's drafts have it inside eagle_config.
  EXPECT_TRUE(parse(R"({"eagle_config": {"norm_before_fc": true}})")
                  .config.normAllTaps);
}

TEST(Eagle3Config, ALlamaMayLeaveHeadsOut) {
  Parsed parsed = parse(R"({"head_dim": null, "num_key_value_heads": null})");
  EXPECT_EQ(parsed.config.attention.headDim, 6);
  EXPECT_EQ(parsed.config.attention.kvHeads, 4);
}

TEST(Eagle3Config, Refuses) {
  const std::pair<const char *, const char *> cases[] = {
      {R"({"num_hidden_layers": 2})", "drafts of several layers"},
      {R"({"hidden_act": "gelu"})", "other activations"},
      {R"({"attention_bias": true})", "biased projections"},
      {R"({"parallel_drafting": true})", "drafting several tokens at once"},
      {R"({"num_key_value_heads": 3})",
       "num_attention_heads: 4 is not a multiple of num_key_value_heads = 3"},
      {R"({"num_attention_heads": 1048576, "num_key_value_heads": 1})",
       "exceeds 1048576"},
      {R"({"draft_vocab_size": 41})", "41 exceeds vocab_size = 40"},
      {R"({"fc_norm": true, "norm_before_fc": true})",
       "norm_before_fc: true contradicts fc_norm = true"},
      {R"({"eagle_config": {"use_aux_hidden_state": false}})",
       "drafts that see the last hidden state only"},
      {R"({"eagle_aux_hidden_state_layer_ids": [3, 2, 1]})",
       "expected ascending layers"},
      {R"({"eagle_aux_hidden_state_layer_ids": []})", "expected 1 to 8 layers"},
      {R"({"eagle_aux_hidden_state_layer_ids": [1, 2, 3],
           "eagle_config": {"eagle_aux_hidden_state_layer_ids": [1, 2, 4]}})",
       "contradicts the list outside eagle_config"},
      {R"({"rope_scaling": {"type": "yarn", "factor": 2}})", "rope"},
  };
  for (const auto &[patch, message] : cases)
    EXPECT_THAT(parse(patch).error, HasSubstr(message)) << patch;
}

TEST(Eagle3Config, UnknownFieldsAreWarnings) {
  EXPECT_THAT(parse(R"({"eagle_config": {"depth": 3}, "novel": 1})").warnings,
              WarningsAre("c.json: eagle_config.depth: not a known field, "
                          "ignored",
                          "c.json: novel: not a known field, ignored"));
}

TEST(Eagle3Weights, AConfigAloneHasAllTensors) {
  ModelSource source{"c.json",
                     *ConfigReader::parse(smallDraft().dump(), "c.json"),
                     std::nullopt, ""};
  Parsed parsed = parse(R"({"fc_norm": true})");
  auto weights = readEagle3Weights(parsed.config, source);
  ASSERT_TRUE(weights.ok()) << weights.status().message();
  EXPECT_EQ(weights->checkpoint, "draft");
  // As published: 17.
  EXPECT_EQ(weights->tensorCount(), 17u);
  auto shapeOf = [&](const char *symbol) {
    const ModelWeight *weight = weights->find(symbol);
    return weight ? weight->spec.shape : std::vector<uint64_t>();
  };
  EXPECT_THAT(shapeOf("draft.fc"), ElementsAre(24, 72));
  EXPECT_THAT(shapeOf("draft.fc_norm.2"), ElementsAre(24));
  EXPECT_THAT(shapeOf("draft.q_proj"), ElementsAre(32, 48));
  EXPECT_THAT(shapeOf("draft.v_proj"), ElementsAre(16, 48));
  EXPECT_THAT(shapeOf("draft.embed"), ElementsAre(40, 24));
  EXPECT_EQ(weights->find("draft.taps_norm"), nullptr);
}

// Inferact/MiniMax-M3-EAGLE3 and -EAGLE3-GQA: all sizes but the KV heads are
// the same.
TEST(Eagle3Weights, ThoseOfM3) {
  for (uint64_t kvHeads : {64, 4}) {
    Parsed parsed = parse(R"({"hidden_size": 6144, "vocab_size": 200064,
        "draft_vocab_size": 200064, "num_attention_heads": 64, "head_dim": 128,
        "num_key_value_heads": )" +
                          std::to_string(kvHeads) +
                          R"(, "intermediate_size": 18432,
        "rms_norm_eps": 1e-6, "rope_theta": 5e6, "tie_word_embeddings": false,
        "fc_norm": true, "norm_output": true})");
    EXPECT_EQ(parsed.error, "");
    EXPECT_THAT(parsed.warnings, IsEmpty());
    EXPECT_EQ(parsed.config.rope.dims, 128); // all
    EXPECT_TRUE(parsed.config.normEachTap && parsed.config.carriesNormed);
    ModelSource source{"c.json",
                       *ConfigReader::parse(smallDraft().dump(), "c.json"),
                       std::nullopt, ""};
    auto weights = readEagle3Weights(parsed.config, source);
    ASSERT_TRUE(weights.ok()) << weights.status().message();
    EXPECT_EQ(weights->tensorCount(), 17u);
    std::map<std::string, std::vector<uint64_t>> shapes;
    uint64_t parameters = 0;
    for (const ModelWeight &weight : weights->used) {
      shapes[weight.spec.name] = weight.spec.shape;
      uint64_t count = 1;
      for (uint64_t extent : weight.spec.shape)
        count *= extent;
      parameters += count;
    }
    const std::vector<uint64_t> kv = {kvHeads * 128, 12288};
    const std::string at = "layers.0.self_attn.";
    EXPECT_THAT(shapes["fc.weight"], ElementsAre(6144, 18432));
    EXPECT_THAT(shapes[at + "q_proj.weight"], ElementsAre(8192, 12288));
    EXPECT_EQ(shapes[at + "k_proj.weight"], kv);
    EXPECT_EQ(shapes[at + "v_proj.weight"], kv);
    EXPECT_THAT(shapes[at + "o_proj.weight"], ElementsAre(6144, 8192));
    EXPECT_THAT(shapes["layers.0.mlp.down_proj.weight"],
                ElementsAre(6144, 18432));
    EXPECT_THAT(shapes["lm_head.weight"], ElementsAre(200064, 6144));
    // As published: 3.264 and 3.075 billion.
    EXPECT_EQ((parameters + 500000) / 1000000, kvHeads == 64 ? 3264u : 3075u);
  }
}

// 4 tokens of the 40 can be drafted, so the folder has a table of them.
TEST(Eagle3Weights, ATableOfAnotherTypeIsRefused) {
  const std::string patch = R"({"draft_vocab_size": 4})";
  TemporaryFolder folder;
  folder.write("config.json", patched(smallDraft(), patch));
  ModelSource source = *ModelSource::open(folder.path(""));
  TinyCheckpoint tensors = tensorsOfDraft(patch);
  tensors.write(folder);
  auto whole = readEagle3Weights(parse(patch).config, source);
  EXPECT_TRUE(whole.ok()) << whole.status().message();
  tensors.set("d2t", "I32", {4});
  tensors.write(folder);
  EXPECT_THAT(readEagle3Weights(parse(patch).config, source).status().message(),
              HasSubstr("tensor \"d2t\" is i32, expected i64"));
}

} // namespace
