#include "runtime/src/engine/Extents.h"

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

uint32_t attentionWidth(const Topology &topology) {
  return topology.tp() / topology.dp();
}

Coordinates coordinatesOf(const Topology &topology, uint32_t rank) {
  uint32_t width = attentionWidth(topology);
  return {rank / topology.tp(), rank % topology.tp() / width, rank % width};
}

uint64_t capacityOf(Extent extent, const Topology &topology,
                    const Entry &entry) {
  uint64_t width = attentionWidth(topology);
  switch (extent) {
  case Extent::TOKENS:
    return entry.tokens();
  case Extent::ROWS:
    return entry.rows();
  case Extent::ALL_TOKENS:
    return topology.dp() * entry.tokens();
  case Extent::ALL_ROWS:
    return topology.dp() * entry.rows();
  case Extent::TOKEN_BLOCK:
  case Extent::TOKEN_SHARE:
    return entry.tokens() % width ? 0 : entry.tokens() / width;
  case Extent::UNKNOWN:
    break;
  }
  return 0;
}

const char *describe(Extent extent) {
  switch (extent) {
  case Extent::TOKENS:
    return "the entry's tokens";
  case Extent::ROWS:
    return "the entry's rows";
  case Extent::ALL_TOKENS:
    return "dp x the entry's tokens";
  case Extent::ALL_ROWS:
    return "dp x the entry's rows";
  case Extent::TOKEN_BLOCK:
  case Extent::TOKEN_SHARE:
    return "the entry's tokens / attention width";
  case Extent::UNKNOWN:
    break;
  }
  return "unknown";
}

Extent outputExtent(const Collective &collective) {
  return collective.output_extent() == Extent::UNKNOWN
             ? collective.extent()
             : collective.output_extent();
}

bool isAlongRows(const Collective &collective) {
  return collective.kind() != CollectiveKind::ALL_REDUCE_SUM &&
         collective.dim() == 0;
}

RowLayout layoutOf(const Entry &entry, Extent all) {
  for (const Command *command : *entry.commands()) {
    const Collective *collective = command->action_as_Collective();
    if (collective && isAlongRows(*collective) &&
        (collective->extent() == all || outputExtent(*collective) == all))
      return collective->layout();
  }
  return RowLayout::PACKED;
}

} // namespace saddle::engine
