// Steps of a generator: rounds of speculative decoding (draft, verify, accept),
// and steps in chains, with the host between none of them.

#ifndef SADDLE_TOOLS_SADDLE_BENCH_SPECULATION_H
#define SADDLE_TOOLS_SADDLE_BENCH_SPECULATION_H

#include "tools/saddle-bench/Measure.h"

#include <optional>

namespace saddle::tools {

/// What rounds of `batch` sequences took; a round feeds each of them a token
/// and `drafted` drafted ones, or none.
struct SpeculationResult {
  uint64_t batch, context, rounds, drafted;
  uint64_t chained = 0; // rounds without the host between them, at most
  /// Whether the share of accepted tokens was made up, for weights that mean
  /// nothing.
  std::optional<double> fixedAcceptance;
  /// Of all of a round, and of its parts; in chains the parts are one.
  Distribution round, verify, draft;
  /// How long devices were busy with a round; of chains only.
  Distribution device;
  double acceptance = 0;     // of drafted tokens
  double acceptedLength = 1; // tokens that a round gives a sequence
  /// Of one sequence.
  double secondsPerToken() const { return round.median / acceptedLength; }
};

/// Refuses rounds that do not fit the engine's limits, and an engine that
/// verifies fewer tokens.
Status checkSpeculation(const saddle_engine_info_t &info, uint64_t batch,
                        uint64_t context, uint64_t rounds, uint64_t drafted);

/// `batch` sequences of `context` tokens go on for `rounds` rounds, behind some
/// that are not timed. With `acceptance` so many of the drafted tokens are
/// taken for right, whatever the model says. Up to `chain` rounds are chained
/// where devices can; a round's time is then the mean over a chain.
StatusOr<SpeculationResult>
measureSpeculation(saddle_session_t *session, const saddle_engine_info_t &info,
                   TokenRange range, uint64_t batch, uint64_t context,
                   uint64_t rounds, uint64_t drafted, uint64_t chain,
                   std::optional<double> acceptance);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_BENCH_SPECULATION_H
