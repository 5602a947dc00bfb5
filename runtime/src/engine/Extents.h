// How many rows a command's operands have, and whose they are: the arithmetic
// of ranks, replicas and extents (docs/Runtime.md, "Ranks, replicas, stages").

#ifndef SADDLE_RUNTIME_ENGINE_EXTENTS_H
#define SADDLE_RUNTIME_ENGINE_EXTENTS_H

#include "runtime/schema/engine_generated.h"

namespace saddle::engine {

/// Where a rank stands. The topology is valid.
struct Coordinates {
  uint32_t stage;
  uint32_t replica; // of attention, in its stage
  uint32_t member;  // of the replica
};
Coordinates coordinatesOf(const schema::Topology &topology, uint32_t rank);

/// Ranks of one attention replica: tp / dp.
uint32_t attentionWidth(const schema::Topology &topology);

/// Dimension 0 of an operand of `extent`; 0 when the extent is unknown, or is
/// TOKEN_BLOCK or TOKEN_SHARE and the entry's tokens are no multiple of the
/// width.
uint64_t capacityOf(schema::Extent extent, const schema::Topology &topology,
                    const schema::Entry &entry);

/// "dp x the entry's tokens", for messages.
const char *describe(schema::Extent extent);

/// The extent of a collective's output.
schema::Extent outputExtent(const schema::Collective &collective);

/// Whether ranks' rows are put side by side, or taken apart.
bool isAlongRows(const schema::Collective &collective);

/// How the rows of all replicas lie in the entry's buffers of extent `all`,
/// ALL_TOKENS or ALL_ROWS; PACKED when no collective says.
schema::RowLayout layoutOf(const schema::Entry &entry, schema::Extent all);

} // namespace saddle::engine

#endif // SADDLE_RUNTIME_ENGINE_EXTENTS_H
