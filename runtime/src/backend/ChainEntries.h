// Which entries the steps of a chain run: one choice for whoever plans chains
// and whoever prepares them.

#ifndef SADDLE_RUNTIME_BACKEND_CHAINENTRIES_H
#define SADDLE_RUNTIME_BACKEND_CHAINENTRIES_H

#include "runtime/schema/engine_generated.h"

#include <cstdint>
#include <optional>

namespace saddle::backend {

/// Entries as batches number them. Without drafted tokens only `main` counts.
struct ChainEntries {
  uint32_t main = 0;       // takes a sequence's last token and the drafted ones
  uint32_t draftFirst = 0; // of the draft, over the same tokens
  uint32_t draft = 0;      // of the draft, a token of each sequence

  bool operator==(const ChainEntries &other) const {
    return main == other.main && draftFirst == other.draftFirst &&
           draft == other.draft;
  }
};

/// The smallest entries for so many sequences with so many drafted tokens each;
/// none when steps of them do not fit, when the engine yields no candidates, or
/// when the step's tokens are not on every rank that needs them: with several
/// stages or replicas. Nor with drafted
/// tokens where state of sequences cannot be cut.
std::optional<ChainEntries> chainEntriesOf(const schema::Engine &engine,
                                           uint64_t sequences, uint64_t drafts);

} // namespace saddle::backend

#endif // SADDLE_RUNTIME_BACKEND_CHAINENTRIES_H
