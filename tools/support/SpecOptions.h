// Options of speculative decoding and of chained steps, alike in all tools that
// run engines.

#ifndef SADDLE_TOOLS_SUPPORT_SPECOPTIONS_H
#define SADDLE_TOOLS_SUPPORT_SPECOPTIONS_H

#include "tools/support/Checks.h"

#include <saddle/session.h>

#include <CLI/CLI.hpp>

#include <optional>
#include <string>

namespace saddle::tools {

class SpecOptions {
public:
  void addTo(CLI::App &app) {
    app.add_option("--draft-weights", weights,
                   "Checkpoint folder of the engine's draft, or "
                   "synthetic:SEED");
    app.add_option("--spec-tokens", tokens,
                   "Tokens that the draft proposes for a step, at most; 0 is "
                   "none; default: as many as the engine verifies")
        ->check(wholeNumber());
    app.add_option("--chain", chain,
                   "Greedy steps that devices do without the host between "
                   "them, at most; 1: the host stands between all")
        ->check(CLI::Range(1, 32))
        ->capture_default_str();
  }

  /// `session` borrows from this object.
  void applyTo(saddle_session_options_t &session) {
    if (weights.empty())
      return;
    place = {"draft", weights.c_str()};
    session.other_weights = &place;
    session.num_other_weights = 1;
  }

  /// What the engine says, unless the user said otherwise.
  uint64_t tokensOf(uint64_t engine) const { return tokens.value_or(engine); }
  uint64_t chainSteps() const { return chain; }

private:
  std::string weights;
  std::optional<uint64_t> tokens;
  uint64_t chain = 8;
  saddle_weights_t place = {};
};

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_SPECOPTIONS_H
