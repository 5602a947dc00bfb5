// A program resolved for one rank: arenas allocated, every operand an address,
// every launch a bound kernel, every entry a flat array of commands.

#ifndef SADDLE_RUNTIME_EXEC_RANKPROGRAM_H
#define SADDLE_RUNTIME_EXEC_RANKPROGRAM_H

#include "runtime/src/comm/Communicator.h"
#include "runtime/src/cpu/Kernels.h"
#include "runtime/src/exec/Arenas.h"
#include "runtime/src/exec/RowCounts.h"

#include <functional>

namespace saddle::exec {

/// What a test makes a rank do instead of a command.
enum class Fault {
  None,
  Skip, // goes on with the next command
  Die,  // stops without a word
};
/// Called before each command; an error makes the rank fail there, loudly. For
/// tests.
using CommandHook =
    std::function<StatusOr<Fault>(uint32_t rank, const char *location)>;

/// When a command ran.
struct CommandTime {
  comm::Clock::time_point start, end;
};

/// One run of one entry, and what all ranks have in common in it.
struct Launching {
  const Batch &batch;
  uint64_t serial; // differs from that of any other batch of the session
  const Scheduler &scheduler;
  comm::Communicator &communicator;
  const CommandHook &hook;
};

/// What is behind one command; exactly one of kernel, collective, transfer and
/// copy is set.
struct ResolvedCommand {
  const char *location; // borrowed from the engine
  const char *op;       // the kernel's op, "all_reduce_sum", "send", "copy"
  schema::Extent extent;
  std::unique_ptr<cpu::BoundKernel> kernel;
  const schema::Collective *collective = nullptr;
  comm::Call call; // of the collective
  const schema::Transfer *transfer = nullptr;
  comm::Parcel parcel; // of the transfer
  const schema::Copy *copy = nullptr;
  View source, dest; // of the copy
};

struct ResolvedEntry {
  explicit ResolvedEntry(const schema::Entry &entry) : rules(entry) {}

  RowRules rules;
  std::vector<ResolvedCommand> commands;
  /// Without data where the entry has no such binding.
  View tokens, positions, sequences, slots, blockTable, rows, logits;
};

/// Used by one thread at a time; the engine outlives it.
class RankProgram {
public:
  /// `program` is that of the rank's stage.
  static StatusOr<std::unique_ptr<RankProgram>>
  create(const schema::Engine &engine, const schema::Program &program,
         uint32_t rank);

  /// Writes the batch's inputs and runs its entry; false when the hook let the
  /// rank die. With `times`, as many as the entry has commands are recorded.
  /// Errors are the communicator's or the hook's; the former stays failed.
  StatusOr<bool> run(const Launching &launching, CommandTime *times);

  const std::vector<uint8_t *> &arenaBases() const { return arenas.bases(); }
  const ResolvedEntry &entry(uint32_t index) const { return entries[index]; }

private:
  RankProgram(const schema::Topology &topology, uint32_t rank, Arenas arenas)
      : rank(rank), place(engine::placeOf(topology, rank)),
        arenas(std::move(arenas)), counts(topology, rank) {}
  ResolvedCommand resolve(const schema::Engine &engine,
                          const schema::Command &command,
                          const std::vector<View> &views);
  void writeInputs(const ResolvedEntry &entry, const ReplicaBatch &batch,
                   const Scheduler &scheduler);
  Status execute(const ResolvedCommand &command, const Launching &launching,
                 uint64_t transfers);

  const uint32_t rank;
  const engine::Place place;
  Arenas arenas;
  cpu::Scratch scratch;
  std::vector<ResolvedEntry> entries;
  RowCounts counts; // of the current batch
};

} // namespace saddle::exec

#endif // SADDLE_RUNTIME_EXEC_RANKPROGRAM_H
