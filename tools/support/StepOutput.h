// What a tool gets out of a step: rows of logits, or candidates where the
// engine has them and they say as much.

#ifndef SADDLE_TOOLS_SUPPORT_STEPOUTPUT_H
#define SADDLE_TOOLS_SUPPORT_STEPOUTPUT_H

#include "tools/support/Runtime.h"

namespace saddle::tools {

class StepOutput {
public:
  /// Candidates need an engine that has some.
  StepOutput(const saddle_engine_info_t &info, bool useCandidates)
      : vocab(info.vocab_size),
        candidates(useCandidates ? info.candidates : 0) {}

  /// One step; its rows stay until the next one.
  Status step(saddle_session_t *session,
              const std::vector<saddle_input_t> &inputs);
  /// The next token by row `row`.
  StatusOr<int32_t> sample(saddle_sampler_t *sampler, size_t row) const;
  /// Not with candidates.
  const float *logits(size_t row) const { return buffer + row * vocab; }

private:
  uint64_t vocab, candidates; // 0: logits
  float *buffer = nullptr;    // of logits, the session's
  std::vector<float> values;  // of candidates
  std::vector<int32_t> tokens;
};

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_STEPOUTPUT_H
