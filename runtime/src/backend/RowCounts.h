// How many rows each extent has in a batch, as one rank sees it
// (runtime/schema/engine.fbs, `Extent`).

#ifndef SADDLE_RUNTIME_BACKEND_ROWCOUNTS_H
#define SADDLE_RUNTIME_BACKEND_ROWCOUNTS_H

#include "runtime/src/backend/Batch.h"
#include "runtime/src/comm/Exchange.h"
#include "runtime/src/engine/Extents.h"

#include <array>

namespace saddle::backend {

/// What row counts depend on in an entry.
struct RowRules {
  explicit RowRules(const schema::Entry &entry)
      : tokens(entry.tokens()),
        allTokens(engine::layoutOf(entry, schema::Extent::ALL_TOKENS)),
        allRows(engine::layoutOf(entry, schema::Extent::ALL_ROWS)) {}

  uint64_t tokens;
  schema::RowLayout allTokens, allRows;
};

class RowCounts {
public:
  static constexpr size_t kExtents = 7;
  RowCounts(const schema::Topology &topology, uint32_t rank);

  /// Takes the counts of `batch`, which outlives their use.
  void set(const Batch &batch, const RowRules &entry);

  uint64_t of(schema::Extent extent) const { return counts[size_t(extent)]; }
  /// What the members of a collective have: their own rows when rows are
  /// gathered or scattered, else one number for all.
  comm::Counts ofMembers(const schema::Collective &collective) const;

private:
  const engine::Coordinates coordinates;
  const uint32_t width; // of an attention replica
  const Batch *batch = nullptr;
  std::array<uint64_t, kExtents> counts{}; // by extent
  // TOKEN_BLOCK and TOKEN_SHARE of the replica's ranks.
  std::vector<uint64_t> blocks, shares;
};

/// First row of a replica where those of all replicas lie together.
uint64_t firstRow(schema::RowLayout layout, const std::vector<uint64_t> &counts,
                  uint32_t replica);

/// Which of `rows` rows of outputs a rank brings to the host: all ranks of the
/// last stage have them, so that each brings its part; one that runs alone
/// brings them all.
struct RowShare {
  uint64_t first, end;
};
RowShare outputShare(const schema::Topology &topology, uint32_t rank,
                     uint64_t rows, bool isAlone);

} // namespace saddle::backend

#endif // SADDLE_RUNTIME_BACKEND_ROWCOUNTS_H
