// A rank of a CUDA engine that dies, stalls or skips an exchange: the step must
// end on all ranks within three seconds, with an error that names the rank and
// the place, and the devices must be usable afterwards.
//
//   SaddleFaultCheck ENGINE WEIGHTS PLACE [NCCL]
//
// PLACE is part of where a collective is ("layers.1.self_attn.o_proj").
// The engine needs at least two ranks; they may share devices. With a library
// of NCCL (libnccl.so.2) that does all all-reduces, a skipped one is noticed
// later, so its message need not name the place.

#include "runtime/src/session/Session.h"

#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>

using namespace saddle;
using namespace saddle::session;

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kTimeout{2000};
constexpr double kMostSeconds = 3;
constexpr uint32_t kVictim = 1;

struct Arguments {
  std::shared_ptr<const Engine> engine;
  std::string weights, place, nccl;
};

struct Scenario {
  const char *name;
  /// Null: nothing happens, and the step must succeed.
  StatusOr<backend::Fault> (*act)();
  /// Commands at the place that go well before: the first is what makes the
  /// collective's input.
  int after = 0;
};

StatusOr<backend::Fault> die() { return backend::Fault::Die; }
StatusOr<backend::Fault> skip() { return backend::Fault::Skip; }
StatusOr<backend::Fault> stall() {
  std::this_thread::sleep_for(std::chrono::seconds(6));
  return backend::Fault::None;
}
StatusOr<backend::Fault> fail() {
  return makeError(StatusCode::Internal, "lost its mind");
}

/// Whether the scenario ended as it should; prints one line.
StatusOr<bool> play(const Arguments &arguments, const Scenario &scenario) {
  SessionOptions options;
  options.timeout = kTimeout;
  options.shareDevices = true;
  options.ncclLibrary = arguments.nccl;
  options.ncclAboveBytes = 0;
  std::atomic<bool> armed = false;
  std::atomic<int> before = scenario.after;
  if (scenario.act)
    options.beforeCommand = [&](uint32_t rank,
                                const char *place) -> StatusOr<backend::Fault> {
      if (!armed || rank != kVictim ||
          !std::strstr(place, arguments.place.c_str()))
        return backend::Fault::None;
      if (before-- > 0)
        return backend::Fault::None;
      armed = false;
      return scenario.act();
    };
  SADDLE_ASSIGN_OR_RETURN(
      std::unique_ptr<Session> session,
      Session::create(arguments.engine, arguments.weights, options));
  SADDLE_ASSIGN_OR_RETURN(uint32_t sequence, session->addSequence());
  const int32_t prompt[] = {1, 2, 3};
  SequenceInput input{sequence, Span<const int32_t>(prompt, 3),
                      LogitsWanted::None};
  SADDLE_RETURN_IF_ERROR(
      session->step(Span<const SequenceInput>(&input, 1), {}));
  input.tokens = Span<const int32_t>(prompt, 1);
  armed = true;
  auto start = Clock::now();
  Status status = session->step(Span<const SequenceInput>(&input, 1), {});
  double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  bool asExpected = status.ok();
  if (scenario.act && armed && status.ok())
    status = makeError(StatusCode::InvalidArgument,
                       "rank %u passed no place whose name holds \"%s\"; "
                       "saddle-inspect --commands lists them",
                       kVictim, arguments.place.c_str());
  if (scenario.act) {
    const std::string rank = "rank " + std::to_string(kVictim);
    bool isNamed = status.message().find(rank) != std::string::npos &&
                   status.message().find(arguments.place) != std::string::npos;
    bool mayBeNameless = !arguments.nccl.empty() && scenario.act == skip;
    asExpected = !armed && !status.ok() && seconds < kMostSeconds &&
                 (isNamed || mayBeNameless);
  }
  std::printf("%-6s %-5s %.2f s  %s\n", asExpected ? "ok" : "FAILED",
              scenario.name, seconds, status.message().c_str());
  return asExpected;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: %s ENGINE WEIGHTS PLACE [NCCL]\n", argv[0]);
    return 2;
  }
  auto engine = Engine::load(argv[1]);
  if (!engine.ok()) {
    std::fprintf(stderr, "error: %s\n", engine.status().message().c_str());
    return 1;
  }
  Arguments arguments{std::move(*engine), argv[2], argv[3],
                      argc == 5 ? argv[4] : ""};
  const Scenario scenarios[] = {{"none", nullptr}, {"die", die},
                                {"skip", skip, 1}, {"stall", stall},
                                {"fail", fail},    {"none", nullptr}};
  int failures = 0;
  for (const Scenario &scenario : scenarios) {
    StatusOr<bool> result = play(arguments, scenario);
    if (!result.ok())
      std::printf("FAILED %-5s %s\n", scenario.name,
                  result.status().message().c_str());
    failures += !result.ok() || !*result;
  }
  return failures != 0;
}
