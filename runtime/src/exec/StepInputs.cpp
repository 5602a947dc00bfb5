#include "runtime/src/exec/StepInputs.h"

#include <cstring>

namespace saddle::exec {

StepBindings::StepBindings(const schema::Entry &entry,
                           const std::vector<View> &views) {
  const struct {
    const char *name;
    View *view;
  } known[] = {{"tokens", &tokens},          {"positions", &positions},
               {"sequences", &sequences},    {"slots", &slots},
               {"block_table", &blockTable}, {"rows", &rows},
               {"logits", &logits}};
  for (const schema::Binding *binding : *entry.bindings())
    for (const auto &each : known)
      if (std::strcmp(binding->name()->c_str(), each.name) == 0)
        *each.view = views[binding->slice()];
}

static void writeValues(const View &view, const std::vector<int32_t> &values) {
  if (view.data && !values.empty())
    std::memcpy(view.data, values.data(), values.size() * sizeof(int32_t));
}

void StepBindings::write(const ReplicaBatch &batch, const Scheduler &scheduler,
                         uint32_t replica) const {
  writeValues(tokens, batch.tokens);
  writeValues(positions, batch.positions);
  writeValues(sequences, batch.sequences);
  writeValues(slots, batch.slots);
  writeValues(rows, batch.rows);
  if (!blockTable.data)
    return;
  // Rows of absent sequences keep what they had: nobody reads them. Tokens of
  // one sequence are neighbours, so each row is written once.
  View table = blockTable;
  int32_t previous = -1;
  for (int32_t slot : batch.sequences) {
    if (slot == previous)
      continue;
    previous = slot;
    table.data = blockTable.row(uint64_t(slot));
    writeValues(table, scheduler.pagesOf(replica, uint32_t(slot)));
  }
}

} // namespace saddle::exec
