// Which members of a stack of weights the rows of a launch choose: how many of
// them it reads depends on the rows' values, not on shapes.

#ifndef SADDLE_RUNTIME_BACKEND_CHOICES_H
#define SADDLE_RUNTIME_BACKEND_CHOICES_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/View.h"

#include <optional>
#include <vector>

namespace saddle::backend {

/// A launch that reads chosen members, as one rank sees it.
struct Choices {
  uint32_t slice; // of the entry: the numbers that rows choose, [rows, each]
  uint64_t held;  // members here,
  uint64_t first; // which have the numbers from this one on
  uint64_t each;  // numbers that a row chooses
  schema::Extent extent; // of the rows
  /// Likewise the rows that choose, [rows, columns]; absent where no command
  /// before has left them in memory.
  std::optional<uint32_t> tokens;

  /// How many members here some of the first `rows` rows of `numbers` choose.
  uint64_t count(const View &numbers, uint64_t rows) const;
};

/// The last of the first `rows` rows of `tokens`, in fp32; empty without any.
std::vector<float> lastRow(const View &tokens, uint64_t rows);

/// Nothing for commands that read no stack, or whose choices no command before
/// them has left in memory. The engine has been validated.
std::optional<Choices> choicesOf(const schema::Engine &engine,
                                 const schema::Entry &entry,
                                 const schema::Command &command, uint32_t rank);

} // namespace saddle::backend

#endif // SADDLE_RUNTIME_BACKEND_CHOICES_H
