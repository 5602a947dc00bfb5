// Stages at work at the same time.

#include "test/unit/session/Sessions.h"

#include <atomic>
#include <map>

namespace saddle::session {
namespace {

struct Interval {
  comm::Clock::time_point start = comm::Clock::time_point::max(), end{};
};

/// When each rank worked on each batch of a step.
std::map<std::pair<uint32_t, size_t>, Interval>
intervalsOf(Session &session, const std::vector<SequenceInput> &inputs) {
  std::map<std::pair<uint32_t, size_t>, Interval> intervals;
  session.setTrace([&](const TraceEvent &event) {
    if (std::string(event.op) == "receive")
      return; // waits
    Interval &interval = intervals[{event.rank, event.batch}];
    interval.start = std::min(interval.start, event.time.start);
    interval.end = std::max(interval.end, event.time.end);
  });
  step(session, inputs);
  session.setTrace(nullptr);
  return intervals;
}

TinyOptions pipeline(uint32_t pp) {
  TinyOptions tiny;
  tiny.layers = 3;
  tiny.pp = pp;
  return tiny;
}

std::vector<SequenceInput> fourSequences(Session &session,
                                         const Tokens &tokens) {
  std::vector<SequenceInput> inputs;
  for (int i = 0; i < 4; ++i)
    inputs.push_back({*session.addSequence(), tokens, LogitsWanted::Last});
  return inputs;
}

TEST(PipelineTest, StagesWorkOnDifferentMicroBatches) {
  // Stage 1 begins with batch i and does not go on before stage 0 has begun
  // with batch i + 1; without overlap that would be never.
  SessionOptions options;
  options.timeout = 5s;
  std::atomic<int> begun = 0;
  std::atomic<int> received = 0;
  options.beforeCommand = [&](uint32_t rank,
                              const char *place) -> StatusOr<backend::Fault> {
    std::string at = place;
    if (rank == 0 && at == "model.embed_tokens")
      ++begun;
    if (rank != 1 || at.find("layers.2.input_layernorm") == std::string::npos)
      return backend::Fault::None;
    int batch = received++;
    for (int i = 0; i < 4000 && batch < 3 && begun < batch + 2; ++i)
      std::this_thread::sleep_for(1ms);
    if (batch < 3 && begun < batch + 2)
      return makeError(StatusCode::Internal, "no overlap");
    return backend::Fault::None;
  };
  options.microBatches = 4;
  auto session = open(pipeline(2), options);
  const Tokens token = {3};
  auto intervals = intervalsOf(*session, fourSequences(*session, token));
  EXPECT_EQ(begun, 4);
  ASSERT_EQ(intervals.size(), 8u);
  for (size_t i = 0; i + 1 < 4; ++i) {
    const Interval &ahead = intervals[{0, i + 1}], &behind = intervals[{1, i}];
    EXPECT_LT(ahead.start, behind.end) << i;
    EXPECT_LT(intervals[std::make_pair(0u, i)].start, behind.start) << i;
  }
}

TEST(PipelineTest, StepsAreCutIntoAsManyMicroBatchesAsStages) {
  const Tokens prompt = {1, 2}, longer(20, 3), token = {3};
  for (uint32_t pp : {1, 2, 3})
    for (uint64_t microBatches : {0, 1, 2, 4}) {
      SessionOptions options;
      options.microBatches = microBatches;
      auto session = open(pipeline(pp), options);
      size_t most = microBatches ? microBatches : pp;
      // 4 x 1 token, in groups of ceil(4 / most).
      size_t expected = most == 3 ? 2 : most;
      auto intervals = intervalsOf(*session, fourSequences(*session, token));
      EXPECT_EQ(intervals.size(), pp * expected);
    }
  // One sequence is cut by its chunks only.
  auto session = open(pipeline(2));
  uint32_t sequence = *session->addSequence();
  EXPECT_EQ(
      intervalsOf(*session, {{sequence, prompt, LogitsWanted::Last}}).size(),
      2u);
  const Tokens twelve(12, 5); // chunks of 8
  EXPECT_EQ(
      intervalsOf(*session, {{sequence, twelve, LogitsWanted::Last}}).size(),
      4u);
}

TEST(PipelineTest, TooManyMicroBatchesAreRefused) {
  SessionOptions options;
  options.microBatches = 5000;
  Status status = Session::create(engineOf(*tinyEngine(pipeline(2))),
                                  "synthetic:1", options)
                      .status();
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_THAT(status.message(),
              HasSubstr("micro-batches: 5000, expected 1 to 1024"));
}

} // namespace
} // namespace saddle::session
