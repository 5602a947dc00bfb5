#include "runtime/src/generate/Drafter.h"

#include <algorithm>

namespace saddle::generate {

Status Drafter::step(Span<const DraftTask *const> drafting) {
  values.resize(inputs.size());
  tokens.resize(inputs.size());
  const session::WantedOutput outputs[] = {
      {"candidate_values", values.data(), values.size() * sizeof(float)},
      {"candidate_tokens", tokens.data(), tokens.size() * sizeof(int32_t)}};
  SADDLE_RETURN_IF_ERROR(
      session.step(inputs, {outputs, std::size(outputs)}, program));
  for (size_t i = 0; i < tokens.size(); ++i)
    drafting[i]->drafts->push_back(tokens[i]);
  return {};
}

Status Drafter::draft(Span<const DraftTask> tasks) {
  if (tasks.size() == 0)
    return {};
  std::vector<const DraftTask *> drafting;
  uint64_t longest = 0;
  inputs.clear();
  for (const DraftTask &task : tasks) {
    // From where the draft stopped; the last token is behind the last row.
    uint64_t from = session.length(task.sequence, program) + 1;
    inputs.push_back({task.sequence,
                      {task.tokens->data() + from, task.tokens->size() - from},
                      session::LogitsWanted::Last});
    task.drafts->clear();
    drafting.push_back(&task);
    longest = std::max(longest, task.count);
  }
  SADDLE_RETURN_IF_ERROR(step(drafting));
  for (uint64_t number = 1; number < longest; ++number) {
    drafting.erase(std::remove_if(drafting.begin(), drafting.end(),
                                  [=](const DraftTask *task) {
                                    return task->count <= number;
                                  }),
                   drafting.end());
    inputs.clear();
    for (const DraftTask *task : drafting)
      inputs.push_back({task->sequence,
                        {&task->drafts->back(), 1},
                        session::LogitsWanted::Last});
    SADDLE_RETURN_IF_ERROR(step(drafting));
  }
  for (const DraftTask &task : tasks)
    SADDLE_RETURN_IF_ERROR(
        session.truncate(task.sequence, task.tokens->size() - 1, program));
  return {};
}

} // namespace saddle::generate
