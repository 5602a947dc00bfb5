// Whole steps on the tiny engine with synthetic weights: what must not matter
// (chunking, batching), tracing, and refusals.

#include "test/unit/session/Sessions.h"

#include <set>

namespace saddle::session {
namespace {

TEST(SessionTest, LogitsAreFiniteAndDependOnEveryToken) {
  Rows rows = wholePrompt({}, kPrompt);
  for (float value : rows)
    ASSERT_TRUE(std::isfinite(value));
  EXPECT_GT(largestMagnitude(rows), 0);
  for (size_t i = 0; i < kPrompt.size(); ++i) {
    Tokens other = kPrompt;
    other[i] = (other[i] + 1) % kVocab;
    Rows changed = wholePrompt({}, other);
    size_t before = i * kVocab;
    EXPECT_TRUE(
        std::equal(rows.begin(), rows.begin() + before, changed.begin()))
        << "a later token changed an earlier position";
    EXPECT_GT(largestDifference(Rows(rows.end() - kVocab, rows.end()),
                                Rows(changed.end() - kVocab, changed.end())),
              0)
        << "token " << i << " does not reach the last position";
  }
}

class SessionDTypeTest
    : public testing::TestWithParam<std::tuple<schema::DType, schema::DType>> {
protected:
  TinyOptions tiny() const {
    TinyOptions options;
    std::tie(options.compute, options.kv) = GetParam();
    options.layers = 2;
    return options;
  }
};

TEST_P(SessionDTypeTest, AnyChunkingGivesTheSameBits) {
  Rows whole = wholePrompt(tiny(), kPrompt);
  for (uint64_t chunk : {1, 2, 3, 7, 8}) {
    SessionOptions options;
    options.prefillChunk = chunk;
    EXPECT_EQ(wholePrompt(tiny(), kPrompt, options), whole) << chunk;
  }
}

TEST_P(SessionDTypeTest, DecodeAfterPrefillEqualsOnePrompt) {
  Rows whole = wholePrompt(tiny(), kPrompt);
  auto session = open(tiny());
  uint32_t sequence = *session->addSequence();
  Tokens start(kPrompt.begin(), kPrompt.begin() + 4);
  Rows rows = step(*session, {{sequence, start, LogitsWanted::All}});
  for (size_t i = 4; i < kPrompt.size(); ++i) {
    Tokens token = {kPrompt[i]};
    Rows row = step(*session, {{sequence, token, LogitsWanted::Last}});
    rows.insert(rows.end(), row.begin(), row.end());
  }
  EXPECT_EQ(rows, whole);
  EXPECT_EQ(session->length(sequence), kPrompt.size());
}

TEST_P(SessionDTypeTest, ABatchGivesWhatItsSequencesGiveAlone) {
  const std::vector<Tokens> prompts = {
      {1, 2, 3, 4, 5, 6, 7}, {15}, {8, 8, 8}, {2, 7, 1, 8, 2}};
  auto session = open(tiny());
  std::vector<SequenceInput> inputs;
  for (const Tokens &prompt : prompts)
    inputs.push_back({*session->addSequence(), prompt, LogitsWanted::All});
  Rows batch = step(*session, inputs);
  // One more token each, as a decode batch in another order.
  std::vector<SequenceInput> decode;
  const Tokens next = {9};
  for (size_t i : {2, 0, 3, 1})
    decode.push_back({inputs[i].sequence, next, LogitsWanted::Last});
  Rows decoded = step(*session, decode);
  Rows alone, decodedAlone;
  for (const Tokens &prompt : prompts) {
    Rows rows = wholePrompt(tiny(), prompt);
    alone.insert(alone.end(), rows.begin(), rows.end());
  }
  for (size_t i : {2, 0, 3, 1}) {
    Tokens longer = prompts[i];
    longer.push_back(9);
    Rows rows = wholePrompt(tiny(), longer);
    decodedAlone.insert(decodedAlone.end(), rows.end() - kVocab, rows.end());
  }
  EXPECT_EQ(batch, alone);
  EXPECT_EQ(decoded, decodedAlone);
}

INSTANTIATE_TEST_SUITE_P(
    DTypes, SessionDTypeTest,
    testing::Combine(testing::Values(schema::DType::F32, schema::DType::BF16),
                     testing::Values(schema::DType::F32, schema::DType::BF16,
                                     schema::DType::F8E4M3)));

TEST(SessionTest, ReusedPagesDoNotLeak) {
  SessionOptions options;
  options.kvTokens = 20; // room for one sequence and a bit
  auto session = open({}, options);
  uint32_t first = *session->addSequence();
  Tokens other = {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
  step(*session, {{first, other, LogitsWanted::None}});
  ASSERT_TRUE(session->removeSequence(first).ok());
  uint32_t second = *session->addSequence();
  EXPECT_EQ(step(*session, {{second, kPrompt, LogitsWanted::All}}),
            wholePrompt({}, kPrompt));
}

TEST(SessionTest, ASmallBufferIsRefused) {
  auto session = open({});
  uint32_t sequence = *session->addSequence();
  Rows logits(kVocab);
  std::vector<SequenceInput> inputs = {{sequence, kPrompt, LogitsWanted::All}};
  Status status = session->step(inputs, logits.data(), logits.size());
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("yields 11 rows of 16 logits, but "
                                          "the buffer holds 16 floats"));
  EXPECT_EQ(session->length(sequence), 0u);
}

TEST(SessionTest, TheOwnBufferTakesLogitsAndGrows) {
  auto session = open({});
  uint32_t sequence = *session->addSequence();
  float *one = *session->logitsBuffer(1);
  EXPECT_EQ(*session->logitsBuffer(1), one);
  float *logits = *session->logitsBuffer(kPrompt.size());
  std::vector<SequenceInput> inputs = {{sequence, kPrompt, LogitsWanted::All}};
  size_t floats = kPrompt.size() * kVocab;
  ASSERT_TRUE(session->step(inputs, logits, floats).ok());
  EXPECT_EQ(Rows(logits, logits + floats), wholePrompt({}, kPrompt));
}

TEST(SessionTest, CandidatesThatDoNotExistOrFitAreRefused) {
  std::vector<SequenceInput> inputs = {{0, kPrompt, LogitsWanted::All}};
  Rows values(4);
  Tokens tokens(4);
  auto refused = [&](const TinyOptions &tiny) {
    auto session = open(tiny);
    EXPECT_EQ(*session->addSequence(), 0u);
    Status status =
        session->stepCandidates(inputs, values.data(), tokens.data(), 2);
    EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
    EXPECT_EQ(session->length(0), 0u);
    return status.message();
  };
  EXPECT_EQ(refused({}), "the engine yields no candidates; compile it with "
                         "--candidates, or ask for logits");
  TinyOptions tiny;
  tiny.candidates = 2;
  EXPECT_EQ(refused(tiny), "the step yields 11 rows of candidates, but the "
                           "buffers hold 2");
}

TEST(SessionTest, TraceReportsEveryCommandOfEveryRank) {
  TinyOptions tiny;
  tiny.tp = 2;
  auto session = open(tiny);
  std::set<std::string> ops;
  std::vector<size_t> perRank(2);
  session->setTrace([&](const TraceEvent &event) {
    ops.insert(event.op);
    ++perRank[event.rank];
    EXPECT_LE(event.time.start, event.time.end);
    EXPECT_STREQ(event.entry, "prefill");
    EXPECT_EQ(event.tokens, 5u);
  });
  uint32_t sequence = *session->addSequence();
  Tokens five = {1, 2, 3, 4, 5};
  step(*session, {{sequence, five, LogitsWanted::Last}});
  const schema::Entry &entry =
      *session->engine().root().programs()->Get(0)->entries()->Get(1);
  EXPECT_EQ(perRank[0], entry.commands()->size());
  EXPECT_EQ(perRank[1], entry.commands()->size());
  EXPECT_TRUE(ops.count("attention") && ops.count("all_reduce_sum"));
  session->setTrace(nullptr);
  step(*session, {{sequence, five, LogitsWanted::Last}});
  EXPECT_EQ(perRank[0], entry.commands()->size());
}

TEST(SessionTest, AnEngineLargerThanTheMachineIsRefused) {
  auto description = tinyEngine();
  // What a program does not use is not allocated.
  description->arenas[2]->bytes = 1ull << 46;
  EXPECT_TRUE(
      Session::create(engineOf(*description), "synthetic:1", {}).status().ok());
  auto last = std::make_unique<schema::SliceT>();
  last->arena = 2;
  last->dtype = schema::DType::F32;
  last->shape = last->strides = {1};
  last->offset = (1ull << 46) - 4;
  description->programs[0]->entries[0]->slices.push_back(std::move(last));
  Status status =
      Session::create(engineOf(*description), "synthetic:1", {}).status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(status.message(),
              HasSubstr("tiny: the engine needs 65536.00 GiB per rank on 1 "
                        "ranks (arena \"activations\" alone"));
}

TEST(SessionTest, UnknownWeightsAreRefused) {
  Status status =
      Session::create(engineOf(*tinyEngine()), "/nowhere/at/all", {}).status();
  EXPECT_EQ(status.code(), StatusCode::NotFound);
  EXPECT_THAT(status.message(), HasSubstr("/nowhere/at/all"));
}

} // namespace
} // namespace saddle::session
