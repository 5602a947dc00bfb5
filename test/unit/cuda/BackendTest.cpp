// What a backend refuses before anything is loaded, and ranks that fail on
// devices: in time, with the diagnosis.

#include "runtime/src/cuda/Wait.h"
#include "test/unit/cuda/DeviceSessions.h"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <optional>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace saddle::cuda {
namespace {

using session::kPrompt;
using testing::HasSubstr;
using namespace std::chrono_literals;

TinyOptions ranks(uint32_t tp) {
  TinyOptions tiny;
  tiny.tp = tp;
  tiny.layers = 2;
  return tiny;
}

TEST(BackendTest, TooFewDevicesAreRefused) {
  auto engine = load(*deviceEngine(ranks(2)));
  FakeDevice fake(engine, 1);
  Status status = makeBackend(fake, engine).status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(status.message(), HasSubstr("tiny: the engine has 2 ranks, which "
                                          "need a device each"));
}

TEST(BackendTest, ARankThatCannotRunAloneIsRefused) {
  auto refusal = [](const TinyOptions &tiny, uint32_t rank,
                    const char *nccl = "") {
    auto engine = load(*deviceEngine(tiny));
    FakeDevice fake(engine, 1);
    SessionOptions options;
    options.alone = rank;
    options.ncclLibrary = nccl;
    return makeSession(fake, engine, options).status();
  };
  TinyOptions stages = ranks(2);
  stages.pp = 2;
  Status status = refusal(stages, 1);
  EXPECT_EQ(status.code(), StatusCode::Unsupported);
  EXPECT_EQ(status.message(),
            "tiny: rank 1 cannot run alone: the engine has 2 pipeline stages, "
            "and a stage has nothing to do before another one sends; compile "
            "one with pp=1");
  status = refusal(ranks(2), 1, "libnccl.so.2");
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_EQ(status.message(),
            "tiny: NCCL needs all ranks, but rank 1 runs alone; do without "
            "--nccl or without --alone");
  // Before any device is looked at.
  auto engine = load(*deviceEngine(ranks(2)));
  SessionOptions options;
  options.alone = 2;
  status = session::Session::create(engine, "synthetic:7", options).status();
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_EQ(status.message(),
            "tiny: rank 2 cannot run alone; the engine has ranks 0 to 1");
}

TEST(BackendTest, AnotherArchitectureIsRefused) {
  auto engine = load(*deviceEngine({}));
  FakeDevice fake(engine, 1);
  fake.capability = 80;
  Status status = makeBackend(fake, engine).status();
  EXPECT_EQ(status.code(), StatusCode::Unsupported);
  EXPECT_EQ(status.message(),
            "tiny: device 0 (Fake H200) has compute capability 8.0, but the "
            "engine's code is for 9.0 (sm_90a)");
}

TEST(BackendTest, DevicesThatAreNoPeersAreRefused) {
  auto engine = load(*deviceEngine(ranks(2)));
  FakeDevice fake(engine, 2);
  fake.peersReachable = false;
  Status status = makeBackend(fake, engine).status();
  EXPECT_EQ(status.code(), StatusCode::Unsupported);
  EXPECT_THAT(status.message(),
              HasSubstr("(Fake H200) cannot reach the memory of device"));
}

TEST(BackendTest, MemoryIsCheckedBeforeItIsTaken) {
  auto engine = load(*deviceEngine({}));
  FakeDevice fake(engine, 1, 100 << 20);
  Status status = makeBackend(fake, engine).status();
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
  EXPECT_THAT(status.message(),
              HasSubstr("tiny: device 0 (Fake H200): rank 0 needs 0.50 GiB"));
  EXPECT_THAT(status.message(), HasSubstr("0.10 GiB are free, 0.40 GiB too "
                                          "few"));
}

//===--- Ranks that fail --------------------------------------------------===//

struct Outcome {
  Status status;
  std::chrono::duration<double> took;
};

/// A good prompt, then a step of `tokens` tokens in which `act` is what rank 1
/// does at its first collective of layer 1. Rank 0's kernel there gives up
/// after the timeout, as a device would.
Outcome runWith(StatusOr<backend::Fault> (*act)(),
                std::chrono::milliseconds timeout, size_t tokens = 1) {
  auto engine = load(*deviceEngine(ranks(2)));
  FakeDevice fake(engine, 2);
  SessionOptions options;
  options.timeout = timeout;
  std::atomic<bool> armed = false, acted = false;
  const char *const faultPlace = "layers.1.self_attn.o_proj";
  options.beforeCommand = [&](uint32_t rank,
                              const char *place) -> StatusOr<backend::Fault> {
    if (!armed || acted || rank != 1 || !std::strstr(place, faultPlace))
      return backend::Fault::None;
    acted = true;
    return act();
  };
  auto backend = makeBackend(fake, engine, {timeout, false});
  EXPECT_TRUE(backend.ok()) << backend.status().message();
  device::Fault *fault = (*backend)->fault();
  const auto &commands =
      *engine->root().programs()->Get(0)->entries()->Get(0)->commands();
  std::mutex mutex;
  std::optional<comm::Clock::time_point> waitingSince;
  device::Fault record = {};
  fake.intercept = [&](const std::string &,
                       const device::LaunchParams &params) {
    if (!armed || !params.group)
      return false;
    std::string place = commands.Get(params.command)->place()->str();
    std::lock_guard<std::mutex> lock(mutex);
    // While armed, no exchange from the place on can work: rank 1 is not there.
    if (!waitingSince && place.find(faultPlace) == std::string::npos)
      return false;
    if (!waitingSince) {
      waitingSince = comm::Clock::now();
      record.rank = params.group->rank;
      record.peer = params.group->ranks[1 - params.group->index];
      record.command = params.command;
    }
    return true;
  };
  fake.streamState = [&] {
    std::lock_guard<std::mutex> lock(mutex);
    if (!waitingSince || isRaised(fault))
      return CUDA_SUCCESS;
    if (comm::Clock::now() - *waitingSince < timeout)
      return CUDA_ERROR_NOT_READY;
    fault->rank = record.rank;
    fault->peer = record.peer;
    fault->command = record.command;
    fault->reason = device::kFaultTimeout;
    fault->raised = 1;
    return CUDA_SUCCESS;
  };
  auto session = session::Session::create(engine, "synthetic:7", options,
                                          std::move(*backend));
  EXPECT_TRUE(session.ok()) << session.status().message();
  uint32_t sequence = *(*session)->addSequence();
  session::step(**session, {{sequence, kPrompt, LogitsWanted::Last}});
  armed = true;
  std::vector<SequenceInput> inputs = {
      {sequence, {kPrompt.data(), tokens}, LogitsWanted::None}};
  auto start = comm::Clock::now();
  Outcome outcome = {(*session)->step(inputs, {}), comm::Clock::now() - start};
  EXPECT_TRUE(acted);
  EXPECT_EQ((*session)->step(inputs, {}).message(), outcome.status.message());
  return outcome;
}

TEST(DeviceFaultTest, ADeadRankIsNamedInTime) {
  Outcome outcome = runWith(
      []() -> StatusOr<backend::Fault> { return backend::Fault::Die; }, 200ms);
  EXPECT_LT(outcome.took, 1.2s);
  EXPECT_EQ(outcome.status.code(), StatusCode::DeadlineExceeded);
  EXPECT_EQ(outcome.status.message(),
            "rank 0 waited 0.2 s at \"model.layers.1.self_attn.o_proj\" "
            "(all_reduce_sum over tp, f32[4, 8]) for rank 1, last seen at "
            "\"model.layers.1.self_attn.o_proj\", which did not arrive");
}

// Of the entry that ran: a prompt's rows are others.
TEST(DeviceFaultTest, ADeadRankOfAPromptIsNamed) {
  Outcome outcome =
      runWith([]() -> StatusOr<backend::Fault> { return backend::Fault::Die; },
              200ms, 3);
  EXPECT_EQ(outcome.status.message(),
            "rank 0 waited 0.2 s at \"model.layers.1.self_attn.o_proj\" "
            "(all_reduce_sum over tp, f32[8, 8]) for rank 1, last seen at "
            "\"model.layers.1.self_attn.o_proj\", which did not arrive");
}

TEST(DeviceFaultTest, AStalledRankIsNamedInTime) {
  Outcome outcome = runWith(
      []() -> StatusOr<backend::Fault> {
        std::this_thread::sleep_for(1500ms);
        return backend::Fault::None;
      },
      200ms);
  EXPECT_LT(outcome.took, 1.2s);
  EXPECT_EQ(outcome.status.code(), StatusCode::DeadlineExceeded);
  EXPECT_THAT(outcome.status.message(),
              HasSubstr("for rank 1, last seen at "
                        "\"model.layers.1.self_attn.o_proj\""));
}

TEST(DeviceFaultTest, AFailingRankEndsTheStepAtOnce) {
  Outcome outcome = runWith(
      []() -> StatusOr<backend::Fault> {
        return makeError(StatusCode::Internal, "lost its mind");
      },
      20s);
  EXPECT_LT(outcome.took, 2s);
  EXPECT_EQ(outcome.status.message(),
            "rank 1 failed at \"model.layers.1.self_attn.o_proj\": linear: "
            "lost its mind");
}

// Nothing on its device would give up, and its own time is not over.
TEST(DeviceFaultTest, ADeviceThatNeverFinishesEndsWithAFailingRank) {
  TinyOptions tiny;
  tiny.tp = 2;
  auto engine = load(*deviceEngine(tiny));
  FakeDevice fake(engine, 2);
  std::atomic<bool> armed{false};
  fake.streamState = [&] {
    return armed ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
  };
  fake.intercept = [&](const std::string &, const device::LaunchParams &) {
    return armed.load();
  };
  SessionOptions options;
  options.timeout = 10s;
  options.beforeCommand = [&](uint32_t rank,
                              const char *) -> StatusOr<backend::Fault> {
    if (armed && rank == 1)
      return makeError(StatusCode::Internal, "on purpose");
    return backend::Fault::None;
  };
  auto session = makeSession(fake, engine, options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  uint32_t sequence = *(*session)->addSequence();
  armed = true;
  std::vector<SequenceInput> inputs = {
      {sequence, {kPrompt.data(), 1}, LogitsWanted::None}};
  auto start = comm::Clock::now();
  Status status = (*session)->step(inputs, {});
  EXPECT_LT(comm::Clock::now() - start, 2s);
  EXPECT_THAT(status.message(), HasSubstr("on purpose"));
}

TEST(DeviceFaultTest, ADeviceThatNeverFinishesIsGivenUp) {
  auto engine = load(*deviceEngine({}));
  FakeDevice fake(engine, 1);
  SessionOptions options;
  options.timeout = 100ms;
  auto session = makeSession(fake, engine, options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  fake.streamState = [] { return CUDA_ERROR_NOT_READY; };
  uint32_t sequence = *(*session)->addSequence();
  std::vector<SequenceInput> inputs = {
      {sequence, {kPrompt.data(), 1}, LogitsWanted::None}};
  auto start = comm::Clock::now();
  Status status = (*session)->step(inputs, {});
  EXPECT_LT(comm::Clock::now() - start, 2s);
  EXPECT_EQ(status.code(), StatusCode::DeadlineExceeded);
  EXPECT_EQ(status.message(), "rank 0 failed at \"decode\": the device has not "
                              "finished for 0.6 s");
}

// The process stops for twice as long as it would wait for the device.
TEST(DeviceFaultTest, AStoppedProcessGivesUpNoDevice) {
  pid_t child = ::fork();
  if (child == 0) {
    auto engine = load(*deviceEngine({}));
    FakeDevice fake(engine, 1);
    SessionOptions options;
    options.timeout = 100ms;
    auto session = makeSession(fake, engine, options);
    uint32_t sequence = *(*session)->addSequence();
    std::optional<comm::Clock::time_point> resumed;
    fake.streamState = [&] {
      if (!resumed) {
        ::kill(::getpid(), SIGSTOP);
        resumed = comm::Clock::now();
      }
      return comm::Clock::now() - *resumed < 100ms ? CUDA_ERROR_NOT_READY
                                                   : CUDA_SUCCESS;
    };
    std::vector<SequenceInput> inputs = {
        {sequence, {kPrompt.data(), 1}, LogitsWanted::None}};
    Status status = (*session)->step(inputs, {});
    std::fprintf(stderr, "%s\n", status.message().c_str());
    ::_exit(status.ok() && resumed ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  std::this_thread::sleep_for(1200ms);
  ::kill(child, SIGCONT);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

} // namespace
} // namespace saddle::cuda
