#include "tools/support/StepOutput.h"

#include <cmath>

namespace saddle::tools {

Status StepOutput::step(saddle_session_t *session,
                        const std::vector<saddle_input_t> &inputs) {
  rows = saddle_session_logits_rows(inputs.data(), inputs.size());
  if (candidates == 0) {
    void *data = nullptr;
    SADDLE_RETURN_IF_ERROR(
        fromC(saddle_session_output_buffer(session, "logits", rows, &data)));
    logits = static_cast<const float *>(data);
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

Status StepOutput::checkFinite(const std::string &what) const {
  size_t width = candidates ? candidates : vocab;
  const float *all = candidates ? values.data() : logits;
  for (size_t i = 0; i < rows * width; ++i)
    if (!std::isfinite(all[i]))
      return makeError(
          StatusCode::DataLoss,
          "%s: row %zu of the logits has %f for token %zu, expected finite "
          "numbers; times of such a step say nothing, so check the weights "
          "with saddle-run",
          what.c_str(), i / width, double(all[i]),
          candidates ? size_t(tokens[i]) : i % width);
  return {};
}

} // namespace saddle::tools
