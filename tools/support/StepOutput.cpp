#include "tools/support/StepOutput.h"

namespace saddle::tools {

Status StepOutput::step(saddle_session_t *session,
                        const std::vector<saddle_input_t> &inputs) {
  size_t rows = saddle_session_logits_rows(inputs.data(), inputs.size());
  if (candidates == 0) {
    SADDLE_RETURN_IF_ERROR(
        fromC(saddle_session_logits_buffer(session, rows, &buffer)));
    return fromC(saddle_session_step(session, inputs.data(), inputs.size(),
                                     buffer, rows * vocab));
  }
  values.resize(rows * candidates);
  tokens.resize(rows * candidates);
  return fromC(saddle_session_step_candidates(session, inputs.data(),
                                              inputs.size(), values.data(),
                                              tokens.data(), rows));
}

StatusOr<int32_t> StepOutput::sample(saddle_sampler_t *sampler,
                                     size_t row) const {
  int32_t token = 0;
  saddle_status_t status =
      candidates == 0
          ? saddle_sampler_sample(sampler, logits(row), vocab, &token)
          : saddle_sampler_sample_candidates(
                sampler, values.data() + row * candidates,
                tokens.data() + row * candidates, candidates, &token);
  SADDLE_RETURN_IF_ERROR(fromC(status));
  return token;
}

} // namespace saddle::tools
