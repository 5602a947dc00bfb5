// What the host tells a rank's kernels for each step: the step header and the
// bound inputs, written into pinned memory and copied from there in one piece
// where they lie close together (which the compiler sees to). A large block
// table travels by itself, and only the rows that have changed.

#ifndef SADDLE_RUNTIME_CUDA_STEPSTAGING_H
#define SADDLE_RUNTIME_CUDA_STEPSTAGING_H

#include "runtime/kernels/abi.h"
#include "runtime/src/backend/RowCounts.h"
#include "runtime/src/backend/StepInputs.h"
#include "runtime/src/cuda/MemoryPlan.h"

#include <optional>

namespace saddle::cuda {

/// Bytes `staging + from` of the host belong at `heap + to` of the device.
struct CopyRange {
  uint64_t from, to, bytes;
};

/// How the inputs of one entry are staged. Immutable.
struct StagingLayout {
  StagingLayout(const schema::Entry &entry, const MemoryPlan &plan);

  /// Of the staging memory.
  uint64_t bytes = 0;
  /// Copied for every step.
  std::vector<CopyRange> ranges;
  /// Where in the staging memory the step header is.
  uint64_t header = 0;
  /// The block table, when it is copied by rows.
  std::optional<CopyRange> table;
  /// Offsets of the bound slices in the staging memory, by slice index; those
  /// that are no inputs have kNotStaged.
  static constexpr uint64_t kNotStaged = ~uint64_t(0);
  std::vector<uint64_t> slices;
};

/// The inputs of one entry in the staging memory of a rank.
class StepStaging {
public:
  /// `memory` has room for the layout's bytes and is shared by all entries of
  /// the rank.
  StepStaging(const schema::Entry &entry, const MemoryPlan &plan,
              uint8_t *memory);

  /// Writes header and inputs of a batch. `more` becomes what to copy besides
  /// `layout().ranges`: the parts of the block table that differ from what was
  /// written before, or all rows of the batch when `isFresh` (another entry ran
  /// in between).
  void write(const backend::Batch &batch, const backend::PageTables &pages,
             const backend::RowCounts &counts, uint32_t replica,
             uint64_t timeoutNs, bool isFresh,
             std::vector<CopyRange> &more) const;

  const StagingLayout &layout() const { return plan; }

  /// The header of a batch with so many tokens and rows of each replica.
  device::Step headerOf(const backend::Batch &batch,
                        const backend::RowCounts &counts,
                        uint64_t timeoutNs) const;

private:
  void writeTable(const backend::ReplicaBatch &batch,
                  const backend::PageTables &pages, uint32_t replica,
                  bool isFresh, std::vector<CopyRange> &changes) const;

  StagingLayout plan;
  uint32_t slots; // of paged states
  uint8_t *memory;
  std::optional<backend::StepBindings> bindings;
  View table; // without data when it is not copied by rows
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_STEPSTAGING_H
