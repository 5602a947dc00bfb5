#include "runtime/src/backend/StepInputs.h"

#include <cstring>

namespace saddle::backend {

Span<const size_t> bindingsOf(Output output) {
  static constexpr size_t kIndices[] = {0, 1, 2};
  return output == Output::Logits ? Span<const size_t>(kIndices, 1)
                                  : Span<const size_t>(kIndices + 1, 2);
}

std::optional<size_t> outputIndex(const schema::Binding &binding) {
  for (size_t i = 0; i < std::size(kOutputBindings); ++i)
    if (std::strcmp(binding.name()->c_str(), kOutputBindings[i]) == 0)
      return i;
  return std::nullopt;
}

uint64_t candidatesOf(const schema::Engine &engine) {
  // All entries of the last stage yield as many.
  uint32_t last = engine.topology()->pp() - 1;
  const schema::Entry &entry = *engine.programs()->Get(last)->entries()->Get(0);
  for (const schema::Binding *binding : *entry.bindings())
    if (outputIndex(*binding) == 1u)
      return entry.slices()->Get(binding->slice())->shape()->Get(1);
  return 0;
}

StepBindings::StepBindings(const schema::Entry &entry,
                           const std::vector<View> &views) {
  const struct {
    const char *name;
    View *view;
  } known[] = {{"tokens", &tokens},          {"positions", &positions},
               {"sequences", &sequences},    {"slots", &slots},
               {"block_table", &blockTable}, {"rows", &rows}};
  for (const schema::Binding *binding : *entry.bindings()) {
    if (auto output = outputIndex(*binding))
      outputs[*output] = views[binding->slice()];
    for (const auto &each : known)
      if (std::strcmp(binding->name()->c_str(), each.name) == 0)
        *each.view = views[binding->slice()];
  }
}

static void writeValues(const View &view, const std::vector<int32_t> &values) {
  if (view.data && !values.empty())
    std::memcpy(view.data, values.data(), values.size() * sizeof(int32_t));
}

void StepBindings::write(const ReplicaBatch &batch, const PageTables &pages,
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
    writeValues(table, pages.pagesOf(replica, uint32_t(slot)));
  }
}

} // namespace saddle::backend
