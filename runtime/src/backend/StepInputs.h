// The bindings of an entry in memory: writing a batch into those that the host
// writes, and what the host can read (runtime/ops/Bindings.h).

#ifndef SADDLE_RUNTIME_BACKEND_STEPINPUTS_H
#define SADDLE_RUNTIME_BACKEND_STEPINPUTS_H

#include "runtime/ops/Bindings.h"
#include "runtime/schema/engine_generated.h"
#include "runtime/src/backend/Batch.h"
#include "runtime/src/base/View.h"

#include <array>
#include <bitset>

namespace saddle::backend {

/// Something for each binding, by BindingId.
template <typename T>
using PerBinding = std::array<T, ops::kBindings>;
using BindingSet = std::bitset<ops::kBindings>;

/// An output that the steps of an engine can yield.
struct StepOutput {
  const ops::Binding *binding;
  uint64_t width; // elements of a row
  uint64_t rowBytes() const;
};

/// All outputs of a program, the main one unless another is named, in the
/// table's order.
std::vector<StepOutput> outputsOf(const schema::Engine &engine,
                                  std::string_view program = "main");

/// The outputs that alone need the command, some part of which a run must want
/// for it to run; none: it always runs.
BindingSet neededFor(const schema::Command &command);
inline bool isNeeded(const BindingSet &neededFor, const BindingSet &wanted) {
  return neededFor.none() || (neededFor & wanted).any();
}

/// Candidates of each row that the engine's entries yield; 0 when it was
/// compiled without.
uint64_t candidatesOf(const schema::Engine &engine);

/// Bindings of an entry; those that it lacks have no data.
class StepBindings {
public:
  /// `views[i]` is slice i of the entry, where the host can reach it.
  StepBindings(const schema::Entry &entry, const std::vector<View> &views);

  /// Writes what the replica does in a batch. Of the block table only the rows
  /// of the batch's sequences, up to the pages that they hold.
  void write(const ReplicaBatch &batch, const PageTables &pages,
             uint32_t replica) const;

  View &of(ops::BindingId id) { return views[size_t(id)]; }
  const View &of(ops::BindingId id) const { return views[size_t(id)]; }

private:
  PerBinding<View> views;
};

} // namespace saddle::backend

#endif // SADDLE_RUNTIME_BACKEND_STEPINPUTS_H
