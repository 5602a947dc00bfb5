// Numbers do not depend on topology: replicas, token blocks, expert slices and
// pipeline stages against one rank.

#include "test/unit/session/Sessions.h"

namespace saddle::session {
namespace {

using schema::RowLayout;

struct Topology {
  uint32_t tp, dp, ep, pp;
  RowLayout layout = RowLayout::PACKED;
  bool blocks = false, shares = false;

  TinyOptions tiny() const {
    TinyOptions options;
    options.layers = 3;
    options.tp = tp;
    options.dp = dp;
    options.ep = ep;
    options.pp = pp;
    options.layout = layout;
    options.tokenBlocks = blocks;
    options.tokenShares = shares;
    return options;
  }
};

std::string nameOf(const testing::TestParamInfo<Topology> &info) {
  const Topology &t = info.param;
  return "tp" + std::to_string(t.tp) + "dp" + std::to_string(t.dp) + "ep" +
         std::to_string(t.ep) + "pp" + std::to_string(t.pp) +
         (t.dp > 1 ? schema::EnumNameRowLayout(t.layout) : "") +
         (t.shares   ? "SHARES"
          : t.blocks ? "BLOCKS"
                     : "");
}

constexpr auto kPadded = RowLayout::PADDED;
constexpr auto kPacked = RowLayout::PACKED;
const Topology kTopologies[] = {
    {2, 1, 2, 1},
    {4, 1, 4, 1},
    {4, 1, 2, 1},
    {4, 1, 1, 1, kPacked, true},
    {4, 1, 1, 1, kPacked, true, true},
    {2, 2, 2, 1},
    {2, 2, 2, 1, kPadded},
    {4, 2, 4, 1},
    {4, 2, 2, 1, kPadded, true},
    {4, 2, 2, 1, kPadded, true, true},
    {4, 4, 4, 1},
    {8, 4, 2, 1, kPadded},
    {8, 2, 4, 1, kPacked, true},
    {1, 1, 1, 2},
    {1, 1, 1, 3},
    {2, 1, 1, 2},
    {2, 2, 2, 3, kPadded},
    {4, 2, 2, 2, kPacked, true},
    {8, 8, 4, 2},
};

class TopologyTest : public testing::TestWithParam<Topology> {
protected:
  TinyOptions tiny() const { return GetParam().tiny(); }
  TinyOptions one() const { return Topology{1, 1, 1, 1}.tiny(); }
  uint32_t replicas() const { return GetParam().dp; }
};

TEST_P(TopologyTest, APromptGivesOneRanksLogits) {
  Rows expected = wholePrompt(one(), kPrompt);
  Rows found = wholePrompt(tiny(), kPrompt);
  expectClose(found, expected);
  EXPECT_EQ(found, wholePrompt(tiny(), kPrompt)) << "not deterministic";
  for (uint64_t chunk : {1, 3}) {
    SessionOptions options;
    options.prefillChunk = chunk;
    expectClose(wholePrompt(tiny(), kPrompt, options), expected);
  }
}

/// Prompts of uneven lengths, so that with replicas some have nothing to do in
/// some of the batches.
TEST_P(TopologyTest, UnevenBatchesGiveOneRanksLogits) {
  const std::vector<Tokens> prompts = {
      {1, 2, 3, 4, 5, 6, 7, 8, 9}, {15}, {8, 8, 8}, {2, 7, 1, 8, 2}};
  for (size_t count = 1; count <= prompts.size(); ++count) {
    auto session = open(tiny());
    std::vector<SequenceInput> inputs;
    for (size_t i = 0; i < count; ++i)
      inputs.push_back({*session->addSequence(), prompts[i],
                        i % 2 ? LogitsWanted::Last : LogitsWanted::All});
    Rows rows = step(*session, inputs);
    size_t row = 0;
    for (size_t i = 0; i < count; ++i) {
      Rows all = wholePrompt(one(), prompts[i]);
      size_t wanted = i % 2 ? 1 : prompts[i].size();
      expectClose(rowsFrom(rows, row, wanted),
                  rowsFrom(all, prompts[i].size() - wanted));
      row += wanted;
    }
    // Decode some of them, in another order, with and without logits.
    const Tokens next = {9};
    std::vector<SequenceInput> decode;
    for (size_t i = count; i-- > 0;)
      if (i != 1)
        decode.push_back({inputs[i].sequence, next,
                          i == 2 ? LogitsWanted::None : LogitsWanted::Last});
    rows = step(*session, decode);
    row = 0;
    for (size_t i = count; i-- > 0;) {
      if (i == 1 || i == 2)
        continue;
      Tokens longer = prompts[i];
      longer.push_back(9);
      expectClose(rowsFrom(rows, row++, 1),
                  rowsFrom(wholePrompt(one(), longer), prompts[i].size()));
    }
  }
}

TEST_P(TopologyTest, EveryReplicaTakesMaxBatchSequences) {
  auto session = open(tiny());
  std::vector<SequenceInput> inputs;
  std::vector<Tokens> prompts;
  for (uint32_t i = 0; i < 4 * replicas(); ++i)
    prompts.push_back({int32_t(i % 16), int32_t(i / 16), 5});
  for (const Tokens &prompt : prompts)
    inputs.push_back({*session->addSequence(), prompt, LogitsWanted::Last});
  EXPECT_EQ(session->addSequence().status().code(),
            StatusCode::ResourceExhausted);
  Rows rows = step(*session, inputs);
  for (size_t i = 0; i < prompts.size(); ++i)
    expectClose(rowsFrom(rows, i, 1),
                rowsFrom(wholePrompt(one(), prompts[i]), 2));
}

/// Two candidates of a row, found by every rank in its share of 16 tokens, are
/// those of the logits that the same engine yields.
TEST_P(TopologyTest, CandidatesAreTheBestOfTheLogits) {
  TinyOptions options = tiny();
  options.candidates = 2;
  const std::vector<Tokens> prompts = {{1, 2, 3, 4, 5}, {15}, {8, 8, 8}};
  auto session = open(options), other = open(options);
  std::vector<SequenceInput> inputs, others;
  for (size_t i = 0; i < prompts.size(); ++i) {
    auto wanted = i == 1 ? LogitsWanted::Last : LogitsWanted::All;
    inputs.push_back({*session->addSequence(), prompts[i], wanted});
    others.push_back({*other->addSequence(), prompts[i], wanted});
  }
  Candidates expected = candidatesIn(step(*other, others), 2);
  Candidates found = stepCandidates(*session, inputs, 2);
  EXPECT_EQ(found.values, expected.values);
  EXPECT_EQ(found.tokens, expected.tokens);
}

/// Ranks gather whole logits where somebody reads them.
TEST_P(TopologyTest, WhatOneOutputAloneNeedsRunsForItAlone) {
  TinyOptions options = tiny();
  options.candidates = 2;
  auto session = open(options);
  uint32_t sequence = *session->addSequence();
  size_t gathers = 0; // with several replicas also of the norm's rows
  session->setTrace([&](const TraceEvent &event) {
    gathers += std::string(event.place) == "lm_head" &&
               std::string(event.op) == "all_gather";
  });
  const Tokens token = {1};
  std::vector<SequenceInput> inputs = {{sequence, token, LogitsWanted::All}};
  stepCandidates(*session, inputs, 2);
  size_t ofCandidates = gathers;
  step(*session, inputs);
  EXPECT_EQ(gathers > 2 * ofCandidates, GetParam().tp > 1);
  session->setTrace(nullptr);
}

TEST_P(TopologyTest, EmptyStepsRunOnEveryRank) {
  auto session = open(tiny());
  size_t collectives = 0;
  session->setTrace([&](const TraceEvent &event) {
    EXPECT_EQ(event.tokens, 0u);
    collectives += std::string(event.op).find("all_") == 0;
  });
  EXPECT_TRUE(session->step({}, {}).ok());
  if (GetParam().tp > 1) {
    EXPECT_GT(collectives, 0u);
  }
  session->setTrace(nullptr);
  uint32_t sequence = *session->addSequence();
  EXPECT_EQ(step(*session, {{sequence, kPrompt, LogitsWanted::All}}),
            wholePrompt(tiny(), kPrompt));
}

INSTANTIATE_TEST_SUITE_P(Tiny, TopologyTest, testing::ValuesIn(kTopologies),
                         nameOf);

TEST(ReplicaTest, MicroBatchesDoNotChangeBits) {
  TinyOptions tiny = Topology{4, 2, 2, 3, kPadded}.tiny();
  const std::vector<Tokens> prompts = {
      {1, 2, 3, 4, 5, 6}, {15}, {8, 8, 8}, {2, 7}};
  std::vector<Rows> results;
  for (uint64_t microBatches : {1, 2, 3, 16}) {
    SessionOptions options;
    options.microBatches = microBatches;
    auto session = open(tiny, options);
    std::vector<SequenceInput> inputs;
    for (const Tokens &prompt : prompts)
      inputs.push_back({*session->addSequence(), prompt, LogitsWanted::All});
    results.push_back(step(*session, inputs));
    EXPECT_EQ(results.back(), results.front()) << microBatches;
  }
}

} // namespace
} // namespace saddle::session
