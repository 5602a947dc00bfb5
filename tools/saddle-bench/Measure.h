// Timed steps of a session: decode at batch sizes and context lengths, prefill
// of a prompt.

#ifndef SADDLE_TOOLS_SADDLE_BENCH_MEASURE_H
#define SADDLE_TOOLS_SADDLE_BENCH_MEASURE_H

#include "tools/support/Runtime.h"

#include <optional>

namespace saddle::tools {

/// Seconds per step over some steps.
struct Distribution {
  double median = 0, least = 0, most = 0;
};
Distribution distributionOf(std::vector<double> seconds);

/// Steps as the caller sees them, and as the devices were busy with them (zero
/// without devices).
struct StepTimes {
  Distribution seconds, device;
};

struct DecodeResult {
  uint64_t batch, context, steps;
  StepTimes times;
};

struct PrefillResult {
  uint64_t tokens, repeats;
  StepTimes times;
};

/// A trace event that outlives its step.
struct Event {
  uint32_t rank;
  std::string entry, place, op, kernel;
  uint64_t tokens, bytes, startNs, durationNs;
  /// Of a launch of experts, else 0 (saddle/session.h).
  uint64_t expertsHeld = 0, expertsHit = 0;
  double expertsIndependent = 0;
  /// What it exchanges with other ranks (saddle/session.h).
  saddle_exchange_t exchange = SADDLE_EXCHANGE_NONE;
  uint32_t exchangeRanks = 0;
  uint64_t exchangeBytes = 0;
  double operations = 0, operationsE4M3 = 0;
  uint32_t functions = 0; // of a device
  uint32_t steps = 0;     // ops of a launch
};

/// Token ids that prompts are made of.
struct TokenRange {
  uint64_t first, count;
};
/// All of the vocabulary; of a rank that runs alone those whose embeddings it
/// holds, as it would see zeros in place of all others.
TokenRange tokensFor(const saddle_engine_info_t &info,
                     std::optional<uint32_t> alone);

/// Ids that spread over the range, other ones for each sequence, so that
/// tokens of a step do not all choose the same experts.
std::vector<int32_t> someTokens(uint64_t sequence, uint64_t count,
                                TokenRange range);

/// Steps that are run before the measured ones, and one traced after them.
constexpr uint64_t kWarmUpSteps = 2, kTracedSteps = 1;

/// Refuses what the engine's limits do not allow, before anything is timed.
Status checkDecode(const saddle_engine_info_t &info, uint64_t batch,
                   uint64_t context, uint64_t steps);
Status checkPrefill(const saddle_engine_info_t &info, uint64_t tokens);
/// Refuses what a session's `numPages` KV pages of each attention replica do
/// not hold.
Status checkPages(const saddle_engine_info_t &info, uint64_t numPages,
                  uint64_t batch, uint64_t context, uint64_t steps);

/// Both below refuse steps that yield logits which are not finite: DataLoss.
///
/// `batch` sequences of `context` tokens take `steps` single tokens each; the
/// first timed token stands at position `context`, counted without warm-up.
/// One more step is traced into `events`.
StatusOr<DecodeResult> measureDecode(saddle_session_t *session,
                                     const saddle_engine_info_t &info,
                                     TokenRange range, uint64_t batch,
                                     uint64_t context, uint64_t steps,
                                     std::vector<Event> &events);

/// One prompt of `tokens` tokens, logits of the last one, `repeats` times in a
/// fresh sequence. One more run is traced into `events`.
StatusOr<PrefillResult> measurePrefill(saddle_session_t *session,
                                       const saddle_engine_info_t &info,
                                       TokenRange range, uint64_t tokens,
                                       uint64_t repeats,
                                       std::vector<Event> &events);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_BENCH_MEASURE_H
