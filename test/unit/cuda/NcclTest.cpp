// All-reduces by NCCL: a library that records what it is asked, on a fake
// device that adds for it.

#include "test/unit/cuda/FakeNccl.h"

#include "test/unit/cuda/DeviceSessions.h"

#include <cstring>
#include <dlfcn.h>

namespace saddle::cuda {

FakeNccl &FakeNccl::get() {
  void *library = dlopen(SADDLE_FAKE_NCCL, RTLD_NOW | RTLD_LOCAL);
  auto *get = reinterpret_cast<FakeNccl *(*)()>(dlsym(library, "fakeNccl"));
  return *get();
}

void FakeNccl::reset() {
  version = 22809;
  failing.clear();
  hasTexts = true;
  failingCall = callCount = 0;
  liveComms.clear();
  onAllReduce = nullptr;
  onAbort = onDestroy = onFailure = nullptr;
  calls.clear();
}

size_t FakeNccl::count(const std::string &prefix) {
  std::lock_guard<std::mutex> lock(mutex);
  return size_t(
      std::count_if(calls.begin(), calls.end(), [&](const std::string &call) {
        return call.rfind(prefix, 0) == 0;
      }));
}

namespace {

using session::kPrompt;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

// The tiny model on two ranks adds up hidden states (8 f32, or 32 bytes, a
// token) three times in its one layer: behind the embedding, attention and
// experts. Its decode entry has room for 4 tokens, its prefill entry for 8. The
// other sums, of squares, are 2 f32 a token.
constexpr uint64_t kDecodeBytes = 4 * 32, kPrefillBytes = 8 * 32;

class NcclTest : public testing::Test {
protected:
  NcclTest() : nccl(FakeNccl::get()) { nccl.reset(); }
  ~NcclTest() override { nccl.reset(); }

  static TinyOptions twoRanks() {
    TinyOptions tiny;
    tiny.tp = 2;
    return tiny;
  }
  SessionOptions above(uint64_t bytes) {
    SessionOptions options;
    options.ncclLibrary = SADDLE_FAKE_NCCL;
    options.ncclAboveBytes = bytes;
    return options;
  }
  /// Lets `fake` add; not in groups, which one thread calls for all ranks.
  void addOn(FakeDevice &fake) {
    nccl.onAllReduce = [&fake](const FakeNccl::AllReduce &sum) {
      EXPECT_EQ(sum.type, NcclType::F32);
      if (!sum.isGrouped)
        fake.enqueueAllReduce(sum.input, sum.output, sum.elements, sum.stream);
    };
  }
  static Rows decodeAndPrefill(session::Session &session) {
    uint32_t sequence = *session.addSequence();
    Rows rows =
        session::step(session, {{sequence, kPrompt, LogitsWanted::All}});
    Rows more = session::step(
        session, {{sequence, {kPrompt.data(), 1}, LogitsWanted::Last}});
    rows.insert(rows.end(), more.begin(), more.end());
    return rows;
  }
  /// The error of a session on two devices.
  Status errorOf(const SessionOptions &options, int devices = 2) {
    auto engine = load(*deviceEngine(twoRanks()));
    FakeDevice fake(engine, devices);
    return makeSession(fake, engine, options).status();
  }

  FakeNccl &nccl;
};

//===--- Binding ----------------------------------------------------------===//

TEST_F(NcclTest, WhatIsNoNcclIsRefused) {
  Status status = Nccl::bind("libnowhere.so.7").status();
  EXPECT_EQ(status.code(), StatusCode::Unsupported);
  EXPECT_THAT(status.message(),
              HasSubstr("NCCL cannot be loaded: libnowhere.so.7: "));
  EXPECT_THAT(status.message(), HasSubstr("; name a libnccl.so.2 of NCCL 2.18 "
                                          "or newer, or leave NCCL out"));
  EXPECT_EQ(Nccl::bind("libc.so.6").status().message(),
            "libc.so.6 has no ncclGetVersion; name a libnccl.so.2 of NCCL 2.18 "
            "or newer, or leave NCCL out");
  nccl.version = 21708;
  EXPECT_THAT(Nccl::bind(SADDLE_FAKE_NCCL).status().message(),
              HasSubstr(" is of version code 21708, expected 21800 or more; "));
  nccl.version = 21800;
  EXPECT_TRUE(Nccl::bind(SADDLE_FAKE_NCCL).ok());
  EXPECT_STREQ(std::getenv("NCCL_NVLS_ENABLE"), "0");
}

TEST_F(NcclTest, ASessionThatCannotHaveItIsRefused) {
  SessionOptions options = above(0);
  options.shareDevices = true;
  EXPECT_EQ(errorOf(options, 1).message(),
            "tiny: NCCL needs a device for each rank, but 2 ranks share 1; do "
            "without --nccl or without --share-devices");
  options.ncclLibrary = "libnowhere.so.7";
  EXPECT_THAT(errorOf(options).message(),
              HasSubstr("tiny: NCCL cannot be loaded: libnowhere.so.7"));
  Status status = session::Session::create(session::engineOf(*tinyEngine({})),
                                           "synthetic:7", above(0))
                      .status();
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_EQ(status.message(),
            "tiny is for target \"cpu\", whose ranks exchange "
            "in memory; do without NCCL (--nccl)");
}

//===--- What it does -----------------------------------------------------===//

TEST_F(NcclTest, SumsAreChosenByBytes) {
  auto engine = load(*deviceEngine(twoRanks()));
  const Rows expected = decodeAndPrefill(*session::open(twoRanks()));
  struct {
    uint64_t above;
    size_t decodeSums, prefillSums; // of each rank
  } cases[] = {{kDecodeBytes, 3, 3},
               {kDecodeBytes + 1, 0, 3},
               {kPrefillBytes, 0, 3},
               {kPrefillBytes + 1, 0, 0}};
  for (const auto &each : cases) {
    nccl.reset();
    FakeDevice fake(engine, 2);
    addOn(fake);
    auto session = makeSession(fake, engine, above(each.above));
    ASSERT_TRUE(session.ok()) << session.status().message();
    // Once at first, then captured.
    for (const char *rank : {"sum 0 ", "sum 1 "}) {
      EXPECT_EQ(nccl.count(rank + std::string("32")),
                each.decodeSums + (each.decodeSums ? 1 : 0));
      EXPECT_EQ(nccl.count(rank + std::string("64")),
                each.prefillSums + (each.prefillSums ? 1 : 0));
    }
    size_t calls = nccl.count("");
    EXPECT_EQ(calls == 0, each.prefillSums == 0);
    EXPECT_EQ(decodeAndPrefill(**session), expected);
    EXPECT_EQ(nccl.count(""), calls) << "graphs are replayed";
  }
}

TEST_F(NcclTest, BeginsWithAllRanksTogether) {
  auto engine = load(*deviceEngine(twoRanks()));
  FakeDevice fake(engine, 2);
  std::vector<bool> grouped;
  nccl.onAllReduce = [&](const FakeNccl::AllReduce &sum) {
    std::lock_guard<std::mutex> lock(nccl.mutex);
    grouped.push_back(sum.isGrouped);
  };
  auto session = makeSession(fake, engine, above(kPrefillBytes));
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_GE(nccl.calls.size(), 5u);
  EXPECT_THAT(
      std::vector<std::string>(nccl.calls.begin(), nccl.calls.begin() + 5),
      ElementsAre("id", "init 0/2", "init 1/2", "sum 0 64", "sum 1 64"));
  EXPECT_THAT(grouped, ElementsAre(true, true, false, false, false, false,
                                   false, false));
}

TEST_F(NcclTest, GroupsOfTheSameAxesHaveCommunicatorsOfTheirOwn) {
  TinyOptions tiny;
  tiny.tp = tiny.pp = tiny.layers = 2;
  auto engine = load(*deviceEngine(tiny));
  FakeDevice fake(engine, 4);
  auto session = makeSession(fake, engine, above(kPrefillBytes));
  ASSERT_TRUE(session.ok()) << session.status().message();
  // Two stages of two ranks.
  EXPECT_EQ(nccl.count("id"), 2u);
  EXPECT_EQ(nccl.count("init 0/2"), 2u);
  EXPECT_EQ(nccl.count("init 1/2"), 2u);
}

TEST_F(NcclTest, ItsKernelsStandInTheirPlaceAndOverlapWithNothing) {
  auto engine = load(*deviceEngine(twoRanks()));
  FakeDevice fake(engine, 2);
  addOn(fake);
  auto session = makeSession(fake, engine, above(0));
  ASSERT_TRUE(session.ok()) << session.status().message();
  uint32_t sequence = *(*session)->addSequence();
  session::step(**session,
                {{sequence, {kPrompt.data(), 1}, LogitsWanted::Last}});
  std::vector<std::string> expected, found;
  const auto &commands =
      *engine->root().programs()->Get(0)->entries()->Get(0)->commands();
  for (uint32_t i = 0; i < commands.size(); ++i) {
    const auto *collective = commands.Get(i)->action_as_Collective();
    bool isSum = collective &&
                 collective->kind() == schema::CollectiveKind::ALL_REDUCE_SUM;
    expected.push_back(isSum ? "nccl" : "0.0." + std::to_string(i));
  }
  for (const FakeDevice::Launch &launch : fake.launches()) {
    if (launch.rank != 1)
      continue;
    bool follows = !found.empty() && found.back() != "nccl";
    EXPECT_EQ(launch.overlaps, follows && launch.function != "nccl")
        << launch.function;
    EXPECT_TRUE(launch.isReplay);
    found.push_back(launch.function);
  }
  EXPECT_EQ(found, expected);
}

TEST_F(NcclTest, TracedItRunsInTheStreamUnderItsName) {
  auto engine = load(*deviceEngine(twoRanks()));
  FakeDevice fake(engine, 2);
  addOn(fake);
  auto session = makeSession(fake, engine, above(kDecodeBytes));
  ASSERT_TRUE(session.ok()) << session.status().message();
  size_t sums = 0;
  (*session)->setTrace([&](const session::TraceEvent &event) {
    if (std::strcmp(event.kernel, "nccl") != 0)
      return;
    ++sums;
    EXPECT_STREQ(event.op, "all_reduce_sum");
  });
  uint32_t sequence = *(*session)->addSequence();
  session::step(**session,
                {{sequence, {kPrompt.data(), 1}, LogitsWanted::Last}});
  EXPECT_EQ(sums, 2 * 3u);
  size_t launched = 0;
  for (const FakeDevice::Launch &launch : fake.launches())
    launched += launch.function == "nccl" && !launch.isReplay;
  EXPECT_EQ(launched, sums);
}

//===--- Its end ----------------------------------------------------------===//

TEST_F(NcclTest, CommunicatorsEndBehindGraphs) {
  auto engine = load(*deviceEngine(twoRanks()));
  FakeDevice fake(engine, 2);
  nccl.onDestroy = [&] { EXPECT_EQ(fake.liveGraphs, 0); };
  {
    auto session = makeSession(fake, engine, above(0));
    ASSERT_TRUE(session.ok()) << session.status().message();
    EXPECT_EQ(fake.liveGraphs, 2 * 2); // ranks, entries
  }
  EXPECT_EQ(nccl.count("destroy 0"), 1u);
  EXPECT_EQ(nccl.count("destroy 1"), 1u);
  EXPECT_EQ(nccl.count("abort"), 0u);
}

TEST_F(NcclTest, ErrorsWhileLoadingAreNccls) {
  nccl.failing = "ncclCommInitRank";
  Status status = errorOf(above(0));
  EXPECT_EQ(status.code(), StatusCode::Internal);
  EXPECT_EQ(status.message(), "tiny: NCCL: ncclCommInitRank: internal error "
                              "(3): it was asked to fail");
  EXPECT_EQ(nccl.count("abort"), 0u);
  nccl.failing = "ncclAllReduce";
  EXPECT_EQ(errorOf(above(0)).message(),
            "tiny: NCCL: ncclAllReduce: internal error (3): it was asked to "
            "fail");
  EXPECT_EQ(nccl.count("abort"), 2u);
  nccl.hasTexts = false;
  EXPECT_EQ(errorOf(above(0)).message(),
            "tiny: NCCL: ncclAllReduce: NCCL has no text for it (3)");
}

TEST_F(NcclTest, EveryCallMayFail) {
  auto engine = load(*deviceEngine(twoRanks()));
  // A session, a prompt and a token, the latter from a graph and then traced,
  // where sums are asked for anew.
  auto live = [&](uint64_t failing) -> Status {
    FakeDevice fake(engine, 2);
    nccl.reset();
    nccl.failingCall = failing;
    nccl.onFailure = [&] { fake.giveUp(); };
    SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<session::Session> session,
                            makeSession(fake, engine, above(0)));
    addOn(fake);
    SADDLE_ASSIGN_OR_RETURN(uint32_t sequence, session->addSequence());
    Rows logits(session::kVocab);
    for (size_t count : {5, 1, 1}) {
      std::vector<SequenceInput> inputs = {
          {sequence, {kPrompt.data(), count}, LogitsWanted::Last}};
      SADDLE_RETURN_IF_ERROR(session::stepInto(*session, inputs, logits));
      session->setTrace([](const session::TraceEvent &) {});
    }
    return {};
  };
  Status fine = live(0);
  ASSERT_TRUE(fine.ok()) << fine.message();
  const uint64_t calls = nccl.callCount;
  ASSERT_GT(calls, 20u);
  for (uint64_t k = 1; k <= calls; ++k) {
    Status status = live(k);
    EXPECT_EQ(status.code(), StatusCode::Internal) << k;
    EXPECT_THAT(status.message(),
                testing::ContainsRegex("nccl[A-Za-z]+: internal error \\(3\\): "
                                       "it was asked to fail"))
        << k;
    // Those of a group that did not end are nobody's.
    if (status.message().find("ncclCommInitRank") == std::string::npos)
      EXPECT_TRUE(nccl.liveComms.empty()) << k << ": " << status.message();
  }
  std::printf("[  WALKED  ] %llu calls of NCCL\n", (unsigned long long)calls);
}

TEST_F(NcclTest, AFirstSumThatDoesNotEndIsGivenUp) {
  auto engine = load(*deviceEngine(twoRanks()));
  FakeDevice fake(engine, 2);
  fake.streamState = [] { return CUDA_ERROR_NOT_READY; };
  SessionOptions options = above(kPrefillBytes);
  options.timeout = 100ms;
  Status status = makeSession(fake, engine, options).status();
  EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
  EXPECT_EQ(status.message(), "tiny: NCCL: the first all-reduce of 64 elements "
                              "over tp has not ended after 0.1 s");
  EXPECT_EQ(nccl.count("abort"), 2u);
}

/// Steps that end because a peer's part of an all-reduce never comes: streams
/// are busy until NCCL is aborted, and NCCL comes back from that only when
/// there is no graph any more.
class NcclFaultTest : public NcclTest {
protected:
  NcclFaultTest() : engine(load(*deviceEngine(twoRanks()))), fake(engine, 2) {
    addOn(fake);
    options = above(0);
    options.timeout = 100ms;
    fake.streamState = [this] {
      return armed && !aborted ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
    };
    nccl.onAbort = [this] {
      aborted = true;
      auto start = comm::Clock::now();
      while (fake.liveGraphs != 0 && comm::Clock::now() - start < 10s)
        std::this_thread::sleep_for(1ms);
      EXPECT_EQ(fake.liveGraphs, 0);
    };
  }
  /// A good step, then one that fails: its error.
  Status failingStep() {
    auto session = makeSession(fake, engine, options);
    EXPECT_TRUE(session.ok()) << session.status().message();
    uint32_t sequence = *(*session)->addSequence();
    session::step(**session,
                  {{sequence, {kPrompt.data(), 1}, LogitsWanted::Last}});
    armed = true;
    std::vector<SequenceInput> inputs = {
        {sequence, {kPrompt.data(), 1}, LogitsWanted::None}};
    auto start = comm::Clock::now();
    Status status = (*session)->step(inputs, {});
    EXPECT_LT(comm::Clock::now() - start, 2s);
    // On a thread of its own, which the step does not wait for.
    while (!aborted && comm::Clock::now() - start < 10s)
      std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(aborted);
    EXPECT_EQ((*session)->step(inputs, {}).message(), status.message());
    return status;
  }
  /// What a device would do without its peer is of no interest.
  void letDevicesRestWhenArmed() {
    fake.intercept = [&](const std::string &, const device::LaunchParams &) {
      return armed.load();
    };
    nccl.onAllReduce = [&](const FakeNccl::AllReduce &sum) {
      if (!sum.isGrouped && !armed)
        fake.enqueueAllReduce(sum.input, sum.output, sum.elements, sum.stream);
    };
  }
  void expectOneAbortEach() {
    EXPECT_EQ(nccl.count("abort 0"), 1u);
    EXPECT_EQ(nccl.count("abort 1"), 1u);
    EXPECT_EQ(nccl.count("destroy"), 0u);
  }

  std::shared_ptr<const Engine> engine;
  FakeDevice fake;
  SessionOptions options;
  std::atomic<bool> armed{false}, aborted{false};
};

TEST_F(NcclFaultTest, AllRanksEndAndEachCommunicatorIsAbortedOnce) {
  Status status = failingStep();
  EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(status.message(),
              HasSubstr("failed at \"decode\": the device has not finished for "
                        "0.6 s; it may wait in an all-reduce of NCCL"));
  expectOneAbortEach();
}

// Its device has nothing that would give up by itself.
TEST_F(NcclFaultTest, AFailingRankEndsTheOthersAtOnce) {
  options.timeout = 10s;
  options.beforeCommand = [&](uint32_t rank,
                              const char *place) -> StatusOr<backend::Fault> {
    if (armed && rank == 1 && std::strstr(place, "o_proj"))
      return makeError(StatusCode::Internal, "on purpose");
    return backend::Fault::None;
  };
  letDevicesRestWhenArmed();
  Status status = failingStep();
  EXPECT_EQ(status.code(), StatusCode::Internal);
  EXPECT_THAT(status.message(), HasSubstr("on purpose"));
  expectOneAbortEach();
}

TEST_F(NcclFaultTest, ADeadRankIsNamed) {
  options.beforeCommand = [&](uint32_t rank,
                              const char *place) -> StatusOr<backend::Fault> {
    bool dies = armed && rank == 1 && std::strstr(place, "o_proj");
    return dies ? backend::Fault::Die : backend::Fault::None;
  };
  letDevicesRestWhenArmed();
  Status status = failingStep();
  EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(status.message(),
              HasSubstr("the device has not finished for 0.6 s; it may wait in "
                        "an all-reduce of NCCL for rank 1, last seen at "
                        "\"model.layers.0.self_attn.o_proj\""));
  expectOneAbortEach();
}

} // namespace
} // namespace saddle::cuda
