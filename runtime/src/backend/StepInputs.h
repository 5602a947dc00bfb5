// The step inputs and outputs of an entry: which bindings it has, and writing a
// batch into them (docs/Runtime.md, "Step inputs and outputs").

#ifndef SADDLE_RUNTIME_BACKEND_STEPINPUTS_H
#define SADDLE_RUNTIME_BACKEND_STEPINPUTS_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/backend/Batch.h"
#include "runtime/src/base/Span.h"
#include "runtime/src/base/View.h"

#include <iterator>
#include <optional>

namespace saddle::backend {

/// What a step yields for each wanted token.
enum class Output {
  Logits,     // a row of the vocabulary
  Candidates, // the best tokens of it, by values and tokens
};

/// The bindings that the host reads; it writes all others.
constexpr const char *kOutputBindings[] = {"logits", "candidate_values",
                                           "candidate_tokens"};
/// Those that an output is made of, as indices.
Span<const size_t> bindingsOf(Output output);
/// Index in kOutputBindings, or nothing for an input.
std::optional<size_t> outputIndex(const schema::Binding &binding);

/// Candidates of each row that the engine's entries yield; 0 when it was
/// compiled without.
uint64_t candidatesOf(const schema::Engine &engine);

/// Bindings of an entry; those that it lacks have no data.
struct StepBindings {
  /// `views[i]` is slice i of the entry, where the host can reach it.
  StepBindings(const schema::Entry &entry, const std::vector<View> &views);

  /// Writes what the replica does in a batch. Of the block table only the rows
  /// of the batch's sequences, up to the pages that they hold.
  void write(const ReplicaBatch &batch, const PageTables &pages,
             uint32_t replica) const;

  View tokens, positions, sequences, slots, blockTable, rows;
  View outputs[std::size(kOutputBindings)];
};

} // namespace saddle::backend

#endif // SADDLE_RUNTIME_BACKEND_STEPINPUTS_H
