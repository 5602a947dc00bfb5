// Which tokens run in which batch, and on which pages.

#include "runtime/src/session/Scheduler.h"

#include "test/unit/engine/TinyEngine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::session {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint32_t kDecode = 0, kPrefill = 1; // entries of the tiny engine

/// A batch of an engine without replicas.
struct SingleBatch : backend::ReplicaBatch {
  uint32_t entry;
};

/// A scheduler over a tiny engine: 4 slots, 16 tokens each, pages of 4, prefill
/// batches of 8 tokens, 4 logits rows; `bend` may change the engine first.
class SchedulerTest : public testing::Test {
protected:
  void make(uint64_t chunk = 0,
            const std::function<void(schema::EngineT &)> &bend = {},
            uint64_t pages = 16) {
    auto engine = tinyEngine(options);
    if (bend)
      bend(*engine);
    buffer = flatBufferOf(*engine);
    auto made =
        Scheduler::create(*schema::GetEngine(buffer.data()), pages, chunk, 1);
    ASSERT_TRUE(made.ok()) << made.status().message();
    scheduler = std::make_unique<Scheduler>(std::move(*made));
  }
  uint32_t add() {
    auto sequence = scheduler->addSequence();
    EXPECT_TRUE(sequence.ok()) << sequence.status().message();
    return sequence.ok() ? *sequence : 0;
  }
  /// Runs a step and returns its batches.
  std::vector<SingleBatch> step(const std::vector<SequenceInput> &inputs,
                                uint32_t program = 0) {
    Status status = scheduler->begin(inputs, program);
    EXPECT_TRUE(status.ok()) << status.message();
    std::vector<SingleBatch> batches;
    backend::Batch batch;
    while (status.ok() && scheduler->next(batch)) {
      EXPECT_EQ(batch.replicas.size(), 1u);
      EXPECT_THAT(batch.tokenCounts,
                  ElementsAre(batch.replicas[0].tokens.size()));
      EXPECT_THAT(batch.rowCounts, ElementsAre(batch.replicas[0].rows.size()));
      batches.push_back({batch.replicas[0], batch.entry});
    }
    return batches;
  }
  std::string refusal(const std::vector<SequenceInput> &inputs) {
    return scheduler->begin(inputs).message();
  }

  std::vector<uint8_t> buffer;
  TinyOptions options;
  std::unique_ptr<Scheduler> scheduler;
};

std::vector<int32_t> counting(int count) {
  std::vector<int32_t> tokens(count);
  for (int i = 0; i < count; ++i)
    tokens[i] = i % 16;
  return tokens;
}

// A list of them would be 8 GiB, before anybody has asked whether the machine
// has memory for the pages themselves.
TEST_F(SchedulerTest, PagesThatNobodyTookCostNoMemory) {
  constexpr uint64_t kPages = (uint64_t(1) << 31) - 1;
  make(0, {}, kPages);
  EXPECT_EQ(scheduler->freePages(), kPages);
  EXPECT_EQ(scheduler->numPages(), kPages);
}

TEST_F(SchedulerTest, APromptBecomesOnePrefillBatch) {
  make();
  std::vector<int32_t> prompt = {5, 6, 7, 8, 9};
  auto batches = step({{add(), prompt, LogitsWanted::Last}});
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].entry, kPrefill);
  EXPECT_EQ(batches[0].tokens, prompt);
  EXPECT_THAT(batches[0].positions, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(batches[0].sequences, ElementsAre(0, 0, 0, 0, 0));
  // Page 0 slots 0..3, then page 1.
  EXPECT_THAT(batches[0].slots, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(batches[0].rows, ElementsAre(4));
  EXPECT_THAT(batches[0].destinations, ElementsAre(0));
  EXPECT_EQ(scheduler->length(0), 5u);
}

TEST_F(SchedulerTest, SingleTokensBecomeOneDecodeBatch) {
  make();
  std::vector<int32_t> three = {1, 2, 3}, one = {4}, other = {5};
  uint32_t a = add(), b = add();
  step({{a, three, LogitsWanted::None}});
  auto batches =
      step({{b, one, LogitsWanted::Last}, {a, other, LogitsWanted::Last}});
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].entry, kDecode);
  EXPECT_THAT(batches[0].tokens, ElementsAre(4, 5));
  EXPECT_THAT(batches[0].positions, ElementsAre(0, 3));
  EXPECT_THAT(batches[0].sequences, ElementsAre(1, 0));
  EXPECT_THAT(batches[0].slots, ElementsAre(4, 3));
  EXPECT_THAT(batches[0].rows, ElementsAre(0, 1));
  EXPECT_THAT(batches[0].destinations, ElementsAre(0, 1));
}

TEST_F(SchedulerTest, LongPromptsAreChunkedAndTheTailDecodes) {
  make(5);
  std::vector<int32_t> prompt = counting(11);
  auto batches = step({{add(), prompt, LogitsWanted::Last}});
  ASSERT_EQ(batches.size(), 3u); // 5 + 5 + 1
  EXPECT_EQ(batches[0].tokens.size(), 5u);
  EXPECT_THAT(batches[0].rows, IsEmpty());
  EXPECT_THAT(batches[1].positions, ElementsAre(5, 6, 7, 8, 9));
  EXPECT_EQ(batches[2].entry, kDecode);
  EXPECT_THAT(batches[2].positions, ElementsAre(10));
  EXPECT_THAT(batches[2].rows, ElementsAre(0));
}

TEST_F(SchedulerTest, ChunksMixSequences) {
  make();
  std::vector<int32_t> prompt = counting(6), decode = {9}, other = counting(4);
  uint32_t a = add(), b = add(), c = add();
  step({{b, other, LogitsWanted::None}});
  auto batches = step({{a, prompt, LogitsWanted::Last},
                       {b, decode, LogitsWanted::Last},
                       {c, other, LogitsWanted::Last}});
  ASSERT_EQ(batches.size(), 2u); // 6 + 1 + 1, then c's other 3
  EXPECT_THAT(batches[0].sequences, ElementsAre(0, 0, 0, 0, 0, 0, 1, 2));
  EXPECT_THAT(batches[0].positions, ElementsAre(0, 1, 2, 3, 4, 5, 4, 0));
  EXPECT_THAT(batches[0].rows, ElementsAre(5, 6));
  EXPECT_THAT(batches[1].positions, ElementsAre(1, 2, 3));
  EXPECT_THAT(batches[1].rows, ElementsAre(2));
  EXPECT_THAT(batches[1].destinations, ElementsAre(2));
}

TEST_F(SchedulerTest, WantedRowsNeverExceedTheEntry) {
  make();
  std::vector<int32_t> prompt = counting(7), other = counting(3);
  uint32_t a = add(), b = add();
  auto batches =
      step({{a, prompt, LogitsWanted::All}, {b, other, LogitsWanted::Last}});
  std::vector<size_t> destinations;
  size_t tokens = 0;
  for (const SingleBatch &batch : batches) {
    EXPECT_LE(batch.rows.size(), 4u);
    EXPECT_FALSE(batch.tokens.empty());
    tokens += batch.tokens.size();
    destinations.insert(destinations.end(), batch.destinations.begin(),
                        batch.destinations.end());
  }
  EXPECT_EQ(tokens, 10u);
  std::sort(destinations.begin(), destinations.end());
  EXPECT_THAT(destinations, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  // The first batch is full of a's rows, so b's last token waits.
  EXPECT_THAT(batches[0].sequences, ElementsAre(0, 0, 0, 0, 1, 1));
}

TEST_F(SchedulerTest, TheSmallestEntryThatFitsIsChosen) {
  make(0, [](schema::EngineT &engine) {
    // Bucket entries before and after: order in the file does not matter.
    auto &entries = engine.programs[0]->entries;
    auto bucket = [&](uint64_t tokens, uint64_t rows) {
      auto entry = std::make_unique<schema::EntryT>();
      entry->name = "bucket" + std::to_string(tokens);
      entry->phase = schema::Phase::DECODE;
      entry->tokens = tokens;
      entry->rows = rows;
      entries.push_back(std::move(entry));
    };
    bucket(2, 1);
    bucket(1, 1);
    bucket(2, 2);
  });
  std::vector<int32_t> token = {1};
  uint32_t a = add(), b = add(), c = add();
  EXPECT_EQ(step({{a, token, LogitsWanted::Last}})[0].entry, 3u);
  EXPECT_EQ(
      step({{a, token, LogitsWanted::Last}, {b, token, LogitsWanted::Last}})[0]
          .entry,
      4u);
  EXPECT_EQ(
      step({{a, token, LogitsWanted::Last}, {b, token, LogitsWanted::None}})[0]
          .entry,
      2u);
  EXPECT_EQ(step({{a, token, LogitsWanted::Last},
                  {b, token, LogitsWanted::Last},
                  {c, token, LogitsWanted::Last}})[0]
                .entry,
            kDecode);
  EXPECT_EQ(step({})[0].entry, 3u);
}

TEST_F(SchedulerTest, AnEmptyStepIsOneEmptyBatch) {
  make();
  auto batches = step({});
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].entry, kDecode);
  EXPECT_THAT(batches[0].tokens, IsEmpty());
  EXPECT_THAT(batches[0].rows, IsEmpty());
}

TEST_F(SchedulerTest, PagesComeBackAndAreReused) {
  make();
  std::vector<int32_t> five = counting(5), four = counting(4);
  uint32_t a = add(), b = add();
  EXPECT_EQ(scheduler->freePages(), 16u);
  step({{a, five, LogitsWanted::None}, {b, four, LogitsWanted::None}});
  EXPECT_EQ(scheduler->freePages(), 13u);
  EXPECT_THAT(scheduler->pagesOf(0, a), ElementsAre(0, 1));
  EXPECT_THAT(scheduler->pagesOf(0, b), ElementsAre(2));
  EXPECT_TRUE(scheduler->removeSequence(a).ok());
  EXPECT_EQ(scheduler->freePages(), 15u);
  EXPECT_EQ(scheduler->length(a), 0u);
  EXPECT_EQ(add(), a) << "the slot is free again";
  step({{b, four, LogitsWanted::None}, {a, five, LogitsWanted::None}});
  EXPECT_THAT(scheduler->pagesOf(0, b), ElementsAre(2, 0));
  EXPECT_THAT(scheduler->pagesOf(0, a), ElementsAre(1, 3));
}

TEST_F(SchedulerTest, RefusesInputsAndChangesNothing) {
  make();
  std::vector<int32_t> none, one = {1}, large = {3, 16}, negative = {-1};
  uint32_t a = add();
  EXPECT_EQ(refusal({{3, one, LogitsWanted::None}}),
            "input 0: sequence 3 does not exist");
  EXPECT_EQ(refusal({{99, one, LogitsWanted::None}}),
            "input 0: sequence 99 does not exist");
  EXPECT_EQ(refusal({{a, none, LogitsWanted::None}}),
            "input 0 (sequence 0) has no tokens");
  EXPECT_EQ(refusal({{a, large, LogitsWanted::None}}),
            "input 0 (sequence 0): token 1 is 16, expected 0 to 15");
  EXPECT_EQ(refusal({{a, negative, LogitsWanted::None}}),
            "input 0 (sequence 0): token 0 is -1, expected 0 to 15");
  EXPECT_EQ(
      refusal({{a, one, LogitsWanted::None}, {a, one, LogitsWanted::None}}),
      "inputs 0 and 1 are both of sequence 0");
  EXPECT_EQ(scheduler->length(a), 0u);
  EXPECT_EQ(scheduler->freePages(), 16u);
  EXPECT_EQ(scheduler->removeSequence(2).message(),
            "sequence 2 does not exist");
}

TEST_F(SchedulerTest, RefusesSequencesBeyondTheLimit) {
  make();
  std::vector<int32_t> sixteen = counting(16), one = {1},
                       seventeen = counting(17);
  uint32_t a = add();
  EXPECT_THAT(refusal({{a, seventeen, LogitsWanted::None}}),
              HasSubstr("0 tokens held and 17 new are more than the engine's "
                        "max_seq_len = 16"));
  step({{a, sixteen, LogitsWanted::None}});
  EXPECT_THAT(refusal({{a, one, LogitsWanted::None}}),
              HasSubstr("16 tokens held and 1 new are more than"));
}

TEST_F(SchedulerTest, RefusesMoreSequencesThanSlots) {
  make();
  for (int i = 0; i < 4; ++i)
    add();
  Status status = scheduler->addSequence().status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("all 4 sequences of the engine's "
                                          "max_batch are in use"));
}

TEST_F(SchedulerTest, RefusesAStepWithoutEnoughPages) {
  make(0, {}, 3);
  std::vector<int32_t> nine = counting(9), four = counting(4);
  uint32_t a = add(), b = add();
  step({{a, four, LogitsWanted::None}});
  Status status = scheduler->begin(
      std::vector<SequenceInput>{{b, nine, LogitsWanted::None}});
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(status.message(),
              HasSubstr("needs 3 KV pages of 4 tokens, but 2 are free"));
  EXPECT_EQ(scheduler->length(b), 0u);
  EXPECT_EQ(scheduler->freePages(), 2u);
}

TEST_F(SchedulerTest, SequencesDecodeAsManyTokensAsThereIsRoomForEach) {
  options.specTokens = 1;
  make();
  uint32_t a = add(), b = add();
  std::vector<int32_t> two = {1, 2}, three = {3, 4, 5};
  auto batches =
      step({{a, two, LogitsWanted::All}, {b, two, LogitsWanted::All}});
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].entry, kDecode);
  EXPECT_THAT(batches[0].positions, ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(batches[0].rows, ElementsAre(0, 1, 2, 3));
  batches = step({{a, three, LogitsWanted::Last}, {b, two, LogitsWanted::All}});
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].entry, kPrefill);
}

TEST_F(SchedulerTest, ProgramsCountTokensApartAndShareThePages) {
  options.draft = true;
  make(0, {}, 4);
  constexpr uint32_t kDraft = 1, kMain = 0;
  uint32_t a = add();
  std::vector<int32_t> four = {1, 2, 3, 4}, three = {2, 3, 4}, one = {5};
  step({{a, four, LogitsWanted::Last}});
  EXPECT_EQ(scheduler->freePages(), 3u);
  // Entries of the draft follow those of the main program. Behind its third
  // token it may leave something for the fourth, in the same page.
  auto batches = step({{a, three, LogitsWanted::Last}}, kDraft);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].entry, 2 + kPrefill);
  EXPECT_THAT(batches[0].positions, ElementsAre(0, 1, 2));
  EXPECT_EQ(scheduler->length(a, kMain), 4u);
  EXPECT_EQ(scheduler->length(a, kDraft), 3u);
  EXPECT_EQ(scheduler->freePages(), 3u);
  // Behind the fourth it needs one more.
  batches = step({{a, one, LogitsWanted::Last}}, kDraft);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].entry, 2 + kDecode);
  EXPECT_EQ(scheduler->freePages(), 2u);
  step({{a, one, LogitsWanted::Last}}, kDraft);
  scheduler->cut(a, 3, kDraft);
  EXPECT_EQ(scheduler->length(a, kDraft), 3u);
  EXPECT_EQ(scheduler->length(a, kMain), 4u);
  EXPECT_EQ(scheduler->freePages(), 3u);
  // The draft's row of a token has seen the one behind it.
  scheduler->cut(a, 3, kMain);
  EXPECT_EQ(scheduler->length(a, kDraft), 2u);
  scheduler->cut(a, 0, kMain);
  EXPECT_EQ(scheduler->length(a, kDraft), 0u);
  EXPECT_EQ(scheduler->freePages(), 4u);
  EXPECT_EQ(scheduler->checkCut(a, 1, kDraft).message(),
            "sequence 0 cannot be cut to 1 tokens: it holds 0");
}

TEST_F(SchedulerTest, RefusesAChunkBeyondTheEngine) {
  auto engine = tinyEngine();
  buffer = flatBufferOf(*engine);
  Status status =
      Scheduler::create(*schema::GetEngine(buffer.data()), 16, 9, 1).status();
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("prefill chunk 9: the engine was "
                                          "compiled for up to 8"));
}

//===--- Replicas and micro-batches --------------------------------------===//

/// Two replicas of 4 slots and 16 pages each.
class ReplicaSchedulerTest : public testing::Test {
protected:
  void make(uint64_t microBatches = 1, uint64_t pages = 16) {
    TinyOptions options;
    options.tp = options.dp = 2;
    buffer = flatBufferOf(*tinyEngine(options));
    auto made = Scheduler::create(*schema::GetEngine(buffer.data()), pages, 0,
                                  microBatches);
    ASSERT_TRUE(made.ok()) << made.status().message();
    scheduler = std::make_unique<Scheduler>(std::move(*made));
  }
  std::vector<backend::Batch> step(const std::vector<SequenceInput> &inputs) {
    Status status = scheduler->begin(inputs);
    EXPECT_TRUE(status.ok()) << status.message();
    std::vector<backend::Batch> batches;
    for (backend::Batch batch; status.ok() && scheduler->next(batch);)
      batches.push_back(batch);
    return batches;
  }
  uint32_t add() { return *scheduler->addSequence(); }

  std::vector<uint8_t> buffer;
  std::unique_ptr<Scheduler> scheduler;
};

TEST_F(ReplicaSchedulerTest, SequencesGoToTheLeastLoadedReplica) {
  make();
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(add(), i) << "numbers are dense";
    EXPECT_EQ(scheduler->replicaOf(i), i % 2);
  }
  EXPECT_TRUE(scheduler->removeSequence(1).ok());
  EXPECT_TRUE(scheduler->removeSequence(3).ok());
  EXPECT_EQ(scheduler->replicaOf(add()), 1u);
  EXPECT_EQ(scheduler->replicaOf(add()), 1u);
  // As many sequences: the one with more free pages.
  std::vector<int32_t> five = counting(5);
  step({{0, five, LogitsWanted::None}});
  EXPECT_EQ(scheduler->replicaOf(add()), 1u);
  EXPECT_EQ(scheduler->replicaOf(add()), 0u);
  EXPECT_EQ(scheduler->freePages(), 30u);
  add();
  add();
  Status status = scheduler->addSequence().status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("all 8 sequences of the engine's"));
}

TEST_F(ReplicaSchedulerTest, EachReplicaHasItsOwnCountsPagesAndRows) {
  make();
  std::vector<int32_t> three = {1, 2, 3}, one = {4};
  uint32_t a = add(), b = add(), c = add(); // of replicas 0, 1, 0
  auto batches = step({{a, three, LogitsWanted::All},
                       {b, one, LogitsWanted::Last},
                       {c, one, LogitsWanted::Last}});
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(batches[0].entry, kPrefill) << "one replica prefills";
  EXPECT_THAT(batches[0].tokenCounts, ElementsAre(4, 1));
  EXPECT_THAT(batches[0].rowCounts, ElementsAre(4, 1));
  const backend::ReplicaBatch &first = batches[0].replicas[0],
                              &second = batches[0].replicas[1];
  EXPECT_THAT(first.tokens, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(first.sequences, ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(first.slots, ElementsAre(0, 1, 2, 4));
  EXPECT_THAT(first.destinations, ElementsAre(0, 1, 2, 4));
  EXPECT_THAT(second.tokens, ElementsAre(4));
  EXPECT_THAT(second.sequences, ElementsAre(0));
  EXPECT_THAT(second.slots, ElementsAre(0)) << "page 0 of its own pool";
  EXPECT_THAT(second.destinations, ElementsAre(3));
}

TEST_F(ReplicaSchedulerTest, AnIdleReplicaTakesPartWithNothing) {
  make();
  std::vector<int32_t> eleven = counting(11), one = {7};
  uint32_t a = add(), b = add();
  auto batches =
      step({{a, one, LogitsWanted::None}, {b, eleven, LogitsWanted::Last}});
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_THAT(batches[0].tokenCounts, ElementsAre(1, 8));
  EXPECT_THAT(batches[1].tokenCounts, ElementsAre(0, 3));
  EXPECT_THAT(batches[1].rowCounts, ElementsAre(0, 1));
  EXPECT_THAT(batches[1].replicas[0].tokens, IsEmpty());
  batches = step({});
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_THAT(batches[0].tokenCounts, ElementsAre(0, 0));
}

TEST_F(ReplicaSchedulerTest, PagesAreThoseOfTheReplica) {
  make(1, 4);
  std::vector<int32_t> sixteen = counting(16), four = counting(4);
  uint32_t a = add(), b = add(), c = add();
  step({{a, sixteen, LogitsWanted::None}});
  EXPECT_EQ(scheduler->freePages(), 4u) << "of replica 1";
  Status status = scheduler->begin(
      std::vector<SequenceInput>{{c, four, LogitsWanted::None}});
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(status.message(),
            "the step needs 1 KV pages of attention replica 0 of 4 tokens, but "
            "0 are free; remove or cut a sequence first, or load with more "
            "--kv-tokens");
  EXPECT_EQ(step({{b, sixteen, LogitsWanted::None}}).size(), 2u);
}

TEST_F(ReplicaSchedulerTest, SeveralSequencesAreCutIntoMicroBatches) {
  make(2);
  std::vector<int32_t> one = {7}, six = counting(6);
  uint32_t a = add(), b = add(), c = add(), d = add(), e = add();
  // Replica 0 has a, c, e; replica 1 has b, d.
  auto batches = step({{a, one, LogitsWanted::Last},
                       {b, one, LogitsWanted::Last},
                       {c, one, LogitsWanted::Last},
                       {d, one, LogitsWanted::Last},
                       {e, one, LogitsWanted::Last}});
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].entry, kDecode);
  EXPECT_THAT(batches[0].tokenCounts, ElementsAre(2, 2));
  EXPECT_THAT(batches[1].tokenCounts, ElementsAre(1, 0));
  EXPECT_THAT(batches[0].replicas[0].destinations, ElementsAre(0, 2));
  EXPECT_THAT(batches[0].replicas[1].destinations, ElementsAre(1, 3));
  EXPECT_THAT(batches[1].replicas[0].rows, ElementsAre(0));
  EXPECT_THAT(batches[1].replicas[0].destinations, ElementsAre(4));
  // A prompt beside a decode: 7 tokens in two halves; rows count from the start
  // of their batch.
  batches = step({{a, six, LogitsWanted::All}, {c, one, LogitsWanted::Last}});
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_THAT(batches[0].tokenCounts, ElementsAre(4, 0));
  EXPECT_THAT(batches[1].replicas[0].sequences, ElementsAre(0, 0, 1));
  EXPECT_THAT(batches[1].replicas[0].positions, ElementsAre(5, 6, 1));
  EXPECT_THAT(batches[1].replicas[0].rows, ElementsAre(0, 1, 2));
  EXPECT_THAT(batches[1].replicas[0].destinations, ElementsAre(4, 5, 6));
  // One sequence alone stays whole.
  EXPECT_EQ(step({{d, six, LogitsWanted::Last}}).size(), 1u);
}

} // namespace
} // namespace saddle::session
