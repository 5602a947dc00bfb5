// The step inputs of an entry: which bindings it has, and writing a batch into
// them (docs/Runtime.md, "Step inputs and outputs").

#ifndef SADDLE_RUNTIME_EXEC_STEPINPUTS_H
#define SADDLE_RUNTIME_EXEC_STEPINPUTS_H

#include "runtime/src/base/View.h"
#include "runtime/src/exec/Scheduler.h"

namespace saddle::exec {

/// Bindings of an entry; those that it lacks have no data.
struct StepBindings {
  /// `views[i]` is slice i of the entry, where the host can reach it.
  StepBindings(const schema::Entry &entry, const std::vector<View> &views);

  /// Writes what the replica does in a batch. Of the block table only the rows
  /// of the batch's sequences, up to the pages that they hold.
  void write(const ReplicaBatch &batch, const Scheduler &scheduler,
             uint32_t replica) const;

  View tokens, positions, sequences, slots, blockTable, rows, logits;
};

} // namespace saddle::exec

#endif // SADDLE_RUNTIME_EXEC_STEPINPUTS_H
