#include "tools/support/StepOutput.h"

namespace saddle::tools {

Status StepOutput::step(saddle_session_t *session,
                        const std::vector<saddle_input_t> &inputs) {
  size_t rows = saddle_session_logits_rows(inputs.data(), inputs.size());
  if (candidates == 0) {
    void *data = nullptr;
    SADDLE_RETURN_IF_ERROR(
        fromC(saddle_session_output_buffer(session, "logits", rows, &data)));
    saddle_output_t output = {"logits", data, rows * vocab * sizeof(float)};
    return fromC(
        saddle_session_step(session, inputs.data(), inputs.size(), &output, 1));
  }
  values.resize(rows * candidates);
  tokens.resize(rows * candidates);
  saddle_output_t outputs[] = {
      {"candidate_values", values.data(), values.size() * sizeof(float)},
      {"candidate_tokens", tokens.data(), tokens.size() * sizeof(int32_t)}};
  return fromC(
      saddle_session_step(session, inputs.data(), inputs.size(), outputs, 2));
}

} // namespace saddle::tools
