#include "runtime/src/backend/StepInputs.h"

#include "runtime/src/base/DType.h"
#include "runtime/src/engine/Programs.h"

#include <cstring>

namespace saddle::backend {

using ops::BindingId;

uint64_t StepOutput::rowBytes() const {
  return width * elementBytes(binding->dtype);
}

std::vector<StepOutput> outputsOf(const schema::Engine &engine,
                                  std::string_view program) {
  // All entries of the last stage yield the same.
  const schema::Program &last =
      *engine::findProgram(engine, program, engine.topology()->pp() - 1);
  const schema::Entry &entry = *last.entries()->Get(0);
  std::vector<StepOutput> outputs;
  for (const ops::Binding &known : ops::outputs())
    for (const schema::Binding *binding : *entry.bindings())
      if (ops::findBinding(binding->name()->c_str()) == &known)
        outputs.push_back(
            {&known, entry.slices()->Get(binding->slice())->shape()->Get(1)});
  return outputs;
}

BindingSet neededFor(const schema::Command &command) {
  BindingSet set;
  if (command.output())
    for (const ops::Binding *part :
         ops::partsOfOutput(command.output()->string_view()))
      set.set(size_t(part->id));
  return set;
}

uint64_t candidatesOf(const schema::Engine &engine) {
  for (const StepOutput &output : outputsOf(engine))
    if (output.binding->id == BindingId::CandidateValues)
      return output.width;
  return 0;
}

StepBindings::StepBindings(const schema::Entry &entry,
                           const std::vector<View> &slices) {
  for (const schema::Binding *binding : *entry.bindings())
    if (const auto *known = ops::findBinding(binding->name()->c_str()))
      of(known->id) = slices[binding->slice()];
}

static void writeValues(const View &view, const std::vector<int32_t> &values) {
  if (view.data && !values.empty())
    std::memcpy(view.data, values.data(), values.size() * sizeof(int32_t));
}

void StepBindings::write(const ReplicaBatch &batch, const PageTables &pages,
                         uint32_t replica) const {
  writeValues(of(BindingId::Tokens), batch.tokens);
  writeValues(of(BindingId::Positions), batch.positions);
  writeValues(of(BindingId::Sequences), batch.sequences);
  writeValues(of(BindingId::Slots), batch.slots);
  writeValues(of(BindingId::Rows), batch.rows);
  const View &whole = of(BindingId::BlockTable);
  if (!whole.data)
    return;
  // Rows of absent sequences keep what they had: nobody reads them. Tokens of
  // one sequence are neighbours, so each row is written once.
  View table = whole;
  int32_t previous = -1;
  for (int32_t slot : batch.sequences) {
    if (slot == previous)
      continue;
    previous = slot;
    table.data = whole.row(uint64_t(slot));
    writeValues(table, pages.pagesOf(replica, uint32_t(slot)));
  }
}

} // namespace saddle::backend
