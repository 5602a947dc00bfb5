// State of sequences: how many pages there are, cutting sequences back, and
// snapshots, with paged and with recurrent state.

#include "runtime/src/backend/PagePool.h"
#include "test/unit/session/Sessions.h"

namespace saddle::session {
namespace {

//===--- The pool of pages -----------------------------------------------===//

TEST(PagePoolTest, IsWhatIsAskedForOrFits) {
  // 4 sequences of 16 tokens in pages of 4 are 16 pages.
  std::vector<uint8_t> buffer = flatBufferOf(*tinyEngine());
  const schema::Engine &engine = *schema::GetEngine(buffer.data());
  EXPECT_EQ(*backend::choosePages(engine, 0, 1000), 16u);
  EXPECT_EQ(*backend::choosePages(engine, 0, 16), 16u);
  EXPECT_EQ(*backend::choosePages(engine, 0, 15), 15u);
  EXPECT_EQ(*backend::choosePages(engine, 1, 15), 1u);
  EXPECT_EQ(*backend::choosePages(engine, 9, 15), 3u);
  // More is never used; whether it fits is for the backend to say.
  EXPECT_EQ(*backend::choosePages(engine, 64, 1), 16u);
  EXPECT_EQ(*backend::choosePages(engine, 65, 100), 16u);
  EXPECT_EQ(*backend::choosePages(engine, UINT64_MAX, 100), 16u);
  Status status = backend::choosePages(engine, 0, 0).status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(status.message(),
            "not even one KV page of 4 tokens fits beside weights and "
            "activations; compile for more ranks or with a smaller "
            "--max-batch");
}

TEST(PagePoolTest, SlotsFitInAnI32) {
  auto description = tinyEngine();
  description->limits->max_batch = description->limits->max_seq_len = 1u << 30;
  std::vector<uint8_t> buffer = flatBufferOf(*description);
  EXPECT_EQ(engine::mostPages(*schema::GetEngine(buffer.data())->limits()),
            uint64_t(INT32_MAX) / 4);
}

TEST(PagePoolTest, OneEngineServesAnySize) {
  auto engine = engineOf(*tinyEngine());
  Rows expected = wholePrompt({}, kPrompt);
  for (uint64_t tokens : {0, 11, 12, 40, 1000}) {
    SessionOptions options;
    options.kvTokens = tokens;
    auto session = Session::create(engine, "synthetic:7", options);
    ASSERT_TRUE(session.ok()) << session.status().message();
    uint64_t pages = tokens == 0 || tokens == 1000 ? 16 : (tokens + 3) / 4;
    EXPECT_EQ((*session)->numPages(), pages);
    EXPECT_EQ((*session)->freePages(), pages);
    uint32_t sequence = *(*session)->addSequence();
    EXPECT_EQ(step(**session, {{sequence, kPrompt, LogitsWanted::All}}),
              expected);
  }
}

TEST(PagePoolTest, AStepBeyondItIsRefused) {
  SessionOptions options;
  options.kvTokens = 8;
  auto session = open({}, options);
  uint32_t sequence = *session->addSequence();
  Rows logits(kVocab);
  Status status = stepInto(
      *session,
      std::vector<SequenceInput>{{sequence, kPrompt, LogitsWanted::Last}},
      logits);
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(status.message(),
            "the step needs 3 KV pages of 4 tokens, but 2 are free; remove or "
            "cut a sequence first, or load with more --kv-tokens");
}

TEST(PagePoolTest, AnEngineThatFitsNowhereSaysWhatItNeeds) {
  // A page of 2^47 bytes.
  auto description = tinyEngine();
  schema::ArenaT &arena = *description->arenas[1];
  arena.bytes = uint64_t(1) << 47;
  auto state = std::make_unique<schema::StateT>();
  state->name = "vast";
  state->kind = schema::StateKind::PAGED;
  state->slice = std::make_unique<schema::SliceT>();
  state->slice->arena = 1;
  state->slice->dtype = schema::DType::F32;
  state->slice->shape = {1, 4, 1};
  state->slice->strides = {4, 1, 1};
  state->slice->offset = arena.bytes - 16;
  description->programs[0]->states.push_back(std::move(state));
  auto engine = engineOf(*description);
  for (uint64_t tokens : {1, 64}) {
    SessionOptions options;
    options.kvTokens = tokens;
    Status status = Session::create(engine, "synthetic:7", options).status();
    EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
    EXPECT_THAT(status.message(),
                HasSubstr("GiB per rank on 1 ranks (arena \"kv\" alone "));
    EXPECT_THAT(status.message(), HasSubstr("ask for fewer --kv-tokens"));
  }
  Status status = Session::create(engine, "synthetic:7", {}).status();
  EXPECT_THAT(status.message(), HasSubstr("not even one KV page of 4 tokens"));
}

//===--- Cutting back ----------------------------------------------------===//

/// Rank grids with one stage and several, with replicas and without.
struct Grid {
  const char *name;
  uint32_t tp, dp, pp;
};

class CutTest : public testing::TestWithParam<std::tuple<Grid, bool>> {
protected:
  TinyOptions tiny() const {
    const auto &[grid, recurrent] = GetParam();
    TinyOptions options;
    options.tp = grid.tp;
    options.dp = grid.dp;
    options.pp = grid.pp;
    options.layers = 2;
    options.recurrent = recurrent;
    return options;
  }
  bool recurrent() const { return std::get<1>(GetParam()); }

  /// Sequences on every replica, filled alike; the last one is returned.
  uint32_t start(Session &session, const Tokens &tokens) {
    uint32_t last = 0;
    for (uint32_t i = 0; i < std::get<0>(GetParam()).dp; ++i) {
      last = *session.addSequence();
      step(session, {{last, tokens, LogitsWanted::None}});
    }
    return last;
  }
};

const Tokens kOther = {8, 9, 7, 9, 3};

/// The first `length` tokens of kPrompt, then kOther.
Rows expectedAfter(const TinyOptions &tiny, size_t length) {
  auto session = open(tiny);
  uint32_t sequence = *session->addSequence();
  Tokens kept(kPrompt.begin(), kPrompt.begin() + length);
  if (length > 0)
    step(*session, {{sequence, kept, LogitsWanted::None}});
  return step(*session, {{sequence, kOther, LogitsWanted::All}});
}

TEST_P(CutTest, WhatWasCutHasNeverBeen) {
  // In the middle of a page, at its end, nothing, all.
  for (size_t length : {0, 3, 4, 8, 11}) {
    auto session = open(tiny());
    uint32_t sequence = start(*session, kPrompt);
    bool isExact = !recurrent() || length == 0 || length == kPrompt.size();
    Status status = session->truncate(sequence, length);
    if (!isExact) {
      EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
      EXPECT_EQ(status.message(),
                "sequence " + std::to_string(sequence) + " cannot be cut to " +
                    std::to_string(length) +
                    " tokens: the engine has recurrent state, and no snapshot "
                    "of that length was kept");
      EXPECT_EQ(session->length(sequence), kPrompt.size());
      continue;
    }
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(session->length(sequence), length);
    EXPECT_EQ(step(*session, {{sequence, kOther, LogitsWanted::All}}),
              expectedAfter(tiny(), length))
        << length;
  }
}

TEST_P(CutTest, SnapshotsComeBack) {
  auto session = open(tiny());
  Tokens first(kPrompt.begin(), kPrompt.begin() + 6),
      rest(kPrompt.begin() + 6, kPrompt.end());
  uint32_t sequence = start(*session, first);
  auto snapshot = session->keep(sequence);
  ASSERT_TRUE(snapshot.ok()) << snapshot.status().message();
  Rows expected = expectedAfter(tiny(), 6);
  // Twice, since a restored snapshot is still there; then by its length.
  for (int round = 0; round < 3; ++round) {
    step(*session, {{sequence, rest, LogitsWanted::None}});
    EXPECT_EQ(session->length(sequence), kPrompt.size());
    Status status = round < 2 ? session->restore(sequence, *snapshot)
                              : session->truncate(sequence, 6);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(session->length(sequence), 6u);
    EXPECT_EQ(step(*session, {{sequence, kOther, LogitsWanted::All}}),
              expected);
    ASSERT_TRUE(session->restore(sequence, *snapshot).ok());
  }
  EXPECT_TRUE(session->release(*snapshot).ok());
}

TEST_P(CutTest, SnapshotsOfOthersOutliveASequence) {
  auto session = open(tiny());
  uint32_t gone = start(*session, {1, 2, 3});
  uint32_t stays = start(*session, {4, 5});
  auto first = session->keep(gone), second = session->keep(stays);
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_TRUE(session->release(*first).ok()); // a number that is not in use
  ASSERT_TRUE(session->removeSequence(gone).ok());
  EXPECT_TRUE(session->restore(stays, *second).ok());
  EXPECT_FALSE(session->restore(stays, *first).ok());
}

TEST_P(CutTest, AReusedSlotBeginsAnew) {
  auto session = open(tiny());
  uint32_t sequence = start(*session, kPrompt);
  ASSERT_TRUE(session->removeSequence(sequence).ok());
  ASSERT_EQ(*session->addSequence(), sequence);
  EXPECT_EQ(step(*session, {{sequence, kOther, LogitsWanted::All}}),
            expectedAfter(tiny(), 0));
}

TEST_P(CutTest, ChunksGiveWhatTheWholePromptGives) {
  Rows whole = wholePrompt(tiny(), kPrompt);
  for (uint64_t chunk : {1, 3, 7}) {
    SessionOptions options;
    options.prefillChunk = chunk;
    EXPECT_EQ(wholePrompt(tiny(), kPrompt, options), whole) << chunk;
  }
}

TEST_P(CutTest, MembersOfABatchAreAsAlone) {
  auto session = open(tiny());
  uint32_t a = *session->addSequence(), b = *session->addSequence(),
           c = *session->addSequence();
  Rows rows = step(*session, {{a, kPrompt, LogitsWanted::All},
                              {b, kOther, LogitsWanted::All},
                              {c, kPrompt, LogitsWanted::All}});
  Rows expected;
  for (const Tokens *tokens : {&kPrompt, &kOther, &kPrompt}) {
    Rows alone = wholePrompt(tiny(), *tokens);
    expected.insert(expected.end(), alone.begin(), alone.end());
  }
  EXPECT_EQ(rows, expected);
}

TEST_P(CutTest, AnyGridGivesWhatOneRankGives) {
  TinyOptions one = tiny();
  one.tp = one.dp = one.pp = 1;
  expectClose(wholePrompt(tiny(), kPrompt), wholePrompt(one, kPrompt));
}

INSTANTIATE_TEST_SUITE_P(
    , CutTest,
    testing::Combine(testing::Values(Grid{"One", 1, 1, 1}, Grid{"Two", 2, 1, 1},
                                     Grid{"Replicas", 4, 2, 1},
                                     Grid{"Stages", 1, 1, 2},
                                     Grid{"All", 4, 2, 2}),
                     testing::Bool()),
    [](const auto &info) {
      return std::string(std::get<0>(info.param).name) +
             (std::get<1>(info.param) ? "Recurrent" : "Paged");
    });

TEST(CutDetailTest, RecurrentStateIsUsed) {
  TinyOptions tiny;
  tiny.recurrent = true;
  EXPECT_GT(
      largestDifference(wholePrompt(tiny, kPrompt), wholePrompt({}, kPrompt)),
      0);
}

TEST(CutDetailTest, FreesPages) {
  auto session = open({});
  uint32_t sequence = *session->addSequence();
  step(*session, {{sequence, kPrompt, LogitsWanted::None}});
  EXPECT_EQ(session->freePages(), 13u);
  ASSERT_TRUE(session->truncate(sequence, 9).ok());
  EXPECT_EQ(session->freePages(), 13u);
  ASSERT_TRUE(session->truncate(sequence, 8).ok());
  EXPECT_EQ(session->freePages(), 14u);
  ASSERT_TRUE(session->truncate(sequence, 0).ok());
  EXPECT_EQ(session->freePages(), 16u);
}

TEST(CutDetailTest, RefusesWhatCannotBe) {
  auto session = open({});
  uint32_t sequence = *session->addSequence();
  step(*session, {{sequence, kPrompt, LogitsWanted::None}});
  EXPECT_EQ(session->truncate(3, 0).message(), "sequence 3 does not exist");
  EXPECT_EQ(session->truncate(99, 0).message(), "sequence 99 does not exist");
  EXPECT_EQ(session->truncate(sequence, 12).message(),
            "sequence 0 cannot be cut to 12 tokens: it holds 11");
  EXPECT_EQ(session->truncate(sequence, UINT64_MAX).code(),
            StatusCode::InvalidArgument);
  EXPECT_EQ(session->length(sequence), 11u);
}

TEST(SnapshotTest, RefusesWhatCannotBe) {
  auto session = open({});
  uint32_t a = *session->addSequence(), b = *session->addSequence();
  step(*session, {{a, kPrompt, LogitsWanted::None}});
  EXPECT_EQ(session->keep(7).status().message(), "sequence 7 does not exist");
  EXPECT_EQ(session->restore(a, 0).message(), "snapshot 0 does not exist");
  EXPECT_EQ(session->release(0).message(), "snapshot 0 does not exist");
  uint32_t whole = *session->keep(a);
  EXPECT_EQ(session->restore(b, whole).message(),
            "snapshot 0 is of sequence 0, not of 1");
  EXPECT_EQ(session->restore(9, whole).message(), "sequence 9 does not exist");
  // Cut below it, the tokens of the snapshot are gone, whatever comes next.
  ASSERT_TRUE(session->truncate(a, 4).ok());
  step(*session, {{a, kPrompt, LogitsWanted::None}});
  EXPECT_EQ(session->restore(a, whole).message(),
            "snapshot 0 holds 11 tokens, but sequence 0 was cut to 4 since, so "
            "that the others are gone; feed them again");
  // Numbers are reused.
  ASSERT_TRUE(session->release(whole).ok());
  EXPECT_EQ(session->release(whole).message(), "snapshot 0 does not exist");
  EXPECT_EQ(*session->keep(b), 0u);
  EXPECT_EQ(*session->keep(b), 1u);
  // They go with their sequence.
  ASSERT_TRUE(session->removeSequence(b).ok());
  EXPECT_EQ(*session->addSequence(), b);
  EXPECT_EQ(session->restore(b, 1).message(), "snapshot 1 does not exist");
}

} // namespace
} // namespace saddle::session
