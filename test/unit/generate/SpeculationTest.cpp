// Drafting and verifying on the tiny engine. Its draft is the model itself, but
// never sees the first token of a text, so it is often right and often not.

#include "runtime/src/generate/Generator.h"
#include "test/unit/session/Sessions.h"

#include <cmath>
#include <map>

namespace saddle::generate {
namespace {

using session::kVocab;
using session::LogitsWanted;
using session::Rows;
using session::Tokens;

struct Recorder : Listener {
  struct Heard {
    Tokens tokens;
    Rows logits;
    std::optional<Stop> stop;
  };
  void onLogits(RequestId request, const float *rows, size_t count) override {
    Rows &all = heard[request].logits;
    all.insert(all.end(), rows, rows + count * kVocab);
  }
  void onToken(RequestId request, int32_t token) override {
    EXPECT_FALSE(heard[request].stop);
    heard[request].tokens.push_back(token);
    if (afterToken)
      afterToken(request);
  }
  void onDrafts(RequestId, Span<const int32_t> drafts, size_t count) override {
    drafted += drafts.size();
    accepted += count;
  }
  void onEnd(RequestId request, Stop stop, const Status &error) override {
    EXPECT_TRUE(error.ok()) << error.message();
    heard[request].stop = stop;
  }
  std::map<RequestId, Heard> heard;
  std::function<void(RequestId)> afterToken;
  size_t drafted = 0, accepted = 0;
};

TinyOptions withDraft(uint64_t specTokens) {
  TinyOptions options;
  options.draft = true;
  options.candidates = 1;
  options.specTokens = specTokens;
  options.maxSeqLen = 32;
  return options;
}

/// `bend` may change the engine first.
std::unique_ptr<session::Session>
open(const TinyOptions &tiny,
     const std::function<void(schema::EngineT &)> &bend = {}) {
  auto engine = tinyEngine(tiny);
  copyMainWeights(*engine);
  if (bend)
    bend(*engine);
  session::SessionOptions options;
  options.otherWeights = {{"draft", "synthetic:7"}};
  auto session = session::Session::create(session::engineOf(*engine),
                                          "synthetic:7", options);
  EXPECT_TRUE(session.ok()) << session.status().message();
  return session.ok() ? std::move(*session) : nullptr;
}

RequestOptions newTokens(uint64_t count, double temperature, uint64_t seed) {
  RequestOptions options;
  options.maxNewTokens = count;
  options.ignoreEos = true;
  options.sampling.temperature = temperature;
  options.sampling.seed = seed;
  return options;
}

void finish(Generator &generator) {
  for (int steps = 0; generator.live() != 0 && steps < 100000; ++steps) {
    Status status = generator.step();
    ASSERT_TRUE(status.ok()) << status.message();
  }
}

const Tokens kPrompts[] = {{3, 1, 4}, {2, 7}, {9, 9, 8, 2, 6}, {5}, {1, 1, 1}};

TEST(SpeculationTest, TextsAndLogitsAreThoseWithoutADraft) {
  size_t refused = 0;
  for (double temperature : {0.0, 1.0})
    for (uint64_t count : {1, 2, 3, 5}) {
      auto session = open(withDraft(5));
      Recorder plain, heard;
      for (uint64_t drafted : {uint64_t(0), count}) {
        Recorder &recorder = drafted ? heard : plain;
        Generator generator(*session, recorder);
        ASSERT_TRUE(generator.speculate(drafted).ok());
        uint64_t seed = 0;
        for (const Tokens &prompt : kPrompts) {
          RequestOptions options = newTokens(9, temperature, ++seed);
          options.wantsLogits = seed % 2;
          ASSERT_TRUE(generator.add(prompt, options).ok());
        }
        finish(generator);
        EXPECT_EQ(session->freePages(), session->numPages());
      }
      EXPECT_EQ(plain.drafted, 0u);
      EXPECT_GT(heard.accepted, 0u);
      refused += heard.drafted - heard.accepted;
      for (const auto &[request, expected] : plain.heard) {
        EXPECT_EQ(heard.heard[request].tokens, expected.tokens);
        EXPECT_EQ(heard.heard[request].logits, expected.logits);
        EXPECT_EQ(heard.heard[request].stop, expected.stop);
      }
    }
  EXPECT_GT(refused, 0u);
}

/// State that cannot be cut comes back from snapshots, and what stayed of a
/// step is fed again.
TEST(SpeculationTest, RecurrentTargetsGoBackBySnapshots) {
  for (double temperature : {0.0, 1.0}) {
    TinyOptions options = withDraft(3);
    options.recurrent = true;
    auto session = open(options);
    Recorder plain, heard;
    for (uint64_t drafted : {0, 3}) {
      Recorder &recorder = drafted ? heard : plain;
      Generator generator(*session, recorder);
      ASSERT_TRUE(generator.speculate(drafted).ok());
      uint64_t seed = 0;
      for (const Tokens &prompt : kPrompts) {
        RequestOptions request = newTokens(20, temperature, ++seed);
        request.wantsLogits = seed % 2;
        ASSERT_TRUE(generator.add(prompt, request).ok());
      }
      finish(generator);
      EXPECT_EQ(session->freePages(), session->numPages());
    }
    EXPECT_GT(heard.accepted, 0u);
    EXPECT_LT(heard.accepted, heard.drafted);
    for (const auto &[request, expected] : plain.heard) {
      EXPECT_EQ(heard.heard[request].tokens, expected.tokens);
      EXPECT_EQ(heard.heard[request].logits, expected.logits);
      EXPECT_EQ(heard.heard[request].stop, expected.stop);
    }
    // Nothing is left of them.
    uint32_t sequence = *session->addSequence();
    session::step(*session, {{sequence, kPrompts[0], LogitsWanted::Last}});
    EXPECT_EQ(*session->keep(sequence), 0u);
  }
}

TEST(SpeculationTest, AnEndInsideAnAcceptedRunEndsTheText) {
  auto plain = open(withDraft(3));
  Recorder all;
  Generator whole(*plain, all);
  ASSERT_TRUE(whole.fixAcceptance(1).ok());
  RequestId request = *whole.add(kPrompts[0], newTokens(12, 0, 0));
  finish(whole);
  // With everything accepted, a step gives four tokens: the second of the third
  // step's, if it is new, stands in the middle of a run.
  const Tokens &tokens = all.heard[request].tokens;
  size_t last = 6;
  while (last < 11 &&
         std::count(tokens.begin(), tokens.begin() + ptrdiff_t(last),
                    tokens[last]))
    ++last;
  int32_t eos = tokens[last];
  auto session = open(withDraft(3), [&](schema::EngineT &engine) {
    engine.model->eos_token_ids = {uint32_t(eos)};
  });
  Recorder heard;
  Generator generator(*session, heard);
  ASSERT_TRUE(generator.fixAcceptance(1).ok());
  RequestOptions options = newTokens(12, 0, 0);
  options.ignoreEos = false;
  request = *generator.add(kPrompts[0], options);
  finish(generator);
  const Tokens &cut = heard.heard[request].tokens;
  EXPECT_EQ(cut.back(), eos);
  EXPECT_EQ(std::count(cut.begin(), cut.end(), eos), 1);
  EXPECT_EQ(heard.heard[request].stop, Stop::Eos);
  EXPECT_EQ(session->freePages(), session->numPages());
}

TEST(SpeculationTest, LimitsHoldInsideAnAcceptedRun) {
  auto session = open(withDraft(5));
  for (uint64_t count = 1; count <= 8; ++count) {
    Recorder heard;
    Generator generator(*session, heard);
    ASSERT_TRUE(generator.fixAcceptance(1).ok());
    RequestId request = *generator.add(kPrompts[0], newTokens(count, 0, 0));
    finish(generator);
    EXPECT_EQ(heard.heard[request].tokens.size(), count);
    EXPECT_EQ(heard.heard[request].stop, Stop::Length);
  }
  Recorder heard;
  Generator generator(*session, heard);
  ASSERT_TRUE(generator.fixAcceptance(1).ok());
  RequestId request = *generator.add(kPrompts[0], newTokens(100, 0, 0));
  finish(generator);
  // 3 of the prompt and 29 more are held; the one behind them is not fed.
  EXPECT_EQ(heard.heard[request].tokens.size(), 30u);
  EXPECT_EQ(heard.heard[request].stop, Stop::SequenceLimit);
  EXPECT_EQ(session->freePages(), session->numPages());
}

TEST(SpeculationTest, AListenerMayRemoveARequestInsideAnAcceptedRun) {
  auto session = open(withDraft(5));
  Recorder heard;
  Generator generator(*session, heard);
  ASSERT_TRUE(generator.fixAcceptance(1).ok());
  RequestId goes = *generator.add(kPrompts[0], newTokens(20, 0, 0)),
            stays = *generator.add(kPrompts[1], newTokens(20, 0, 0));
  heard.afterToken = [&](RequestId request) {
    if (request == goes && heard.heard[goes].tokens.size() == 4)
      EXPECT_TRUE(generator.remove(goes).ok());
  };
  finish(generator);
  EXPECT_EQ(heard.heard[goes].tokens.size(), 4u);
  EXPECT_FALSE(heard.heard[goes].stop);
  EXPECT_EQ(heard.heard[stays].tokens.size(), 20u);
  EXPECT_EQ(session->freePages(), session->numPages());
}

TEST(SpeculationTest, FixedAcceptanceKeepsItsMean) {
  auto session = open(withDraft(3));
  Recorder heard;
  Generator generator(*session, heard);
  ASSERT_TRUE(generator.fixAcceptance(0.5).ok());
  // 1 + 0.5 + 0.25 + 0.125 tokens a step: 15 tokens in 8 of them.
  RequestId request = *generator.add(kPrompts[1], newTokens(19, 0, 0));
  size_t steps = 0;
  for (; heard.heard[request].tokens.size() < 16; ++steps)
    ASSERT_TRUE(generator.step().ok());
  EXPECT_EQ(heard.heard[request].tokens.size(), 16u);
  EXPECT_EQ(steps, 9u); // the first one feeds the prompt
  EXPECT_EQ(generator.timing().acceptedTokens, 7u);
  EXPECT_EQ(generator.timing().verifications, 8u);
  EXPECT_EQ(generator.timing().draftedTokens, 24u); // three each
  EXPECT_EQ(generator.fixAcceptance(1.5).message(),
            "acceptance of drafted tokens: 1.5, expected 0 to 1");
}

/// A step gives a token as it would without, and has drafted K in vain.
TEST(SpeculationTest, ADraftThatIsNeverRightCostsItsStepsAndChangesNothing) {
  for (uint64_t count : {1, 3, 5}) {
    auto session = open(withDraft(5));
    Recorder plain, heard;
    size_t steps[2] = {};
    for (uint64_t drafted : {uint64_t(0), count}) {
      Recorder &recorder = drafted ? heard : plain;
      Generator generator(*session, recorder);
      ASSERT_TRUE(generator.speculate(drafted).ok());
      ASSERT_TRUE(generator.fixAcceptance(0).ok());
      ASSERT_TRUE(generator.add(kPrompts[0], newTokens(20, 0, 0)).ok());
      for (; generator.live() != 0; ++steps[drafted != 0])
        ASSERT_TRUE(generator.step().ok());
      // The prompt gives the first token, and the last one needs no draft.
      uint64_t verified = drafted ? 18 : 0;
      EXPECT_EQ(generator.timing().verifications, verified);
      EXPECT_EQ(generator.timing().acceptedTokens, 0u);
      // Near the limit there is room for fewer.
      uint64_t room = drafted * (drafted - (drafted != 0)) / 2;
      EXPECT_EQ(generator.timing().draftedTokens, drafted * verified - room);
    }
    EXPECT_EQ(steps[0], 20u);
    EXPECT_EQ(steps[1], 20u);
    EXPECT_EQ(heard.heard.begin()->second.tokens,
              plain.heard.begin()->second.tokens);
  }
}

TEST(SpeculationTest, RefusesMoreThanTheEngineVerifies) {
  Recorder heard;
  auto session = open(withDraft(3));
  EXPECT_EQ(Generator(*session, heard).speculate(4).message(),
            "4 drafted tokens: the engine verifies up to 3; ask for fewer or "
            "compile with --draft and --spec-tokens");
  auto plain = session::open({});
  EXPECT_EQ(Generator(*plain, heard).speculate(1).message(),
            "1 drafted tokens: the engine has no draft; ask for fewer or "
            "compile with --draft and --spec-tokens");
  EXPECT_TRUE(Generator(*plain, heard).speculate(0).ok());
}

/// Probabilities of the token behind `text`.
std::vector<double> distribution(session::Session &session,
                                 const Tokens &text) {
  uint32_t sequence = *session.addSequence();
  Rows row = session::step(session, {{sequence, text, LogitsWanted::Last}});
  EXPECT_TRUE(session.removeSequence(sequence).ok());
  std::vector<double> weights(kVocab);
  double sum = 0;
  for (size_t i = 0; i < kVocab; ++i)
    sum += weights[i] = std::exp(double(row[i]));
  for (double &weight : weights)
    weight /= sum;
  return weights;
}

/// The second and third tokens are mostly drafted ones that were accepted, or
/// what came in place of one that was not.
TEST(SpeculationTest, SampledTokensHaveTheModelsDistribution) {
  constexpr size_t kDraws = 12000, kLength = 3;
  auto session = open(withDraft(3));
  std::vector<std::vector<double>> expected(kLength,
                                            std::vector<double>(kVocab));
  auto visit = [&](auto &self, Tokens text, double probability) -> void {
    size_t place = text.size() - kPrompts[3].size();
    if (place == kLength)
      return;
    std::vector<double> next = distribution(*session, text);
    for (size_t token = 0; token < kVocab; ++token) {
      expected[place][token] += probability * next[token];
      Tokens longer = text;
      longer.push_back(int32_t(token));
      self(self, longer, probability * next[token]);
    }
  };
  visit(visit, kPrompts[3], 1);

  Recorder heard;
  Generator generator(*session, heard);
  for (size_t seed = 0; seed < kDraws; ++seed)
    ASSERT_TRUE(
        generator.add(kPrompts[3], newTokens(kLength, 1, seed + 1)).ok());
  finish(generator);
  EXPECT_GT(heard.accepted, kDraws / 10);
  EXPECT_LT(heard.accepted, heard.drafted);
  for (size_t place = 0; place < kLength; ++place) {
    std::vector<double> counts(kVocab);
    for (const auto &[request, each] : heard.heard)
      ++counts[size_t(each.tokens[place])];
    double chiSquare = 0;
    for (size_t token = 0; token < kVocab; ++token) {
      double mean = kDraws * expected[place][token];
      chiSquare += (counts[token] - mean) * (counts[token] - mean) / mean;
    }
    // 15 degrees of freedom: above 37.7 once in a thousand.
    EXPECT_LT(chiSquare, 37.7) << "token " << place;
  }
}

} // namespace
} // namespace saddle::generate
