#include "tools/support/StepOutput.h"

namespace saddle::tools {

Status StepOutput::step(saddle_session_t *session,
                        const std::vector<saddle_input_t> &inputs) {
  size_t rows = saddle_session_logits_rows(inputs.data(), inputs.size());
  if (candidates == 0) {
    void *data = nullptr;
    SADDLE_RETURN_IF_ERROR(
        fromC(saddle_session_output_buffer(session, "logits", rows, &data)));
    buffer = static_cast<float *>(data);
    saddle_output_t output = {"logits", data, rows * vocab * sizeof(float)};
    return fromC(saddle_session_step(session, inputs.data(), inputs.size(),
                                     &output, 1));
  }
  values.resize(rows * candidates);
  tokens.resize(rows * candidates);
  saddle_output_t outputs[] = {
      {"candidate_values", values.data(), values.size() * sizeof(float)},
      {"candidate_tokens", tokens.data(), tokens.size() * sizeof(int32_t)}};
  return fromC(saddle_session_step(session, inputs.data(), inputs.size(),
                                   outputs, 2));
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
