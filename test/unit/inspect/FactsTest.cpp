// Counts that reports show, against hand-counted figures of the tiny engine.

#include "tools/saddle-inspect/Facts.h"
#include "test/unit/engine/TinyEngine.h"
#include "tools/saddle-inspect/EngineJson.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace saddle;
using namespace saddle::inspect;

namespace {

class Facts : public testing::Test {
protected:
  void SetUp() override {
    TinyOptions options;
    options.tp = 2;
    options.layers = 3;
    buffer = flatBufferOf(*tinyEngine(options));
    engine = schema::GetEngine(buffer.data());
    decode = engine->programs()->Get(0)->entries()->Get(0);
  }

  std::vector<uint8_t> buffer;
  const schema::Engine *engine;
  const schema::Entry *decode;
};

TEST_F(Facts, commandsByKind) {
  EntryFacts facts = factsOf(*engine, *decode);
  // A layer launches 2 norms, qkv, the sums, 2 scales, 2 ropes, append,
  // attention, o, 2 adds, gate, router and experts: 16 kernels. Outside stand
  // embedding, row selection, norm and head.
  EXPECT_EQ(facts.launches, 3 * 16u + 4);
  EXPECT_EQ(facts.collectives, 3 * 3u + 2);
  EXPECT_EQ(facts.copies, 0u);
  EXPECT_EQ(facts.ops["linear"], 3 * 3u + 1);
  EXPECT_EQ(facts.ops["attention"], 3u);
}

TEST_F(Facts, trafficByLayerAndKind) {
  EntryFacts facts = factsOf(*engine, *decode);
  // 4 tokens in f32: sums 4 * 2 * 4 = 32 bytes, o and experts 4 * 8 * 4 = 128.
  Traffic layer{3, 32 + 2 * 128};
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_EQ(facts.byLayer[i], layer) << i;
  // Embedding 128, half of the logits 4 * 8 * 4.
  EXPECT_EQ(facts.byLayer[-1], (Traffic{2, 256}));
  EXPECT_EQ(facts.byLayer.size(), 4u);
  EXPECT_EQ(facts.byKind["ALL_GATHER over tp"], (Traffic{1, 128}));
  EXPECT_EQ(facts.byKind["ALL_REDUCE_SUM over tp"],
            (Traffic{10, 128 + 3 * 288}));
  EXPECT_EQ(facts.total, (Traffic{11, 256 + 3 * 288}));
}

TEST(FactsOfOutputs, whatOneOutputAloneNeedsIsToldApart) {
  TinyOptions options;
  options.tp = 2;
  std::unique_ptr<schema::EngineT> tiny = tinyEngine(options);
  // The gather of logits, 128 bytes of a rank, is the last collective.
  auto &commands = tiny->programs[0]->entries[0]->commands;
  auto gather =
      std::find_if(commands.rbegin(), commands.rend(), [](const auto &command) {
        return command->action.AsCollective();
      });
  ASSERT_NE(gather, commands.rend());
  (*gather)->output = "logits";
  std::vector<uint8_t> buffer = flatBufferOf(*tiny);
  const schema::Engine &engine = *schema::GetEngine(buffer.data());
  EntryFacts facts =
      factsOf(engine, *engine.programs()->Get(0)->entries()->Get(0));
  EXPECT_EQ(facts.byOutput.size(), 1u);
  EXPECT_EQ(facts.byOutput["logits"], (Traffic{1, 128}));
  EXPECT_EQ(facts.byLayer[-1], (Traffic{2, 256}));
  Json json = engineJson(engine);
  EXPECT_EQ(json["facts"]["entries"][0]["traffic_by_output"]["logits"]["count"],
            1);
  EXPECT_EQ(json["facts"]["entries"][1]["traffic_by_output"], Json::object());
}

TEST_F(Facts, fusionGroupsAreRuns) {
  EntryFacts facts = factsOf(*engine, *decode);
  ASSERT_EQ(facts.fusions.size(), 1u);
  EXPECT_EQ(facts.fusions[0].groups, 3u);
  EXPECT_EQ(facts.fusions[0].commands, 6u);
}

TEST_F(Facts, arenasAndKernels) {
  EntryFacts facts = factsOf(*engine, *decode);
  EXPECT_EQ(facts.arenaBytes[1], engine->arenas()->Get(1)->bytes());
  EXPECT_LT(facts.arenaBytes[2], engine->arenas()->Get(2)->bytes());
  std::vector<uint64_t> uses = kernelUses(*engine);
  uint64_t sum = 0;
  for (uint64_t count : uses)
    sum += count;
  EXPECT_EQ(sum, 2 * facts.launches); // two entries alike
}

TEST_F(Facts, stagesHaveTheirOwnTrafficLayersAndMemory) {
  TinyOptions options;
  options.tp = options.dp = options.pp = 2;
  options.layers = 3;
  buffer = flatBufferOf(*tinyEngine(options));
  engine = schema::GetEngine(buffer.data());
  const schema::Program &first = *engine->programs()->Get(0),
                        &second = *engine->programs()->Get(1);
  EntryFacts sends = factsOf(*engine, *first.entries()->Get(0)),
             receives = factsOf(*engine, *second.entries()->Get(0));
  EXPECT_EQ(sends.sent, (Traffic{1, 128}));
  EXPECT_EQ(sends.received, Traffic());
  EXPECT_EQ(receives.received, (Traffic{1, 128}));
  EXPECT_EQ(sends.transfers, 1u);
  // One rank per replica: only the way to the experts and back.
  EXPECT_EQ(sends.kindsByLayer[1],
            (EntryFacts::Kinds{
                {"ALL_GATHER PACKED over replicas", {1, 128}},
                {"REDUCE_SCATTER_SUM PACKED over replicas", {1, 256}}}));
  EXPECT_EQ(layersOf(first).last, 1);
  EXPECT_EQ(layersOf(second).first, 2);
  EXPECT_EQ(layersOf(second).last, 2);

  Json json = engineJson(*engine);
  EXPECT_EQ(json["programs"][0]["entries"][0]["commands"].back(),
            Json({{"type", "Transfer"},
                  {"action",
                   {{"kind", "SEND"},
                    {"slice", json["programs"][0]["entries"][0]["commands"]
                                  .back()["action"]["slice"]},
                    {"extent", "TOKENS"},
                    {"kernel", 0},
                    {"workspace", 0},
                    {"exchange", 0}}},
                  {"location", "model.layers.2.input"},
                  {"group", 0},
                  {"output", nullptr}}));
  const Json &stages = json["facts"]["stages"];
  EXPECT_EQ(stages[1]["first_layer"], 2);
  EXPECT_EQ(stages[1]["layers"], 1);
  // Both K and V of a page of 4 tokens x 2 heads x 4 floats, per layer.
  EXPECT_EQ(stages[0]["arena_bytes"][1], 2 * 2 * 128);
  EXPECT_EQ(stages[1]["arena_bytes"][1], 2 * 128);
  EXPECT_EQ(stages[1]["page_bytes"], 2 * 128);
  EXPECT_EQ(stages[1]["full_pages"], 16);
  EXPECT_EQ(stages[1]["memory_per_rank"].get<uint64_t>(),
            stages[1]["fixed_bytes"].get<uint64_t>() + 16 * 2 * 128);
  EXPECT_EQ(json["facts"]["entries"][2]["received"]["bytes_per_rank"], 128);
}

TEST_F(Facts, jsonHoldsTablesAndFacts) {
  Json json = engineJson(*engine);
  EXPECT_EQ(json["topology"]["tp"], 2);
  EXPECT_EQ(json["facts"]["entries"][0]["fusions"].size(), 1u);
  EXPECT_EQ(json["model"]["bos_token_id"], -1);
  EXPECT_EQ(json["model"]["eos_token_ids"], Json({1}));
  EXPECT_EQ(json["arenas"][2]["kind"], "TRANSIENT");
  const Json &weight = json["programs"][0]["weights"][2];
  EXPECT_EQ(weight["name"], "model.layers.0.self_attn.qkv");
  EXPECT_EQ(weight["slice"]["shape"], Json({16, 8}));
  EXPECT_EQ(weight["pieces"][1]["dest_row"], 8);
  EXPECT_EQ(weight["pieces"][1]["row_start"]["step"], 4);
  EXPECT_EQ(weight["pieces"][1]["dest_block_rows"], 1);
  const Json &command = json["programs"][0]["entries"][0]["commands"][1];
  EXPECT_EQ(command["type"], "Collective");
  EXPECT_EQ(command["action"]["kind"], "ALL_REDUCE_SUM");
  EXPECT_EQ(command["location"], "model.embed_tokens");
  const Json &facts = json["facts"]["entries"][0];
  EXPECT_EQ(facts["traffic_by_layer"]["2"]["bytes_per_rank"], 288);
  EXPECT_EQ(facts["traffic"]["count"], 11);
}

} // namespace
