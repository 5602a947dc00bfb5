// A program resolved for one rank: arenas allocated, every operand an address,
// every launch a bound kernel, every entry a flat array of commands.

#ifndef SADDLE_RUNTIME_EXEC_RANKPROGRAM_H
#define SADDLE_RUNTIME_EXEC_RANKPROGRAM_H

#include "runtime/src/comm/Communicator.h"
#include "runtime/src/cpu/Kernels.h"
#include "runtime/src/exec/Arenas.h"
#include "runtime/src/exec/Scheduler.h"

#include <chrono>
#include <functional>

namespace saddle::exec {

/// Called before each command; an error makes the rank fail there. For tests.
using CommandHook = std::function<Status(uint32_t rank, const char *location)>;

/// When a command ran, on the steady clock.
struct CommandTime {
  std::chrono::steady_clock::time_point start, end;
};

/// What is behind one command.
struct ResolvedCommand {
  const char *location; // borrowed from the engine
  const char *op;       // the kernel's op, "all_reduce_sum", ..., "copy"
  schema::Extent extent;
  std::unique_ptr<cpu::BoundKernel> kernel; // a launch
  bool isCollective = false;
  comm::Call call;
  View source, dest; // a copy
};

struct ResolvedEntry {
  std::vector<ResolvedCommand> commands;
  View tokens, positions, sequences, slots, blockTable, rows, logits;
};

/// Used by one thread at a time; the engine outlives it.
class RankProgram {
public:
  static StatusOr<std::unique_ptr<RankProgram>>
  create(const schema::Engine &engine, const schema::Program &program,
         uint32_t rank);

  /// Writes the batch's inputs and runs its entry. With `times`, as many as
  /// the entry has commands are recorded. Errors are the communicator's or the
  /// hook's; the former stays failed.
  Status run(const Batch &batch, const Scheduler &scheduler,
             comm::Communicator &communicator, const CommandHook &hook,
             CommandTime *times);

  const std::vector<uint8_t *> &arenaBases() const { return arenas.bases(); }
  const ResolvedEntry &entry(uint32_t index) const { return entries[index]; }

private:
  explicit RankProgram(Arenas arenas) : arenas(std::move(arenas)) {}
  void writeInputs(const ResolvedEntry &entry, const Batch &batch,
                   const Scheduler &scheduler);

  uint32_t rank = 0;
  Arenas arenas;
  cpu::Scratch scratch;
  std::vector<ResolvedEntry> entries;
};

} // namespace saddle::exec

#endif // SADDLE_RUNTIME_EXEC_RANKPROGRAM_H
