#include "tools/saddle-inspect/Facts.h"

#include "runtime/src/base/DType.h"

#include <algorithm>
#include <cstdlib>

namespace saddle::inspect {

using namespace schema;

static int64_t layerOf(const std::string &location) {
  const std::string marker = "layers.";
  size_t at = location.find(marker);
  if (at == std::string::npos)
    return -1;
  const char *digits = location.c_str() + at + marker.size();
  char *end;
  long long layer = std::strtoll(digits, &end, 10);
  return end == digits || layer < 0 ? -1 : layer;
}

uint64_t payloadBytes(const Slice &slice) {
  uint64_t bytes = elementBytes(slice.dtype());
  for (uint64_t dim : *slice.shape())
    bytes *= dim;
  return bytes;
}

static void addCollective(const Engine &engine, const Entry &entry,
                          const Command &command, EntryFacts &facts) {
  const Collective &collective = *command.action_as_Collective();
  const RankGroups &groups = *engine.rank_groups()->Get(collective.groups());
  uint64_t bytes = payloadBytes(*entry.slices()->Get(collective.input()));
  std::string kind = EnumNameCollectiveKind(collective.kind());
  for (Traffic *traffic :
       {&facts.total, &facts.byKind[kind + " over " + groups.axes()->str()],
        &facts.byLayer[layerOf(command.location()->str())]}) {
    ++traffic->count;
    traffic->bytes += bytes;
  }
}

EntryFacts factsOf(const Engine &engine, const Entry &entry) {
  EntryFacts facts;
  facts.fusions.resize(engine.fusions()->size());
  facts.arenaBytes.resize(engine.arenas()->size());
  for (const Slice *slice : *entry.slices()) {
    uint64_t last = 0;
    for (uint32_t i = 0; i < slice->shape()->size(); ++i)
      last += (slice->shape()->Get(i) - 1) * slice->strides()->Get(i);
    uint64_t &end = facts.arenaBytes[slice->arena()];
    end = std::max(end,
                   slice->offset() + (last + 1) * elementBytes(slice->dtype()));
  }
  uint32_t previousGroup = 0;
  for (const Command *command : *entry.commands()) {
    if (const Launch *launch = command->action_as_Launch()) {
      ++facts.launches;
      ++facts.ops[engine.kernels()->Get(launch->kernel())->op()->str()];
    } else if (command->action_as_Collective()) {
      ++facts.collectives;
      addCollective(engine, entry, *command, facts);
    } else {
      ++facts.copies;
    }
    if (uint32_t group = command->group()) {
      ++facts.fusions[group - 1].commands;
      facts.fusions[group - 1].groups += group != previousGroup;
    }
    previousGroup = command->group();
  }
  return facts;
}

std::vector<uint64_t> kernelUses(const Engine &engine) {
  std::vector<uint64_t> uses(engine.kernels()->size());
  for (const Program *program : *engine.programs())
    for (const Entry *entry : *program->entries())
      for (const Command *command : *entry->commands())
        if (const Launch *launch = command->action_as_Launch())
          ++uses[launch->kernel()];
  return uses;
}

} // namespace saddle::inspect
