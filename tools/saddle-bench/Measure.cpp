#include "tools/saddle-bench/Measure.h"

#include "tools/support/StepOutput.h"

#include <algorithm>
#include <cinttypes>

namespace saddle::tools {

Distribution distributionOf(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  if (seconds.empty())
    return {};
  size_t middle = seconds.size() / 2;
  double median = seconds.size() % 2
                      ? seconds[middle]
                      : (seconds[middle - 1] + seconds[middle]) / 2;
  return {median, seconds.front(), seconds.back()};
}

Status checkDecode(const saddle_engine_info_t &info, uint64_t batch,
                   uint64_t context, uint64_t steps) {
  if (batch < 1 || batch > info.max_sequences)
    return makeError(StatusCode::InvalidArgument,
                     "--batch %" PRIu64 ": expected 1 to the engine's "
                     "dp * max_batch = %" PRIu64,
                     batch, info.max_sequences);
  uint64_t extra = kWarmUpSteps + steps + kTracedSteps;
  if (context < 1 || context > info.max_seq_len ||
      extra > info.max_seq_len - context)
    return makeError(StatusCode::InvalidArgument,
                     "--context %" PRIu64 " and %" PRIu64
                     " steps (--steps, warm-up, trace) do not fit the "
                     "engine's max_seq_len = %" PRIu64,
                     context, extra, info.max_seq_len);
  return {};
}

Status checkPages(const saddle_engine_info_t &info, uint64_t numPages,
                  uint64_t batch, uint64_t context, uint64_t steps) {
  uint64_t extra = kWarmUpSteps + steps + kTracedSteps;
  uint64_t pages = (context + extra + info.page_size - 1) / info.page_size;
  uint64_t share = (batch + info.dp - 1) / info.dp; // of the fullest replica
  if (pages > numPages / share)
    return makeError(StatusCode::InvalidArgument,
                     "--batch %" PRIu64 " at --context %" PRIu64
                     " needs %" PRIu64 " KV pages of an attention replica, but "
                     "it has %" PRIu64 "; load with more --kv-tokens",
                     batch, context, pages * share, numPages);
  return {};
}

Status checkPrefill(const saddle_engine_info_t &info, uint64_t tokens) {
  if (tokens >= 1 && tokens <= info.max_seq_len)
    return {};
  return makeError(StatusCode::InvalidArgument,
                   "--prefill %" PRIu64
                   ": expected 1 to the engine's max_seq_len = %" PRIu64,
                   tokens, info.max_seq_len);
}

namespace {
/// Sequences that leave the session with the measurement.
class Sequences {
public:
  explicit Sequences(saddle_session_t *session) : session(session) {}
  ~Sequences() {
    for (uint32_t sequence : numbers)
      saddle_session_remove_sequence(session, sequence);
  }
  Status add(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      uint32_t sequence = 0;
      SADDLE_RETURN_IF_ERROR(
          fromC(saddle_session_add_sequence(session, &sequence)));
      numbers.push_back(sequence);
    }
    return {};
  }
  const std::vector<uint32_t> &all() const { return numbers; }

private:
  saddle_session_t *session;
  std::vector<uint32_t> numbers;
};

/// Records events while it lives.
class Tracing {
public:
  Tracing(saddle_session_t *session, std::vector<Event> &events)
      : session(session) {
    saddle_session_set_trace(session, record, &events);
  }
  ~Tracing() { saddle_session_set_trace(session, nullptr, nullptr); }

private:
  static void record(void *user, const saddle_trace_event_t *event) {
    static_cast<std::vector<Event> *>(user)->push_back(
        {event->rank, event->entry, event->location, event->op, event->kernel,
         event->tokens, event->bytes, event->start_ns, event->duration_ns,
         event->experts_held, event->experts_hit, event->experts_independent,
         event->exchange, event->exchange_ranks, event->exchange_bytes,
         event->operations, event->operations_e4m3, event->functions,
         event->steps});
  }
  saddle_session_t *session;
};
} // namespace

TokenRange tokensFor(const saddle_engine_info_t &info,
                     std::optional<uint32_t> alone) {
  // Split over the ranks of an attention replica; one that does not divide is
  // whole on every rank.
  uint64_t ranks = info.tp / info.dp;
  if (!alone || info.vocab_size % ranks != 0)
    return {0, info.vocab_size};
  uint64_t share = info.vocab_size / ranks;
  return {*alone % ranks * share, share};
}

std::vector<int32_t> someTokens(uint64_t sequence, uint64_t count,
                                TokenRange range) {
  std::vector<int32_t> tokens(count);
  for (uint64_t i = 0; i < count; ++i)
    tokens[i] = int32_t(range.first +
                        (i * 7919 + sequence * 104729 + 13) % range.count);
  return tokens;
}

static StatusOr<double> timedStep(saddle_session_t *session,
                                  const std::vector<saddle_input_t> &inputs,
                                  StepOutput &output) {
  double start = now();
  SADDLE_RETURN_IF_ERROR(output.step(session, inputs));
  return now() - start;
}

namespace {
/// Times of steps, one after the other.
class Stopwatch {
public:
  explicit Stopwatch(saddle_session_t *session) : session(session) {}
  void add(double stepSeconds) {
    seconds.push_back(stepSeconds);
    device.push_back(double(saddle_session_device_ns(session)) * 1e-9);
  }
  StepTimes times() const {
    return {distributionOf(seconds), distributionOf(device)};
  }

private:
  saddle_session_t *session;
  std::vector<double> seconds, device;
};
} // namespace

StatusOr<DecodeResult> measureDecode(saddle_session_t *session,
                                     const saddle_engine_info_t &info,
                                     TokenRange range, uint64_t batch,
                                     uint64_t context, uint64_t steps,
                                     std::vector<Event> &events) {
  Sequences sequences(session);
  SADDLE_RETURN_IF_ERROR(sequences.add(batch));
  StepOutput output(info, info.candidates > 0);
  std::vector<std::vector<int32_t>> tokens;
  std::vector<saddle_input_t> inputs;
  for (uint32_t sequence : sequences.all()) {
    tokens.push_back(someTokens(tokens.size(), context, range));
    inputs.push_back({sequence, tokens.back().data(), tokens.back().size(),
                      SADDLE_LOGITS_NONE});
  }
  SADDLE_RETURN_IF_ERROR(timedStep(session, inputs, output).status());
  for (saddle_input_t &input : inputs) {
    input.num_tokens = 1;
    input.logits = SADDLE_LOGITS_LAST;
  }
  Stopwatch stopwatch(session);
  std::string what = "decode of batch " + std::to_string(batch) +
                     " at context " + std::to_string(context);
  for (uint64_t i = 0; i < kWarmUpSteps + steps; ++i) {
    SADDLE_ASSIGN_OR_RETURN(double time, timedStep(session, inputs, output));
    if (i >= kWarmUpSteps)
      stopwatch.add(time);
    else // not between steps that are timed
      SADDLE_RETURN_IF_ERROR(output.checkFinite(what));
  }
  Tracing tracing(session, events);
  SADDLE_RETURN_IF_ERROR(timedStep(session, inputs, output).status());
  SADDLE_RETURN_IF_ERROR(output.checkFinite(what));
  return DecodeResult{batch, context, steps, stopwatch.times()};
}

StatusOr<PrefillResult> measurePrefill(saddle_session_t *session,
                                       const saddle_engine_info_t &info,
                                       TokenRange range, uint64_t tokens,
                                       uint64_t repeats,
                                       std::vector<Event> &events) {
  std::vector<int32_t> prompt = someTokens(0, tokens, range);
  StepOutput output(info, info.candidates > 0);
  auto once = [&]() -> StatusOr<double> {
    Sequences sequences(session);
    SADDLE_RETURN_IF_ERROR(sequences.add(1));
    return timedStep(session,
                     {{sequences.all()[0], prompt.data(), prompt.size(),
                       SADDLE_LOGITS_LAST}},
                     output);
  };
  std::string what = "prefill of " + std::to_string(tokens) + " tokens";
  SADDLE_RETURN_IF_ERROR(once().status()); // warm-up
  SADDLE_RETURN_IF_ERROR(output.checkFinite(what));
  Stopwatch stopwatch(session);
  for (uint64_t i = 0; i < repeats; ++i) {
    SADDLE_ASSIGN_OR_RETURN(double time, once());
    stopwatch.add(time);
  }
  Tracing tracing(session, events);
  SADDLE_RETURN_IF_ERROR(once().status());
  SADDLE_RETURN_IF_ERROR(output.checkFinite(what));
  return PrefillResult{tokens, repeats, stopwatch.times()};
}

} // namespace saddle::tools
