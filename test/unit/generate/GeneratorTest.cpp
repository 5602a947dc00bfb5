// Continuous batching on the tiny engine: what ends a request, who waits for
// whom, and that neighbours do not matter. The expected tokens come from plain
// steps of one sequence.

#include "runtime/src/generate/Generator.h"
#include "test/unit/base/TemporaryFolder.h"
#include "test/unit/session/Sessions.h"
#include "test/unit/weights/TestCheckpoint.h"

#include <map>

namespace saddle::generate {
namespace {

using session::kVocab;
using session::LogitsWanted;
using session::Rows;
using session::Tokens;

/// Keeps what a generator says.
class Recorder : public Listener {
public:
  struct Heard {
    Tokens tokens;
    Rows logits;
    std::optional<Stop> stop;
    Status error;
  };

  void onLogits(RequestId request, const float *rows, size_t count) override {
    EXPECT_FALSE(heard[request].stop);
    Rows &all = heard[request].logits;
    all.insert(all.end(), rows, rows + count * kVocab);
  }
  void onToken(RequestId request, int32_t token) override {
    EXPECT_FALSE(heard[request].stop);
    heard[request].tokens.push_back(token);
    if (afterToken)
      afterToken(request);
  }
  void onEnd(RequestId request, Stop stop, const Status &error) override {
    EXPECT_FALSE(heard[request].stop);
    heard[request].stop = stop;
    heard[request].error = error;
    order.push_back(request);
  }

  std::map<RequestId, Heard> heard;
  std::vector<RequestId> order; // in which they ended
  std::function<void(RequestId)> afterToken;
};

/// What the seed's model says shall not matter, so nothing ends it early.
RequestOptions newTokens(uint64_t count) {
  RequestOptions options;
  options.maxNewTokens = count;
  options.ignoreEos = true;
  return options;
}

/// Steps until nothing is left; how often.
size_t finish(Generator &generator) {
  size_t steps = 0;
  for (; generator.live() != 0; ++steps) {
    Status status = generator.step();
    EXPECT_TRUE(status.ok()) << status.message();
    if (!status.ok() || steps > 100)
      break;
  }
  return steps;
}

/// The greedy continuation, token by token.
Tokens greedy(session::Session &session, Tokens prompt, size_t count) {
  uint32_t sequence = *session.addSequence();
  Tokens result, fed = std::move(prompt);
  while (result.size() < count) {
    Rows row = session::step(session, {{sequence, fed, LogitsWanted::Last}});
    result.push_back(
        int32_t(std::max_element(row.begin(), row.end()) - row.begin()));
    fed = {result.back()};
  }
  EXPECT_TRUE(session.removeSequence(sequence).ok());
  return result;
}

Tokens greedy(const TinyOptions &tiny, const Tokens &prompt, size_t count) {
  return greedy(*session::open(tiny), prompt, count);
}

const Tokens kFirst = {3, 1, 4}, kSecond = {2, 7}, kThird = {9, 9, 8, 2, 6};

TEST(GeneratorTest, MaxNewTokensEndARequest) {
  auto session = session::open({});
  Recorder heard;
  Generator generator(*session, heard);
  RequestId some = *generator.add(kFirst, newTokens(5)),
            none = *generator.add(kSecond, newTokens(0));
  EXPECT_EQ(generator.live(), 2u);
  EXPECT_EQ(finish(generator), 5u);
  EXPECT_EQ(heard.heard[some].tokens, greedy({}, kFirst, 5));
  EXPECT_EQ(heard.heard[some].stop, Stop::Length);
  EXPECT_EQ(heard.heard[none].tokens, Tokens{});
  EXPECT_EQ(heard.heard[none].stop, Stop::Length);
  EXPECT_EQ(heard.order, (std::vector<RequestId>{none, some}));
  EXPECT_EQ(session->freePages(), session->numPages());
  // Both prompts in the first step, then one token at a time.
  EXPECT_EQ(generator.timing().prefillTokens, 5u);
  EXPECT_EQ(generator.timing().decodeTokens, 4u);
  EXPECT_TRUE(generator.step().ok()); // nothing to do
}

TEST(GeneratorTest, AnEndOfSequenceTokenEndsARequestUnlessIgnored) {
  // The end is the first token that differs from the very first one.
  Tokens expected = greedy({}, kFirst, 8);
  size_t last = 1;
  while (last < 7 && expected[last] == expected[0])
    ++last;
  ASSERT_NE(expected[last], expected[0]);
  auto description = tinyEngine({});
  description->model->eos_token_ids = {uint32_t(expected[last])};
  auto session = session::Session::create(session::engineOf(*description),
                                          "synthetic:7", {});
  ASSERT_TRUE(session.ok()) << session.status().message();
  Recorder heard;
  Generator generator(**session, heard);
  RequestOptions heeding = newTokens(8);
  heeding.ignoreEos = false;
  RequestId ends = *generator.add(kFirst, heeding),
            ignores = *generator.add(kFirst, newTokens(8));
  finish(generator);
  EXPECT_EQ(heard.heard[ends].tokens,
            Tokens(expected.begin(), expected.begin() + ptrdiff_t(last) + 1));
  EXPECT_EQ(heard.heard[ends].stop, Stop::Eos);
  EXPECT_EQ(heard.heard[ignores].tokens, expected);
  EXPECT_EQ(heard.heard[ignores].stop, Stop::Length);
}

TEST(GeneratorTest, TheLongestSequenceEndsARequest) {
  auto session = session::open({});
  Recorder heard;
  Generator generator(*session, heard);
  RequestId request = *generator.add(session::kPrompt, newTokens(100));
  finish(generator);
  // 11 tokens of the prompt and 5 more are held; the sixth is not fed.
  EXPECT_EQ(heard.heard[request].tokens, greedy({}, session::kPrompt, 6));
  EXPECT_EQ(heard.heard[request].stop, Stop::SequenceLimit);
}

/// Seven requests on two slots: they start in order, and each goes on as if it
/// were alone.
TEST(GeneratorTest, MorePromptsThanSlotsTakeTurns) {
  TinyOptions tiny;
  tiny.maxBatch = 2;
  auto session = session::open(tiny);
  Recorder heard;
  Generator generator(*session, heard);
  const Tokens prompts[] = {kFirst, kSecond, kThird};
  std::vector<RequestId> ids;
  for (size_t i = 0; i < 7; ++i)
    ids.push_back(*generator.add(prompts[i % 3], newTokens(1 + i % 4)));
  finish(generator);
  for (size_t i = 0; i < 7; ++i)
    EXPECT_EQ(heard.heard[ids[i]].tokens,
              greedy(tiny, prompts[i % 3], 1 + i % 4));
  // Lengths are 1 2 3 4 1 2 3: 2 runs in steps 2 to 4, 3 in 3 to 6, 4 in 5.
  EXPECT_EQ(heard.order, (std::vector<RequestId>{0, 1, 2, 4, 3, 5, 6}));
  EXPECT_EQ(session->freePages(), session->numPages());
}

/// Pages for the whole life are kept, so that nobody runs out in the middle.
TEST(GeneratorTest, ARequestWaitsForItsPages) {
  session::SessionOptions options;
  options.kvTokens = 16; // 4 pages
  auto session = session::open({}, options);
  Recorder heard;
  Generator generator(*session, heard);
  RequestId large = *generator.add(kFirst, newTokens(8)), // 10 tokens, 3 pages
      next = *generator.add(kThird, newTokens(4)),        // 8 tokens, 2 pages
      small = *generator.add(kSecond, newTokens(1));      // 2 tokens, 1 page
  ASSERT_TRUE(generator.step().ok());
  EXPECT_EQ(heard.heard[large].tokens.size(), 1u);
  EXPECT_EQ(heard.heard.count(next) + heard.heard.count(small), 0u);
  finish(generator);
  EXPECT_EQ(heard.heard[large].tokens, greedy({}, kFirst, 8));
  EXPECT_EQ(heard.heard[next].tokens, greedy({}, kThird, 4));
  EXPECT_EQ(heard.heard[small].tokens, greedy({}, kSecond, 1));
}

TEST(GeneratorTest, LogitsOfEveryFedToken) {
  TinyOptions tiny;
  tiny.candidates = 2;
  auto session = session::open(tiny);
  Recorder heard;
  Generator generator(*session, heard);
  RequestOptions options = newTokens(3);
  options.wantsLogits = true;
  RequestId with = *generator.add(kFirst, options),
            without = *generator.add(kSecond, newTokens(3));
  finish(generator);
  Tokens all = kFirst;
  all.insert(all.end(), heard.heard[with].tokens.begin(),
             heard.heard[with].tokens.end() - 1);
  EXPECT_EQ(heard.heard[with].logits, session::wholePrompt(tiny, all));
  EXPECT_EQ(heard.heard[without].logits, Rows{});
  EXPECT_EQ(heard.heard[without].tokens, greedy({}, kSecond, 3));
}

/// Greedy requests use candidates until one comes that needs whole rows.
TEST(GeneratorTest, CandidatesGiveTheSameTokens) {
  TinyOptions tiny;
  tiny.candidates = 2;
  auto session = session::open(tiny);
  Recorder heard;
  Generator generator(*session, heard);
  RequestOptions drawing = newTokens(2);
  drawing.ignoreEos = true;
  drawing.sampling = {1.0, 0, 0.9, 5};
  RequestId first = *generator.add(kFirst, newTokens(4));
  ASSERT_TRUE(generator.step().ok());
  RequestId drawn = *generator.add(kSecond, drawing);
  finish(generator);
  EXPECT_EQ(heard.heard[first].tokens, greedy({}, kFirst, 4));
  EXPECT_EQ(heard.heard[drawn].tokens.size(), 2u);
}

/// Token 9 has an embedding that is no number. Its request ends with the
/// sampler's error, and its neighbour does not notice.
TEST(GeneratorTest, TheErrorOfOneRequestIsItsOwn) {
  auto description = tinyEngine({});
  std::vector<TestTensor> tensors = testTensors(*description);
  for (TestTensor &tensor : tensors)
    if (tensor.name == "model.embed_tokens.weight")
      for (size_t i = 0; i < 8; ++i) { // bf16, little-endian
        tensor.data[(9 * 8 + i) * 2] = '\xc0';
        tensor.data[(9 * 8 + i) * 2 + 1] = '\x7f';
      }
  TemporaryFolder folder;
  folder.write("model.safetensors", safetensors(tensors));
  auto session = session::Session::create(session::engineOf(*description),
                                          folder.path(""), {});
  ASSERT_TRUE(session.ok()) << session.status().message();
  Tokens expected = greedy(**session, kFirst, 3);
  Recorder heard;
  Generator generator(**session, heard);
  RequestId bad = *generator.add(kThird, newTokens(3)),
            good = *generator.add(kFirst, newTokens(3));
  finish(generator);
  EXPECT_EQ(heard.heard[bad].stop, Stop::Error);
  EXPECT_THAT(heard.heard[bad].error.message(), session::HasSubstr("nan"));
  EXPECT_EQ(heard.heard[bad].tokens, Tokens{});
  EXPECT_EQ(heard.heard[good].stop, Stop::Length);
  EXPECT_EQ(heard.heard[good].tokens, expected);
  EXPECT_EQ((*session)->freePages(), 16u);
}

TEST(GeneratorTest, RequestsComeAndGoAtAnyTime) {
  auto session = session::open({});
  Recorder heard;
  Generator generator(*session, heard);
  RequestId first = *generator.add(kFirst, newTokens(6)),
            second = *generator.add(kSecond, newTokens(6)), third = 0;
  size_t count = 0;
  heard.afterToken = [&](RequestId request) {
    if (request != first || ++count != 2)
      return;
    // The neighbour's row of this step has not been looked at yet.
    EXPECT_TRUE(generator.remove(second).ok());
    third = *generator.add(kThird, newTokens(2));
    EXPECT_EQ(generator.live(), 2u);
  };
  finish(generator);
  EXPECT_EQ(heard.heard[first].tokens, greedy({}, kFirst, 6));
  EXPECT_EQ(heard.heard[second].tokens.size(), 1u);
  EXPECT_FALSE(heard.heard[second].stop);
  EXPECT_EQ(heard.heard[third].tokens, greedy({}, kThird, 2));
  EXPECT_EQ(generator.remove(second).message(),
            "request 1 does not exist or has ended");
  EXPECT_EQ(generator.remove(99).code(), StatusCode::InvalidArgument);
  heard.afterToken = nullptr;
  RequestId waiting = *generator.add(kFirst, newTokens(2));
  EXPECT_TRUE(generator.remove(waiting).ok());
  RequestId stepped = *generator.add(kFirst, newTokens(3));
  ASSERT_TRUE(generator.step().ok());
  EXPECT_TRUE(generator.remove(stepped).ok());
  EXPECT_EQ(generator.live(), 0u);
  EXPECT_EQ(session->freePages(), session->numPages());
}

TEST(GeneratorTest, DestructionFreesItsSequences) {
  auto session = session::open({});
  Recorder heard;
  {
    Generator generator(*session, heard);
    ASSERT_TRUE(generator.add(kFirst, newTokens(6)).ok());
    ASSERT_TRUE(generator.step().ok());
    EXPECT_EQ(session->freePages(), 15u);
  }
  EXPECT_EQ(session->freePages(), session->numPages());
}

TEST(GeneratorTest, BadRequestsAreRefused) {
  auto session = session::open({});
  Recorder heard;
  Generator generator(*session, heard);
  auto refused = [&](Span<const int32_t> prompt,
                     const RequestOptions &options = {}) {
    Status status = generator.add(prompt, options).status();
    EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
    return status.message();
  };
  EXPECT_EQ(refused({}), "the prompt has 0 tokens, expected 1 to the engine's "
                         "max_seq_len = 16");
  EXPECT_EQ(refused(Span<const int32_t>(kFirst.data(), SIZE_MAX / 4)),
            "the prompt has 4611686018427387903 tokens, expected 1 to the "
            "engine's max_seq_len = 16");
  EXPECT_EQ(refused(Tokens{1, 16}),
            "token 1 of the prompt is 16, but the vocabulary has 16 tokens");
  EXPECT_EQ(refused(Tokens{-1}),
            "token 0 of the prompt is -1, but the vocabulary has 16 tokens");
  EXPECT_EQ(refused(Tokens(17, 1)), "the prompt has 17 tokens, expected 1 to "
                                    "the engine's max_seq_len = 16");
  auto longest = generator.add(Tokens(16, 1), newTokens(1));
  EXPECT_TRUE(longest.ok()) << longest.status().message();
  EXPECT_TRUE(generator.remove(*longest).ok());
  RequestOptions options;
  options.sampling.topP = 2;
  EXPECT_THAT(refused(kFirst, options), session::HasSubstr("top-p 2"));
  EXPECT_EQ(generator.live(), 0u);
}

TEST(GeneratorTest, MorePagesThanThereAreAreRefused) {
  session::SessionOptions little;
  little.kvTokens = 8; // two pages
  auto session = session::open({}, little);
  Recorder heard;
  Generator generator(*session, heard);
  // The last new token is not fed: 5 + 3 tokens fill two pages, 5 + 4 do not.
  EXPECT_TRUE(generator.add(Tokens{1, 2, 3, 4, 5}, newTokens(4)).ok());
  Status status = generator.add(Tokens{1, 2, 3, 4, 5}, newTokens(5)).status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_EQ(status.message(),
            "the request may need 3 KV pages, but an attention replica has 2; "
            "ask for fewer new tokens or more --kv-tokens");
}

/// Replicas have slots and pages of their own.
TEST(GeneratorTest, ReplicasShareTheWork) {
  TinyOptions tiny;
  tiny.tp = 2;
  tiny.dp = 2;
  tiny.maxBatch = 1;
  auto session = session::open(tiny);
  Recorder heard;
  Generator generator(*session, heard);
  const Tokens prompts[] = {kFirst, kSecond, kThird};
  for (const Tokens &prompt : prompts)
    ASSERT_TRUE(generator.add(prompt, newTokens(3)).ok());
  finish(generator);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(heard.heard[i].tokens, greedy(tiny, prompts[i], 3));
}

/// A broken session says so, and the generator can go.
TEST(GeneratorTest, TheSessionsErrorsComeThrough) {
  session::SessionOptions options;
  options.beforeCommand = [](uint32_t,
                             const char *) -> StatusOr<backend::Fault> {
    return makeError(StatusCode::Internal, "asked to fail");
  };
  auto session = session::open({}, options);
  Recorder heard;
  Generator generator(*session, heard);
  ASSERT_TRUE(generator.add(kFirst, newTokens(3)).ok());
  Status status = generator.step();
  EXPECT_EQ(status.code(), StatusCode::Internal);
  EXPECT_THAT(status.message(), session::HasSubstr("asked to fail"));
  EXPECT_EQ(generator.step().message(), status.message());
}

} // namespace
} // namespace saddle::generate
