// What the validators of launches, collectives and transfers share: the entry
// that a command stands in, and checks of its slices.

#ifndef SADDLE_RUNTIME_ENGINE_COMMANDCHECK_H
#define SADDLE_RUNTIME_ENGINE_COMMANDCHECK_H

#include "runtime/src/engine/Validate.h"

namespace saddle::engine {

/// The slices of `entry` are valid.
struct CommandContext {
  const schema::Engine &engine;
  const schema::Program &program;
  const schema::Entry &entry;

  const schema::Slice &slice(uint32_t index) const {
    return *entry.slices()->Get(index);
  }
  Status checkIndex(const char *what, uint32_t index) const;
  Status checkDim(const char *what, uint32_t index, uint32_t dim,
                  uint64_t expected, const char *rule) const;
  /// `index` exists, and its dimension 0 has room for `extent`.
  Status checkRows(const char *what, uint32_t index,
                   schema::Extent extent) const;
  /// Not in a CONSTANT arena.
  Status checkWritable(const char *what, uint32_t index) const;
  /// The rows of `extent`, which must be one that the entry can have.
  StatusOr<uint64_t> countOf(schema::Extent extent) const;
  /// The ranges from first to last byte meet.
  bool overlap(uint32_t a, uint32_t b) const;
};

/// "f32 [4, 8]"
std::string describe(const schema::Slice &slice);

Status validateCollective(const CommandContext &context,
                          const schema::Collective &collective);
Status validateTransfer(const CommandContext &context,
                        const schema::Transfer &transfer);

} // namespace saddle::engine

#endif // SADDLE_RUNTIME_ENGINE_COMMANDCHECK_H
