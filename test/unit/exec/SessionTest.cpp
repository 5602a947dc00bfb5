// Whole steps on the tiny engine with synthetic weights: what must not matter
// (chunking, batching, topology), and how failures end.

#include "runtime/src/exec/Session.h"

#include "test/unit/engine/TinyEngine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <set>

namespace saddle::exec {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr size_t kVocab = 16;
using Tokens = std::vector<int32_t>;
using Rows = std::vector<float>;

const Tokens kPrompt = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};

std::shared_ptr<const Engine> engineOf(const schema::EngineT &description) {
  std::vector<uint8_t> file = engineFileOf(description);
  auto engine = Engine::fromBytes(file.data(), file.size(), "tiny");
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return engine.ok() ? std::move(*engine) : nullptr;
}

std::unique_ptr<Session> open(const TinyOptions &tiny,
                              const SessionOptions &options = {}) {
  auto session =
      Session::create(engineOf(*tinyEngine(tiny)), "synthetic:7", options);
  EXPECT_TRUE(session.ok()) << session.status().message();
  return session.ok() ? std::move(*session) : nullptr;
}

/// Logits of a step that must succeed.
Rows step(Session &session, const std::vector<SequenceInput> &inputs) {
  size_t rows = 0;
  for (const SequenceInput &input : inputs)
    rows += input.rows();
  Rows logits(rows * kVocab, NAN);
  Status status = session.step(inputs, logits.data(), logits.size());
  EXPECT_TRUE(status.ok()) << status.message();
  return logits;
}

/// Logits of every position of `tokens` in a fresh session.
Rows wholePrompt(const TinyOptions &tiny, const Tokens &tokens,
                 const SessionOptions &options = {}) {
  auto session = open(tiny, options);
  uint32_t sequence = *session->addSequence();
  return step(*session, {{sequence, tokens, LogitsWanted::All}});
}

double largestDifference(const Rows &a, const Rows &b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i)
    largest = std::fmax(largest, std::fabs(a[i] - b[i]));
  return largest;
}

double largestMagnitude(const Rows &rows) {
  return largestDifference(rows, Rows(rows.size()));
}

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
  TinyOptions tiny;
  tiny.numPages = 5; // room for one sequence and a bit
  auto session = open(tiny);
  uint32_t first = *session->addSequence();
  Tokens other = {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
  step(*session, {{first, other, LogitsWanted::None}});
  ASSERT_TRUE(session->removeSequence(first).ok());
  uint32_t second = *session->addSequence();
  EXPECT_EQ(step(*session, {{second, kPrompt, LogitsWanted::All}}),
            wholePrompt({}, kPrompt));
}

TEST(SessionTest, TopologiesAgree) {
  for (uint32_t layers : {1, 3}) {
    TinyOptions tiny;
    tiny.layers = layers;
    Rows one = wholePrompt(tiny, kPrompt);
    for (uint32_t tp : {2, 4}) {
      tiny.tp = tp;
      Rows many = wholePrompt(tiny, kPrompt);
      EXPECT_LE(largestDifference(one, many), 1e-4 * largestMagnitude(one))
          << "tp=" << tp;
      EXPECT_EQ(many, wholePrompt(tiny, kPrompt)) << "not deterministic";
    }
  }
}

TEST(SessionTest, EmptyStepsRunOnEveryRank) {
  TinyOptions tiny;
  tiny.tp = 2;
  auto session = open(tiny);
  EXPECT_TRUE(session->step({}, nullptr, 0).ok());
  uint32_t sequence = *session->addSequence();
  EXPECT_EQ(step(*session, {{sequence, kPrompt, LogitsWanted::All}}),
            wholePrompt(tiny, kPrompt));
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

TEST(SessionTest, AFailingRankEndsTheStepOnAllRanks) {
  TinyOptions tiny;
  tiny.tp = 4;
  SessionOptions options;
  options.timeout = 20s;
  std::atomic<bool> failing = false;
  options.beforeCommand = [&](uint32_t rank, const char *location) {
    if (failing && rank == 2 &&
        std::string(location).find("o_proj") != std::string::npos)
      return makeError(StatusCode::Internal, "lost its mind");
    return Status();
  };
  auto session = open(tiny, options);
  uint32_t sequence = *session->addSequence();
  step(*session, {{sequence, kPrompt, LogitsWanted::Last}});
  failing = true;
  auto start = std::chrono::steady_clock::now();
  Tokens token = {1};
  std::vector<SequenceInput> inputs = {{sequence, token, LogitsWanted::None}};
  Status status = session->step(inputs, nullptr, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
  EXPECT_EQ(status.code(), StatusCode::Internal);
  EXPECT_THAT(status.message(), HasSubstr("rank 2 failed after \""));
  EXPECT_THAT(status.message(), HasSubstr("o_proj"));
  EXPECT_THAT(status.message(), HasSubstr("lost its mind"));
  failing = false;
  EXPECT_EQ(session->step(inputs, nullptr, 0).message(), status.message())
      << "a broken session must stay broken";
}

TEST(SessionTest, AStalledRankIsNamedInTime) {
  TinyOptions tiny;
  tiny.tp = 2;
  SessionOptions options;
  options.timeout = 200ms;
  std::atomic<bool> stalling = false;
  options.beforeCommand = [&](uint32_t rank, const char *) {
    if (stalling.exchange(stalling && rank != 1) && rank == 1)
      std::this_thread::sleep_for(1s);
    return Status();
  };
  auto session = open(tiny, options);
  uint32_t sequence = *session->addSequence();
  step(*session, {{sequence, kPrompt, LogitsWanted::None}});
  stalling = true;
  auto start = std::chrono::steady_clock::now();
  Tokens token = {1};
  std::vector<SequenceInput> inputs = {{sequence, token, LogitsWanted::None}};
  Status status = session->step(inputs, nullptr, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 900ms);
  EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(status.message(), HasSubstr("rank 0 waited 0.2 s at \""));
  EXPECT_THAT(status.message(), HasSubstr("for rank 1, last met at \""));
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
  description->arenas[1]->bytes = 1ull << 46;
  Status status =
      Session::create(engineOf(*description), "synthetic:1", {}).status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(status.message(),
              HasSubstr("tiny: the engine needs 65536.00 GiB per rank on 1 "
                        "ranks (arena \"kv\" alone"));
}

TEST(SessionTest, UnknownWeightsAreRefused) {
  Status status =
      Session::create(engineOf(*tinyEngine()), "/nowhere/at/all", {}).status();
  EXPECT_EQ(status.code(), StatusCode::NotFound);
  EXPECT_THAT(status.message(), HasSubstr("/nowhere/at/all"));
}

} // namespace
} // namespace saddle::exec
