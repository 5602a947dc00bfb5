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

TEST(SessionTest, CopiesAreExecuted) {
  // The logits go to a place of their own, and leave by it.
  auto engine = tinyEngine();
  for (auto &entry : engine->programs[0]->entries) {
    auto binding =
        std::find_if(entry->bindings.begin(), entry->bindings.end(),
                     [](const auto &each) { return each->name == "logits"; });
    schema::SliceT place = *entry->slices[(*binding)->slice];
    schema::ArenaT &arena = *engine->arenas[place.arena];
    place.offset = (arena.bytes + 63) / 64 * 64;
    arena.bytes =
        place.offset + place.shape[0] * place.shape[1] * sizeof(float);
    schema::CopyT copy;
    copy.source = (*binding)->slice;
    copy.dest = (*binding)->slice = uint32_t(entry->slices.size());
    copy.extent = schema::Extent::ROWS;
    entry->slices.push_back(std::make_unique<schema::SliceT>(place));
    auto command = std::make_unique<schema::CommandT>();
    command->place = "copy";
    command->action.Set(std::move(copy));
    entry->commands.push_back(std::move(command));
  }
  auto session = Session::create(engineOf(*engine), "synthetic:7", {});
  ASSERT_TRUE(session.ok()) << session.status().message();
  uint32_t sequence = *(*session)->addSequence();
  EXPECT_EQ(step(**session, {{sequence, kPrompt, LogitsWanted::All}}),
            wholePrompt({}, kPrompt));
}

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

/// What a step of the whole prompt with these outputs is refused with.
std::string refusal(const TinyOptions &tiny,
                    const std::vector<WantedOutput> &outputs) {
  auto session = open(tiny);
  uint32_t sequence = *session->addSequence();
  std::vector<SequenceInput> inputs = {{sequence, kPrompt, LogitsWanted::All}};
  Status status = session->step(inputs, outputs);
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_EQ(session->length(sequence), 0u);
  return status.message();
}

TEST(SessionTest, OutputsThatDoNotExistOrFitAreRefused) {
  TinyOptions tiny;
  tiny.candidates = 2;
  Rows logits(kPrompt.size() * kVocab);
  WantedOutput good = wanted("logits", logits);
  EXPECT_EQ(refusal({}, {{"logits", logits.data(), kVocab * sizeof(float)}}),
            "the step yields 11 rows of logits, 64 bytes each, but the buffer "
            "holds 64 bytes");
  EXPECT_EQ(refusal(tiny, {good, {"candidate_values", logits.data(), 87}}),
            "the step yields 11 rows of candidate_values, 8 bytes each, but "
            "the buffer holds 87 bytes");
  EXPECT_EQ(refusal({}, {{"logits", nullptr, UINT64_MAX}}),
            "output logits has no memory: data is NULL");
  EXPECT_EQ(refusal({}, {good, good}),
            "output logits is wanted twice; name it once");
  EXPECT_EQ(refusal({}, {good, {"candidate_tokens", logits.data(), 1000}}),
            "the engine yields no candidate_tokens; compile it with "
            "--candidates, or ask for another output");
  EXPECT_EQ(refusal(tiny, {{"tokens", logits.data(), 1000}}),
            "\"tokens\" is no output of a step; the engine yields logits, "
            "candidate_values, candidate_tokens");
}

/// Rows that no memory can hold are refused before anything looks at them.
TEST(SessionTest, RowsBeyondAllNumbersAreRefused) {
  auto session = open({});
  uint32_t sequence = *session->addSequence();
  SequenceInput half = {sequence,
                        Span<const int32_t>(kPrompt.data(), SIZE_MAX / 2 + 1),
                        LogitsWanted::All};
  std::vector<SequenceInput> inputs = {half, half};
  EXPECT_EQ(rowsOf(inputs), SIZE_MAX);
  Rows logits(kVocab);
  Status status = stepInto(*session, inputs, logits);
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("but the buffer holds 64 bytes"));
  auto buffer = session->outputBuffer("logits", SIZE_MAX / 2);
  EXPECT_EQ(buffer.status().code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(buffer.status().message(),
              HasSubstr("rows of logits, 64 bytes each, could not be "
                        "allocated"));
  EXPECT_TRUE(session->outputBuffer("logits", 1).ok());
}

TEST(SessionTest, TheOwnBufferTakesLogitsAndGrows) {
  auto session = open({});
  uint32_t sequence = *session->addSequence();
  void *one = *session->outputBuffer("logits", 1);
  EXPECT_EQ(*session->outputBuffer("logits", 1), one);
  auto *logits =
      static_cast<float *>(*session->outputBuffer("logits", kPrompt.size()));
  std::vector<SequenceInput> inputs = {{sequence, kPrompt, LogitsWanted::All}};
  size_t floats = kPrompt.size() * kVocab;
  WantedOutput output = {"logits", logits, floats * sizeof(float)};
  ASSERT_TRUE(session->step(inputs, Span<const WantedOutput>(&output, 1)).ok());
  EXPECT_EQ(Rows(logits, logits + floats), wholePrompt({}, kPrompt));
  EXPECT_EQ(session->outputBuffer("logit", 1).status().message(),
            "\"logit\" is no output of a step; the engine yields logits");
}

/// Wanting more, or nothing, changes no row and no later step.
TEST(SessionTest, OutputsDoNotInfluenceEachOther) {
  TinyOptions tiny;
  tiny.candidates = 2;
  tiny.tp = 2;
  Rows alone = wholePrompt(tiny, kPrompt);
  auto session = open(tiny);
  uint32_t sequence = *session->addSequence();
  Rows logits(alone.size(), NAN), values(kPrompt.size() * 2, NAN);
  Tokens tokens(kPrompt.size() * 2, -1),
      head(kPrompt.begin(), kPrompt.begin() + 4),
      tail(kPrompt.begin() + 4, kPrompt.end());
  std::vector<SequenceInput> first = {{sequence, head, LogitsWanted::All}},
                             second = {{sequence, tail, LogitsWanted::All}};
  ASSERT_TRUE(session->step(first, {}).ok());
  WantedOutput outputs[] = {wanted("candidate_tokens", tokens),
                            wanted("logits", logits),
                            wanted("candidate_values", values)};
  ASSERT_TRUE(session->step(second, Span<const WantedOutput>(outputs, 3)).ok());
  logits.resize(tail.size() * kVocab);
  EXPECT_EQ(logits, rowsFrom(alone, 4));
  Candidates expected = candidatesIn(logits, 2);
  values.resize(expected.values.size());
  tokens.resize(expected.tokens.size());
  EXPECT_EQ(values, expected.values);
  EXPECT_EQ(tokens, expected.tokens);
}

/// Ranks hold the draft's weights, too, and steps run "main".
TEST(SessionTest, SeveralProgramsRunTheMainOne) {
  TinyOptions tiny;
  tiny.tp = 2;
  tiny.pp = 2;
  tiny.layers = 2;
  Rows alone = wholePrompt(tiny, kPrompt);
  tiny.draft = true;
  EXPECT_EQ(wholePrompt(tiny, kPrompt), alone);
  SessionOptions options;
  options.otherWeights = {{"draft", "synthetic:8"}};
  EXPECT_EQ(wholePrompt(tiny, kPrompt, options), alone);
  options.otherWeights = {{"draught", "synthetic:8"}};
  auto refused =
      Session::create(engineOf(*tinyEngine(tiny)), "synthetic:7", options);
  EXPECT_EQ(refused.status().code(), StatusCode::InvalidArgument);
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

TEST(SessionTest, TooManyMicroBatchesAreRefused) {
  SessionOptions options;
  options.microBatches = 1025;
  Status status =
      Session::create(engineOf(*tinyEngine()), "synthetic:1", options).status();
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_EQ(status.message(), "micro-batches: 1025, expected 1 to 1024, or 0 "
                              "for one per pipeline stage");
  options.microBatches = 1024;
  EXPECT_TRUE(
      Session::create(engineOf(*tinyEngine()), "synthetic:1", options).ok());
}

TEST(SessionTest, UnknownWeightsAreRefused) {
  Status status =
      Session::create(engineOf(*tinyEngine()), "/nowhere/at/all", {}).status();
  EXPECT_EQ(status.code(), StatusCode::NotFound);
  EXPECT_THAT(status.message(), HasSubstr("/nowhere/at/all"));
}

} // namespace
} // namespace saddle::session
