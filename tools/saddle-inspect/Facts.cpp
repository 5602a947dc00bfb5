#include "tools/saddle-inspect/Facts.h"

#include "runtime/src/base/DType.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/engine/Validate.h"

#include <algorithm>
#include <cstdlib>

namespace saddle::inspect {

using namespace schema;

static int64_t layerOf(const std::string &place) {
  const std::string marker = "layers.";
  size_t at = place.find(marker);
  if (at == std::string::npos)
    return -1;
  const char *digits = place.c_str() + at + marker.size();
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
  if (collective.layout() != RowLayout::UNKNOWN)
    kind += std::string(" ") + EnumNameRowLayout(collective.layout());
  kind += " over " + groups.axes()->str();
  int64_t layer = layerOf(command.place()->str());
  std::vector<Traffic *> counted = {&facts.total, &facts.byKind[kind],
                                    &facts.byLayer[layer],
                                    &facts.kindsByLayer[layer][kind]};
  if (command.output() != nullptr)
    counted.push_back(&facts.byOutput[command.output()->str()]);
  for (Traffic *traffic : counted) {
    ++traffic->count;
    traffic->bytes += bytes;
  }
}

EntryFacts factsOf(const Engine &engine, const Entry &entry) {
  EntryFacts facts;
  facts.fusions.resize(engine.fusions()->size());
  facts.arenaBytes.resize(engine.arenas()->size());
  for (const Slice *slice : *entry.slices()) {
    uint64_t &end = facts.arenaBytes[slice->arena()];
    end = std::max(end, slice->offset() + saddle::engine::spanBytes(*slice));
  }
  uint32_t previousGroup = 0;
  for (const Command *command : *entry.commands()) {
    if (const Launch *launch = command->action_as_Launch()) {
      ++facts.launches;
      ++facts.ops[engine.kernels()->Get(launch->kernel())->op()->str()];
    } else if (command->action_as_Collective()) {
      ++facts.collectives;
      addCollective(engine, entry, *command, facts);
    } else if (const auto *transfer = command->action_as_Transfer()) {
      bool sends = transfer->kind() == TransferKind::SEND;
      Traffic &traffic = sends ? facts.sent : facts.received;
      ++facts.transfers;
      ++traffic.count;
      traffic.bytes += payloadBytes(*entry.slices()->Get(transfer->slice()));
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

LayerRange layersOf(const Program &program) {
  LayerRange range;
  for (const Entry *entry : *program.entries())
    for (const Command *command : *entry->commands()) {
      int64_t layer = layerOf(command->place()->str());
      if (layer < 0 || !command->action_as_Launch())
        continue;
      bool isFirst = range.first > range.last;
      range.first = isFirst ? layer : std::min(range.first, layer);
      range.last = isFirst ? layer : std::max(range.last, layer);
    }
  return range;
}

MemoryFacts memoryOf(const Engine &engine, uint32_t stage) {
  MemoryFacts facts;
  const Limits &limits = *engine.limits();
  facts.arenas = saddle::engine::arenaBytesOf(engine, stage);
  facts.fullPages = saddle::engine::mostPages(limits);
  saddle::engine::StateCounts one{1, limits.max_batch()};
  std::vector<uint64_t> bytes =
      saddle::engine::arenaBytesOf(engine, stage, one);
  for (uint32_t i = 0; i < bytes.size(); ++i)
    (engine.arenas()->Get(i)->kind() == ArenaKind::PAGES ? facts.page
                                                         : facts.fixed) +=
        bytes[i];
  facts.full = facts.fixed + facts.page * facts.fullPages;
  return facts;
}

std::vector<uint64_t> kernelUses(const Engine &engine) {
  std::vector<uint64_t> uses(engine.kernels()->size());
  for (const Program *program : *engine.programs())
    for (const Entry *entry : *program->entries())
      for (const Command *command : *entry->commands()) {
        // Index + 1; only launches always have one.
        uint32_t kernel = 0;
        if (const Launch *launch = command->action_as_Launch())
          kernel = launch->kernel() + 1;
        else if (const Collective *collective = command->action_as_Collective())
          kernel = collective->kernel();
        else if (const Transfer *transfer = command->action_as_Transfer())
          kernel = transfer->kernel();
        else if (const Copy *copy = command->action_as_Copy())
          kernel = copy->kernel();
        if (kernel > 0)
          ++uses[kernel - 1];
      }
  return uses;
}

} // namespace saddle::inspect
