// Memory for what a step yields: rows of logits, or candidates where the engine
// has them.

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

  /// One step.
  Status step(saddle_session_t *session,
              const std::vector<saddle_input_t> &inputs);

  /// DataLoss when something that the last step yielded is not finite; `what`
  /// names the step.
  Status checkFinite(const std::string &what) const;

private:
  uint64_t vocab, candidates;    // 0: logits
  size_t rows = 0;               // of the last step
  const float *logits = nullptr; // of the session
  std::vector<float> values;     // of candidates
  std::vector<int32_t> tokens;
};

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_STEPOUTPUT_H
