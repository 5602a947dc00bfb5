// One run of one entry: what a session's scheduler hands to every rank.

#ifndef SADDLE_RUNTIME_BACKEND_BATCH_H
#define SADDLE_RUNTIME_BACKEND_BATCH_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace saddle::backend {

/// What one attention replica does in a batch: docs/Runtime.md, "Step inputs
/// and outputs". Sequences are the replica's batch slots.
struct ReplicaBatch {
  std::vector<int32_t> tokens, positions, sequences, slots;
  /// Token indices within the batch whose logits are wanted, and which row of
  /// the caller's logits each becomes.
  std::vector<int32_t> rows;
  std::vector<size_t> destinations;
};

/// One run of one entry on all ranks.
struct Batch {
  uint32_t entry = 0;
  std::vector<ReplicaBatch> replicas;
  /// Tokens and logits rows of each replica.
  std::vector<uint64_t> tokenCounts, rowCounts;
};

/// Where the tokens of sequences lie. Whoever plans batches knows; backends
/// only ask.
class PageTables {
public:
  /// Pages of the sequence in a replica's batch slot, by block of page_size
  /// tokens. Unchanged while a step runs.
  virtual const std::vector<int32_t> &pagesOf(uint32_t replica,
                                              uint32_t slot) const = 0;

protected:
  ~PageTables() = default; // never owned through this
};

} // namespace saddle::backend

#endif // SADDLE_RUNTIME_BACKEND_BATCH_H
