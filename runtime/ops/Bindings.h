// What a step takes and yields: the one table of the slices of an entry that
// the host writes before it runs, or reads after it (docs/Runtime.md, "Step
// inputs and outputs"). Conversion, validation and sessions ask here.

#ifndef SADDLE_RUNTIME_OPS_BINDINGS_H
#define SADDLE_RUNTIME_OPS_BINDINGS_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Span.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace saddle::ops {

enum class BindingId : uint8_t {
  Tokens,
  Positions,
  Rows,
  Sequences,
  Slots,
  BlockTable,
  Logits,
  CandidateValues,
  CandidateTokens,
};
constexpr size_t kBindings = 9;

enum class Direction : uint8_t { HostWrites, HostReads };

/// What shapes of bindings are made of.
enum class Dim : uint8_t {
  Tokens,     // of the entry
  Rows,       // of the entry
  AllRows,    // rows of all attention replicas
  Sequences,  // batch slots of a replica: max_batch
  Pages,      // of the longest sequence
  Vocab,      //
  Candidates, // of a row; the entry itself says how many
};

/// The dims of one entry as numbers.
struct Sizes {
  uint64_t tokens = 0, rows = 0, replicas = 1, sequences = 0, pages = 0,
           vocab = 0, candidates = 0;
  uint64_t of(Dim dim) const;
};

/// Pipeline stages.
enum class Stages : uint8_t { All, First, Last };

/// Something that a step yields for each wanted row: one binding or several
/// that belong together.
struct Output {
  const char *name;
  /// How an engine gets it, for messages; null: every engine has it.
  const char *option;
};

struct Binding {
  BindingId id;
  const char *name;
  Direction direction;
  schema::DType dtype;
  std::vector<Dim> dims;
  /// The run-time count of dimension 0; UNKNOWN: always whole.
  schema::Extent extent;
  /// Stages of which every entry has it. Inputs may be bound elsewhere, too;
  /// outputs may not.
  Stages stages;
  /// What it is a part of; null for inputs. An entry has all parts of an output
  /// or none.
  const Output *output;

  bool isOutput() const { return direction == Direction::HostReads; }
  /// Of the main program. Others yield what they like.
  bool isRequired(bool isMain, bool isFirstStage, bool isLastStage) const;
  std::vector<uint64_t> shape(const Sizes &sizes) const;
};

/// All of them; element i has the id i. Outputs come last, and in the order in
/// which a program's function returns them.
Span<const Binding> bindings();
/// Those that the host reads.
Span<const Binding> outputs();
inline const Binding &bindingOf(BindingId id) { return bindings()[size_t(id)]; }
/// The binding of that name, or null.
const Binding *findBinding(std::string_view name);
/// The parts of the output of that name; none when there is no such output.
std::vector<const Binding *> partsOfOutput(std::string_view name);

} // namespace saddle::ops

#endif // SADDLE_RUNTIME_OPS_BINDINGS_H
