// Chains of steps on a fake device, which runs the same code behind each step
// as a GPU does: texts, what was drafted and what was accepted must be those of
// the loop in which the host stands between steps.

#include "runtime/kernels/chain.h"
#include "runtime/src/generate/Generator.h"
#include "test/unit/cuda/DeviceSessions.h"

#include <map>
#include <set>

namespace saddle::cuda {
namespace {

using generate::Generator;
using generate::RequestId;
using generate::RequestOptions;
using generate::Stop;
using testing::HasSubstr;

const Tokens kPrompts[] = {{3, 1, 4}, {2, 7}, {9, 9, 8, 2, 6}, {5}, {1, 1, 1}};

struct Recorder : generate::Listener {
  struct Heard {
    Tokens tokens;
    std::vector<Tokens> drafts; // and how many of them were accepted
    std::optional<Stop> stop;
    bool operator==(const Heard &other) const {
      return tokens == other.tokens && drafts == other.drafts &&
             stop == other.stop;
    }
  };
  void onToken(RequestId request, int32_t token) override {
    EXPECT_FALSE(heard[request].stop);
    heard[request].tokens.push_back(token);
    if (afterToken)
      afterToken(request);
  }
  void onDrafts(RequestId request, Span<const int32_t> drafts,
                size_t accepted) override {
    Tokens all(drafts.begin(), drafts.end());
    all.push_back(int32_t(accepted));
    heard[request].drafts.push_back(all);
    acceptances.insert(accepted);
  }
  void onEnd(RequestId request, Stop stop, const Status &error) override {
    errors += error.message();
    heard[request].stop = stop;
  }
  std::map<RequestId, Heard> heard;
  std::set<size_t> acceptances;
  std::function<void(RequestId)> afterToken;
  std::string errors;
};

TinyOptions tinyOf(uint32_t tp, uint64_t drafts) {
  TinyOptions options;
  options.tp = tp;
  options.candidates = 1;
  options.maxSeqLen = 48;
  options.draft = drafts != 0;
  options.specTokens = drafts;
  return options;
}

/// A session on a fake device of its own.
struct OnDevice {
  explicit OnDevice(const TinyOptions &tiny, int32_t eos = -1,
                    SessionOptions options = {}) {
    auto description = deviceEngine(tiny);
    copyMainWeights(*description);
    if (eos >= 0)
      description->model->eos_token_ids = {uint32_t(eos)};
    engine = load(*description);
    fake.emplace(engine, int(engine->worldSize()));
    if (tiny.draft)
      options.otherWeights = {{"draft", "synthetic:7"}};
    auto made = makeSession(*fake, engine, options);
    EXPECT_TRUE(made.ok()) << made.status().message();
    session = std::move(*made);
  }
  ~OnDevice() { session.reset(); }

  size_t launchesOf(const std::string &function) const {
    size_t count = 0;
    for (const FakeDevice::Launch &launch : fake->launches())
      count += launch.function == function;
    return count;
  }

  std::shared_ptr<const Engine> engine;
  std::optional<FakeDevice> fake;
  std::unique_ptr<session::Session> session;
};

RequestOptions newTokens(uint64_t count) {
  RequestOptions options;
  options.maxNewTokens = count;
  options.ignoreEos = true;
  return options;
}

void finish(Generator &generator) {
  for (int steps = 0; generator.live() != 0 && steps < 10000; ++steps) {
    Status status = generator.step();
    ASSERT_TRUE(status.ok()) << status.message();
  }
}

/// All prompts, in chains of so many steps; four at a time.
Recorder runAll(session::Session &session, uint64_t steps, uint64_t length,
                std::optional<double> acceptance = std::nullopt) {
  Recorder recorder;
  Generator generator(session, recorder);
  EXPECT_TRUE(generator.chain(steps).ok());
  if (acceptance)
    EXPECT_TRUE(generator.fixAcceptance(*acceptance).ok());
  for (const Tokens &prompt : kPrompts)
    EXPECT_TRUE(generator.add(prompt, newTokens(length + prompt.size())).ok());
  finish(generator);
  EXPECT_EQ(session.freePages(), session.numPages());
  return recorder;
}

struct Shape {
  uint32_t tp;
  uint64_t drafts;
};
class ChainTest : public testing::TestWithParam<Shape> {
protected:
  TinyOptions tiny() const { return tinyOf(GetParam().tp, GetParam().drafts); }
  /// What the host's loop says behind the first prompt.
  Tokens firstText() const {
    OnDevice device(tiny());
    return runAll(*device.session, 1, 20).heard[0].tokens;
  }
};

TEST_P(ChainTest, TextsAndDraftsAreThoseOfTheHostsLoop) {
  for (uint64_t length : {1, 9, 30}) {
    OnDevice device(tiny());
    Recorder host = runAll(*device.session, 1, length);
    EXPECT_EQ(device.launchesOf(device::kChainKernel), 0u);
    for (uint64_t steps : {2, 3, 8, 32}) {
      Recorder chained = runAll(*device.session, steps, length);
      EXPECT_EQ(chained.heard, host.heard) << steps << " of " << length;
    }
    if (length == 30) {
      EXPECT_GT(device.launchesOf(device::kChainKernel), 0u);
      if (GetParam().drafts > 1)
        EXPECT_GT(host.acceptances.size(), 2u);
    }
    for (const FakeDevice::Launch &launch : device.fake->launches())
      EXPECT_TRUE(launch.isReplay) << launch.function;
  }
}

TEST_P(ChainTest, TheHostBringsInputsOnceAndReadsNoOutputs) {
  OnDevice device(tiny());
  Recorder recorder;
  Generator generator(*device.session, recorder);
  ASSERT_TRUE(generator.chain(4).ok());
  RequestId request = *generator.add(kPrompts[0], newTokens(40));
  ASSERT_TRUE(generator.step().ok()); // the prompt
  device.fake->clear();
  ASSERT_TRUE(generator.step().ok());
  EXPECT_GE(recorder.heard[request].tokens.size(), 5u);
  uint64_t drafts = GetParam().drafts, tp = GetParam().tp;
  EXPECT_EQ(device.launchesOf(device::kChainKernel),
            4 * std::max<uint64_t>(1, drafts) * tp +
                (drafts != 0 ? 4 * tp : 0));
  EXPECT_EQ(device.fake->bytesToHost(), 0u);
  // Header with inputs, and the chain; none of them is of a graph.
  EXPECT_LE(device.fake->copiesToDevice().size(), 3 * tp);
  for (const FakeDevice::Copy &copy : device.fake->copiesToDevice())
    EXPECT_FALSE(copy.isReplay);
}

TEST_P(ChainTest, AnEndEndsTheText) {
  // Tokens that the first text has in its midst, and others, too, or not.
  const Tokens text = firstText();
  std::set<int32_t> tried;
  for (size_t place = 3; place < text.size() && tried.size() < 4; ++place) {
    if (!tried.insert(text[place]).second)
      continue;
    OnDevice device(tiny(), text[place]);
    std::map<RequestId, Recorder::Heard> expected;
    for (uint64_t steps : {1, 2, 8}) {
      Recorder recorder;
      Generator generator(*device.session, recorder);
      ASSERT_TRUE(generator.chain(steps).ok());
      for (const Tokens &prompt : kPrompts) {
        RequestOptions options = newTokens(20);
        options.ignoreEos = prompt.size() == 2; // one goes on behind it
        ASSERT_TRUE(generator.add(prompt, options).ok());
      }
      finish(generator);
      EXPECT_EQ(device.session->freePages(), device.session->numPages());
      if (steps == 1)
        expected = recorder.heard;
      EXPECT_EQ(recorder.heard, expected) << steps;
      EXPECT_EQ(recorder.heard[0].stop, Stop::Eos);
      EXPECT_EQ(recorder.heard[1].stop, Stop::Length);
    }
  }
  EXPECT_GT(tried.size(), 1u);
}

TEST_P(ChainTest, BehindTheEndOfAllNothingIsComputed) {
  OnDevice device(tiny(), firstText()[2]);
  Recorder recorder;
  Generator generator(*device.session, recorder);
  ASSERT_TRUE(generator.chain(16).ok());
  RequestOptions options = newTokens(40);
  options.ignoreEos = false;
  ASSERT_TRUE(generator.add(kPrompts[0], options).ok());
  size_t empty = 0, full = 0;
  device.fake->intercept = [&](const std::string &function,
                               const device::LaunchParams &params) {
    if (function != device::kChainKernel)
      ++(params.step->counts[1] == 0 ? empty : full);
    return false;
  };
  finish(generator);
  EXPECT_EQ(recorder.heard[0].stop, Stop::Eos);
  EXPECT_GT(empty, 2 * full);
}

TEST_P(ChainTest, FullSequencesEndWhereTheyWould) {
  OnDevice device(tiny());
  std::vector<Recorder> recorders;
  for (uint64_t steps : {1, 8, 32}) {
    recorders.push_back(runAll(*device.session, steps, 1000));
    for (const auto &[request, heard] : recorders.back().heard)
      EXPECT_EQ(heard.stop, Stop::SequenceLimit);
    EXPECT_EQ(recorders.back().heard, recorders[0].heard) << steps;
  }
}

TEST_P(ChainTest, AListenerMayRemoveARequestInAChain) {
  OnDevice device(tiny());
  Recorder host = runAll(*device.session, 1, 25), recorder;
  Generator generator(*device.session, recorder);
  RequestId goes = *generator.add(kPrompts[0], newTokens(28)),
            stays = *generator.add(kPrompts[1], newTokens(27));
  recorder.afterToken = [&](RequestId request) {
    if (request == goes && recorder.heard[goes].tokens.size() == 6)
      EXPECT_TRUE(generator.remove(goes).ok());
  };
  finish(generator);
  EXPECT_EQ(recorder.heard[goes].tokens.size(), 6u);
  EXPECT_FALSE(recorder.heard[goes].stop);
  EXPECT_EQ(recorder.heard[stays].tokens, host.heard[1].tokens);
  EXPECT_EQ(device.session->freePages(), device.session->numPages());
}

TEST_P(ChainTest, SampledAndWatchedRequestsKeepTheHost) {
  OnDevice device(tiny());
  for (bool samples : {true, false}) {
    Recorder recorder;
    Generator generator(*device.session, recorder);
    RequestOptions options = newTokens(9);
    options.wantsLogits = !samples;
    options.sampling.temperature = samples ? 1 : 0;
    ASSERT_TRUE(generator.add(kPrompts[0], options).ok());
    ASSERT_TRUE(generator.add(kPrompts[1], newTokens(9)).ok());
    finish(generator);
  }
  device.session->setTrace([](const session::TraceEvent &) {});
  runAll(*device.session, 8, 9);
  EXPECT_EQ(device.launchesOf(device::kChainKernel), 0u);
}

TEST_P(ChainTest, ADeviceThatFailsEndsTheChain) {
  OnDevice device(tiny());
  Recorder recorder;
  Generator generator(*device.session, recorder);
  ASSERT_TRUE(generator.add(kPrompts[0], newTokens(30)).ok());
  ASSERT_TRUE(generator.step().ok());
  device.fake->failure = CUDA_ERROR_LAUNCH_FAILED;
  device.fake->failingCall = device.fake->calls() + 9;
  Status status = generator.step();
  EXPECT_THAT(status.message(), HasSubstr("it was asked to fail"));
  EXPECT_EQ(generator.step().message(), status.message());
}

INSTANTIATE_TEST_SUITE_P(Shapes, ChainTest,
                         testing::Values(Shape{1, 0}, Shape{2, 0}, Shape{1, 1},
                                         Shape{1, 3}, Shape{2, 3}, Shape{4, 2}),
                         [](const testing::TestParamInfo<Shape> &info) {
                           return "tp" + std::to_string(info.param.tp) +
                                  "drafts" + std::to_string(info.param.drafts);
                         });

TEST(ChainOfDraftsTest, FixedAcceptanceIsTheHosts) {
  OnDevice device(tinyOf(1, 3));
  for (double share : {0.0, 0.4, 0.8, 1.0}) {
    Recorder host = runAll(*device.session, 1, 25, share);
    for (uint64_t steps : {2, 8})
      EXPECT_EQ(runAll(*device.session, steps, 25, share).heard, host.heard)
          << share;
  }
}

TEST(ChainOfDraftsTest, FewerDraftsThanTheEngineVerifiesKeepTheHost) {
  OnDevice device(tinyOf(1, 3));
  for (uint64_t drafts : {0, 2}) {
    Recorder recorder;
    Generator generator(*device.session, recorder);
    ASSERT_TRUE(generator.speculate(drafts).ok());
    ASSERT_TRUE(generator.add(kPrompts[0], newTokens(20)).ok());
    device.fake->clear();
    finish(generator);
    // Without drafts steps of the model alone are chained.
    EXPECT_EQ(device.launchesOf(device::kChainKernel) != 0, drafts == 0);
  }
}

/// A session that chains, from its beginning to its end.
Status wholeLife(FakeDevice &fake, std::shared_ptr<const Engine> engine) {
  SessionOptions options;
  options.otherWeights = {{"draft", "synthetic:7"}};
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<session::Session> session,
                          makeSession(fake, engine, options));
  Recorder recorder;
  Generator generator(*session, recorder);
  SADDLE_RETURN_IF_ERROR(generator.add(kPrompts[0], newTokens(14)).status());
  while (generator.live() != 0)
    SADDLE_RETURN_IF_ERROR(generator.step());
  return {};
}

TEST(ChainOfDraftsTest, EveryCallOfTheDriverMayFail) {
  auto description = deviceEngine(tinyOf(2, 2));
  copyMainWeights(*description);
  auto engine = load(*description);
  uint64_t calls = 0, withoutHarm = 0;
  {
    FakeDevice fake(engine, 2);
    Status status = wholeLife(fake, engine);
    ASSERT_TRUE(status.ok()) << status.message();
    calls = fake.calls();
  }
  for (uint64_t k = 1; k <= calls; ++k) {
    FakeDevice fake(engine, 2);
    fake.failingCall = k;
    Status status = wholeLife(fake, engine);
    withoutHarm += status.ok();
    if (!status.ok())
      EXPECT_THAT(status.message(), HasSubstr("it was asked to fail")) << k;
  }
  // Those of destructors, and of events that are asked again.
  EXPECT_LT(withoutHarm, calls / 8);
  std::printf("[  WALKED  ] %llu calls of the driver, %llu without harm\n",
              (unsigned long long)calls, (unsigned long long)withoutHarm);
}

TEST(ChainOfDraftsTest, LengthsOfChainsAreChecked) {
  OnDevice device(tinyOf(1, 0));
  Recorder recorder;
  Generator generator(*device.session, recorder);
  EXPECT_EQ(generator.chain(0).message(),
            "chains of 0 steps: expected 1 to 32");
  EXPECT_EQ(generator.chain(33).message(),
            "chains of 33 steps: expected 1 to 32");
}

} // namespace
} // namespace saddle::cuda
