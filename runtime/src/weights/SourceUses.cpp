#include "runtime/src/weights/SourceUses.h"

#include "runtime/ops/Body.h"

#include <map>

namespace saddle::weights {

using schema::Engine; // not saddle::Engine

static SourceUse useOf(const ops::Operand &operand) {
  if (operand.traffic == ops::Traffic::Lookups)
    return SourceUse::Table;
  bool isVector = operand.shape[0] && !operand.shape[1];
  if (isVector && operand.name == "weight")
    return SourceUse::Factor;
  if (isVector && operand.name == "bias")
    return SourceUse::Bias;
  if (isVector && operand.name == "factor")
    return SourceUse::Scale;
  return SourceUse::Other;
}

std::vector<SourceUse> usesOfSources(const Engine &engine) {
  std::vector<SourceUse> uses(engine.sources()->size(), SourceUse::Other);
  for (const schema::Program *program : *engine.programs()) {
    std::map<std::pair<uint32_t, uint64_t>, const schema::Weight *> weights;
    for (const schema::Weight *weight : *program->weights())
      weights[{weight->slice()->arena(), weight->slice()->offset()}] = weight;
    // Every entry runs the whole stage.
    const schema::Entry &entry = *program->entries()->Get(0);
    for (const schema::Command *command : *entry.commands()) {
      const schema::Launch *launch = command->action_as_Launch();
      if (!launch)
        continue;
      const auto &operands = *launch->operands();
      const ops::Body body = *ops::Body::of(
          *engine.kernels()->Get(launch->kernel()), operands.size());
      for (uint32_t i = 0; i < operands.size(); ++i) {
        const ops::Operand &definition = body.definition(i);
        SourceUse use = useOf(definition);
        if (definition.role != ops::Role::Weight || use == SourceUse::Other)
          continue;
        const schema::Slice &slice = *entry.slices()->Get(operands.Get(i));
        auto weight = weights.find({slice.arena(), slice.offset()});
        if (weight == weights.end())
          continue;
        for (const schema::Piece *piece : *weight->second->pieces())
          uses[piece->source()] = use;
      }
    }
  }
  return uses;
}

} // namespace saddle::weights
