// Continues prompts with a generator of the runtime and keeps what it says.

#ifndef SADDLE_TOOLS_SADDLE_RUN_GENERATE_H
#define SADDLE_TOOLS_SADDLE_RUN_GENERATE_H

#include "tools/support/Runtime.h"

#include <saddle/generate.h>

#include <functional>
#include <optional>

namespace saddle::tools {

/// "length", "eos", "max_seq_len", "interrupted"
const char *nameOf(std::optional<saddle_stop_t> stop);

struct Continuation {
  std::vector<int32_t> tokens; // the prompt, then what was generated
  size_t promptTokens = 0;
  /// What was drafted for each step, and how much of it was accepted.
  struct Drafts {
    std::vector<int32_t> tokens;
    size_t accepted;
  };
  std::vector<Drafts> drafts;
  /// Why it ended; one that was interrupted has not.
  std::optional<saddle_stop_t> stop;
  /// When they are wanted: one row of the vocabulary per token that was fed,
  /// which is all of `tokens` but the last generated one.
  std::vector<float> logits;
  /// Of a traced run: what the experts of each layer multiplied for the last
  /// token that was fed, [layers, columns], and where.
  std::vector<float> hidden;
  std::vector<std::string> layers;
};

/// Continues all prompts, each as `request` says but for its tokens, with up to
/// `specTokens` drafted tokens a step and `chain` steps in a chain, and calls
/// onToken(token) as tokens come. A generated end-of-sequence token ends its
/// continuation and is part of `tokens`. A signal that an Interruption notes
/// ends all of them after the current step. Errors: those of the session; of a
/// prompt, which it names.
StatusOr<std::vector<Continuation>>
generate(saddle_session_t *session, const saddle_engine_info_t &info,
         const std::vector<std::vector<int32_t>> &prompts,
         saddle_request_t request, uint64_t specTokens, uint64_t chain,
         const std::function<void(int32_t token)> &onToken,
         saddle_timing_t &timing);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_RUN_GENERATE_H
