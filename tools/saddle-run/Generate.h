// Continuous batching over a session: prompts enter as slots and KV pages
// become free, and every step advances all that are in.

#ifndef SADDLE_TOOLS_SADDLE_RUN_GENERATE_H
#define SADDLE_TOOLS_SADDLE_RUN_GENERATE_H

#include "tools/support/Runtime.h"

#include <functional>

namespace saddle::tools {

struct GenerateOptions {
  uint64_t maxNewTokens = 0;
  bool ignoreEos = false;
  bool keepLogits = false;
  saddle_sampler_options_t sampling; // each prompt draws its own stream
};

/// Why a continuation ended.
enum class Stop { Length, Eos, SequenceLimit };
const char *nameOf(Stop stop);

struct Continuation {
  std::vector<int32_t> tokens; // the prompt, then what was generated
  size_t promptTokens = 0;
  Stop stop = Stop::Length;
  /// With keepLogits: one row of the vocabulary per token that was fed, which
  /// is all of `tokens` but the last generated one.
  std::vector<float> logits;
};

/// Where the time went. A step with any prompt token counts as prefill.
struct Timing {
  double prefillSeconds = 0, decodeSeconds = 0;
  uint64_t prefillTokens = 0, decodeTokens = 0;
  uint64_t kvTokens = 0; // that an attention replica's pages hold
};

/// Calls onToken(prompt, token) as tokens come. A generated end-of-sequence
/// token ends its continuation and is part of `tokens`.
StatusOr<std::vector<Continuation>>
generate(saddle_session_t *session, const saddle_engine_info_t &info,
         const std::vector<std::vector<int32_t>> &prompts,
         const GenerateOptions &options,
         const std::function<void(size_t prompt, int32_t token)> &onToken,
         Timing &timing);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_RUN_GENERATE_H
