// Rounds of speculative decoding: draft, verify, accept.

#ifndef SADDLE_TOOLS_SADDLE_BENCH_SPECULATION_H
#define SADDLE_TOOLS_SADDLE_BENCH_SPECULATION_H

#include "tools/saddle-bench/Measure.h"

#include <optional>

namespace saddle::tools {

/// What rounds of `batch` sequences took; a round feeds each of them a token
/// and `drafted` drafted ones.
struct SpeculationResult {
  uint64_t batch, context, rounds, drafted;
  /// Whether the share of accepted tokens was made up, for weights that mean
  /// nothing.
  std::optional<double> fixedAcceptance;
  /// Of all of a round, and of its parts.
  Distribution round, verify, draft;
  double acceptance = 0;     // of drafted tokens
  double acceptedLength = 0; // tokens that a round gives a sequence
  /// Of one sequence.
  double secondsPerToken() const { return round.median / acceptedLength; }
};

/// Refuses rounds that do not fit the engine's limits, and an engine that
/// verifies fewer tokens.
Status checkSpeculation(const saddle_engine_info_t &info, uint64_t batch,
                        uint64_t context, uint64_t rounds, uint64_t drafted);

/// `batch` sequences of `context` tokens go on for `rounds` rounds, behind some
/// that are not timed. With `acceptance` so many of the drafted tokens are
/// taken for right, whatever the model says.
StatusOr<SpeculationResult>
measureSpeculation(saddle_session_t *session, const saddle_engine_info_t &info,
                   TokenRange range, uint64_t batch, uint64_t context,
                   uint64_t rounds, uint64_t drafted,
                   std::optional<double> acceptance);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_BENCH_SPECULATION_H
