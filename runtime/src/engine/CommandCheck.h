// What the validators of launches, collectives and transfers share: the entry
// that a command stands in, and checks of its slices.

#ifndef SADDLE_RUNTIME_ENGINE_COMMANDCHECK_H
#define SADDLE_RUNTIME_ENGINE_COMMANDCHECK_H

#include "runtime/src/engine/Validate.h"

#include <vector>

namespace saddle::engine {

/// The slices of `entry` are valid.
struct CommandContext {
  const schema::Engine &engine;
  const schema::Program &program;
  const schema::Entry &entry;
  const std::vector<GroupFacts> &groups;

  const schema::Slice &slice(uint32_t index) const {
    return *entry.slices()->Get(index);
  }
  Status checkIndex(const char *what, uint32_t index) const;
  Status checkDim(const char *what, uint32_t index, uint32_t dim,
                  uint64_t expected, const char *rule) const;
  /// `index` exists, and its dimension 0 has room for `extent`.
  Status checkRows(const char *what, uint32_t index,
                   schema::Extent extent) const;
  /// Not in a CONSTANT or EXCHANGE arena.
  Status checkWritable(const char *what, uint32_t index) const;
  /// Not in an EXCHANGE arena, where only exchange memory lies.
  Status checkData(const char *what, uint32_t index) const;
  /// The rows of `extent`, which must be one that the entry can have.
  StatusOr<uint64_t> countOf(schema::Extent extent) const;
  /// The ranges from first to last byte meet.
  bool overlap(uint32_t a, uint32_t b) const;
};

/// Memory of a command besides its operands: index + 1 of a slice, or 0.
struct CommandMemory {
  uint32_t workspace = 0;
  uint32_t exchange = 0;
};

/// Workspace and exchange memory of a command whose `operands` (slices) are
/// valid; none on the CPU.
Status validateMemory(const CommandContext &context,
                      const CommandMemory &memory,
                      const std::vector<uint32_t> &operands);
/// The kernel (index + 1) of a command that is no launch: one of `op` for
/// devices, none on the CPU.
Status validateRunner(const CommandContext &context, uint32_t kernel,
                      const char *op);

/// "f32 [4, 8]"
std::string describe(const schema::Slice &slice);

Status validateCollective(const CommandContext &context,
                          const schema::Collective &collective);
Status validateTransfer(const CommandContext &context,
                        const schema::Transfer &transfer);

} // namespace saddle::engine

#endif // SADDLE_RUNTIME_ENGINE_COMMANDCHECK_H
