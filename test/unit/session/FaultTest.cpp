// Ranks that fail, stall, die or disagree: the step ends on all ranks in time,
// and the error names rank, place and collective.

#include "test/unit/session/Sessions.h"

#include <atomic>
#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

namespace saddle::session {
namespace {

using testing::AllOf;
using testing::MatchesRegex;

TinyOptions ranks(uint32_t tp, uint32_t dp = 1, uint32_t pp = 1) {
  TinyOptions tiny;
  tiny.tp = tp;
  tiny.dp = dp;
  tiny.pp = pp;
  tiny.layers = 2;
  return tiny;
}

/// What one rank does at the first command whose place contains `at`, in
/// the second step.
struct Plan {
  uint32_t rank;
  const char *at;
  std::function<StatusOr<backend::Fault>()> action;
  unsigned after = 0; // commands there that go well before
};

struct Outcome {
  Status status;
  std::chrono::duration<double> took;
};

/// Runs a good prefill step, then a decode step with `plan`'s fault, and then
/// another step, which must fail with the same error.
Outcome runWith(const TinyOptions &tiny, const Plan &plan,
                std::chrono::milliseconds timeout) {
  SessionOptions options;
  options.timeout = timeout;
  std::atomic<bool> armed = false;
  std::atomic<unsigned> seen = 0;
  options.beforeCommand = [&](uint32_t rank,
                              const char *place) -> StatusOr<backend::Fault> {
    bool here = armed && rank == plan.rank &&
                std::string(place).find(plan.at) != std::string::npos;
    if (!here || seen++ < plan.after)
      return backend::Fault::None;
    armed = false;
    return plan.action();
  };
  auto session = open(tiny, options);
  uint32_t sequence = *session->addSequence();
  step(*session, {{sequence, kPrompt, LogitsWanted::Last}});
  armed = true;
  Tokens token = {1};
  std::vector<SequenceInput> inputs = {{sequence, token, LogitsWanted::None}};
  auto start = comm::Clock::now();
  Outcome outcome = {session->step(inputs, {}), comm::Clock::now() - start};
  EXPECT_FALSE(armed) << "the fault was not met";
  EXPECT_FALSE(outcome.status.ok());
  EXPECT_EQ(session->step(inputs, {}).message(), outcome.status.message())
      << "a broken session must stay broken";
  EXPECT_EQ(session->addSequence().status().message(),
            outcome.status.message());
  EXPECT_EQ(session->removeSequence(sequence).message(),
            outcome.status.message());
  return outcome;
}

StatusOr<backend::Fault> die() { return backend::Fault::Die; }
StatusOr<backend::Fault> skip() { return backend::Fault::Skip; }
StatusOr<backend::Fault> stall() {
  std::this_thread::sleep_for(1s);
  return backend::Fault::None;
}

TEST(FaultTest, AFailingRankEndsTheStepAtOnce) {
  auto fail = []() -> StatusOr<backend::Fault> {
    return makeError(StatusCode::Internal, "lost its mind");
  };
  for (uint32_t rank : {0, 2, 7}) {
    Outcome outcome =
        runWith(ranks(4, 2, 2), {rank, "self_attn.o_proj", fail}, 20s);
    EXPECT_LT(outcome.took, 2s);
    EXPECT_EQ(outcome.status.code(), StatusCode::Internal);
    EXPECT_EQ(outcome.status.message(),
              "rank " + std::to_string(rank) + " failed at \"model.layers." +
                  (rank == 7 ? "1" : "0") +
                  ".self_attn.o_proj\": linear: lost its mind");
  }
}

TEST(FaultTest, AStalledRankIsNamedInTime) {
  // Any rank, also the first; the one that waits names the collective.
  for (uint32_t rank : {0, 1}) {
    Outcome outcome =
        runWith(ranks(2), {rank, "layers.1.self_attn.o_proj", stall}, 200ms);
    EXPECT_LT(outcome.took, 2s);
    EXPECT_EQ(outcome.status.code(), StatusCode::DeadlineExceeded);
    EXPECT_THAT(
        outcome.status.message(),
        MatchesRegex("rank . waited 0.2 s at \"model.layers.1.self_attn.o_proj"
                     "\" \\(all_reduce_sum over tp, f32\\[4, 8\\], 1 rows\\) "
                     "for rank " +
                     std::to_string(rank) +
                     ", last seen at \"model.layers.1.self_attn.o_proj\", "
                     "which did not arrive"));
  }
}

TEST(FaultTest, AStoppedProcessIsNoStalledRank) {
  // The whole process stops in the middle of a step for much longer than the
  // timeout, while rank 0 waits for rank 1 or rank 1 for rank 0.
  for (uint32_t rank : {0, 1}) {
    pid_t child = ::fork();
    if (child == 0) {
      SessionOptions options;
      options.timeout = 500ms;
      std::atomic<bool> armed = true;
      options.beforeCommand =
          [&](uint32_t here, const char *place) -> StatusOr<backend::Fault> {
        bool isThere = std::string(place) == "model.layers.1.self_attn.o_proj";
        if (here != rank || !isThere || !armed.exchange(false))
          return backend::Fault::None;
        std::this_thread::sleep_for(50ms); // the other one waits
        ::kill(::getpid(), SIGSTOP);
        std::this_thread::sleep_for(50ms);
        return backend::Fault::None;
      };
      auto session = open(ranks(2), options);
      uint32_t sequence = *session->addSequence();
      Status status = session->step(
          std::vector<SequenceInput>{{sequence, kPrompt, LogitsWanted::None}},
          {});
      if (!status.ok())
        std::fprintf(stderr, "%s\n", status.message().c_str());
      ::_exit(status.ok() && !armed ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, WUNTRACED);
    ASSERT_TRUE(WIFSTOPPED(status));
    std::this_thread::sleep_for(1000ms);
    ::kill(child, SIGCONT);
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
}

TEST(FaultTest, AStallThatNobodyWaitsForIsNamedToo) {
  // After the last collective of the last stage nobody needs rank 1.
  TinyOptions tiny = ranks(1, 1, 2);
  Outcome outcome = runWith(tiny, {1, "lm_head", stall}, 200ms);
  EXPECT_LT(outcome.took, 2s);
  EXPECT_EQ(outcome.status.code(), StatusCode::DeadlineExceeded);
  EXPECT_EQ(outcome.status.message(),
            "rank 1 failed at \"lm_head\": no progress for 0.2 s");
}

TEST(FaultTest, ADeadRankIsNamedInTime) {
  Outcome outcome =
      runWith(ranks(4, 2), {3, "block_sparse_moe.gate", die}, 200ms);
  EXPECT_LT(outcome.took, 2s);
  EXPECT_EQ(outcome.status.code(), StatusCode::DeadlineExceeded);
  // Some rank that waits speaks first, for rank 3 or for one that waits for it.
  EXPECT_THAT(
      outcome.status.message(),
      AllOf(HasSubstr("waited 0.2 s at \"model.layers.0.block_sparse_moe."),
            HasSubstr("rank 3, last seen at \"model.layers.0.block_sparse_moe."
                      "gate\",")));
}

TEST(FaultTest, ADeadSenderIsNamedInTime) {
  Outcome outcome = runWith(ranks(1, 1, 2), {0, "self_attn.rope", die}, 200ms);
  EXPECT_LT(outcome.took, 2s);
  EXPECT_EQ(outcome.status.code(), StatusCode::DeadlineExceeded);
  EXPECT_EQ(outcome.status.message(),
            "rank 1 waited 0.2 s at \"model.layers.1.input\" (receive from "
            "rank 0, f32[4, 8], 1 rows) for rank 0, last seen at "
            "\"model.layers.0.self_attn.rope\", which did not arrive");
}

TEST(FaultTest, ADeadRankThatNobodyWaitsForIsNamed) {
  Outcome outcome = runWith(ranks(1, 1, 2), {1, "lm_head", die}, 20s);
  EXPECT_LT(outcome.took, 2s);
  EXPECT_EQ(outcome.status.code(), StatusCode::Internal);
  EXPECT_EQ(outcome.status.message(),
            "rank 1 failed at \"lm_head\": it ended before its program did");
  // The first rank is no exception.
  outcome = runWith(ranks(1), {0, "lm_head", die}, 20s);
  EXPECT_LT(outcome.took, 2s);
  EXPECT_EQ(outcome.status.message(),
            "rank 0 failed at \"lm_head\": it ended before its program did");
}

TEST(FaultTest, ARankThatSkipsACollectiveDisagreesAtOnce) {
  // The second command at o_proj is the sum.
  Plan plan = {1, "layers.0.self_attn.o_proj", skip, 1};
  Outcome outcome = runWith(ranks(2), plan, 20s);
  EXPECT_LT(outcome.took, 2s);
  EXPECT_EQ(outcome.status.code(), StatusCode::Internal);
  EXPECT_THAT(
      outcome.status.message(),
      AllOf(HasSubstr("rank 1 is at \"model.layers.0.block_sparse_moe.experts"
                      "\" (all_reduce_sum over tp"),
            HasSubstr("rank 0 is at \"model.layers.0.self_attn.o_proj\" "
                      "(all_reduce_sum over tp")));
}

TEST(FaultTest, SkippedTransfersAreFound) {
  Outcome unsent = runWith(ranks(1, 1, 2), {0, "layers.1.input", skip}, 200ms);
  EXPECT_LT(unsent.took, 2s);
  EXPECT_THAT(unsent.status.message(),
              HasSubstr("rank 1 waited 0.2 s at \"model.layers.1.input\""));
  Outcome untaken = runWith(ranks(1, 1, 2), {1, "layers.1.input", skip}, 20s);
  EXPECT_LT(untaken.took, 2s);
  EXPECT_EQ(untaken.status.message(), "rank 1 did not receive what rank 0 sent "
                                      "at \"model.layers.1.input\"");
}

TEST(FaultTest, ASlowStageIsNoStall) {
  // Stage 1 waits for stage 0 much longer than the timeout, but stage 0 goes
  // on all the time.
  SessionOptions options;
  options.timeout = 500ms;
  options.beforeCommand = [](uint32_t rank,
                             const char *) -> StatusOr<backend::Fault> {
    if (rank < 2)
      std::this_thread::sleep_for(40ms);
    return backend::Fault::None;
  };
  auto session = open(ranks(2, 1, 2), options);
  uint32_t sequence = *session->addSequence();
  auto start = comm::Clock::now();
  Tokens token = {1};
  step(*session, {{sequence, token, LogitsWanted::Last}});
  EXPECT_GT(comm::Clock::now() - start, 600ms);
}

} // namespace
} // namespace saddle::session
