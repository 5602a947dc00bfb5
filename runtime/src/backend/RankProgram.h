// What a rank runs, whatever the target: a program of which every operand is an
// address and every entry a flat array of commands.

#ifndef SADDLE_RUNTIME_BACKEND_RANKPROGRAM_H
#define SADDLE_RUNTIME_BACKEND_RANKPROGRAM_H

#include "runtime/src/backend/StepInputs.h"
#include "runtime/src/comm/Transport.h"
#include "runtime/src/weights/WeightLoader.h"

#include <functional>

namespace saddle::backend {

/// What a test makes a rank do instead of a command.
enum class Fault {
  None,
  Skip, // goes on with the next command
  Die,  // stops without a word
};
/// Called before each command; an error makes the rank fail there, loudly. For
/// tests.
using CommandHook =
    std::function<StatusOr<Fault>(uint32_t rank, const char *place)>;

/// Whether a command ran (isNeeded), and when; how many members of a stack of
/// weights its rows chose, and the last of those rows (Choices.h).
struct CommandTrace {
  bool ran = false;
  comm::Clock::time_point start, end;
  uint64_t chosen = 0;
  std::vector<float> tokens;
};

/// A command as reports name it; strings are the engine's or static.
struct CommandName {
  const char *place;  // "layers.3.attention.o_proj"
  const char *op;     // "linear", "all_reduce_sum", "send", "copy"
  const char *kernel; // what runs it; of the CPU's collectives, the op
};

/// One run of one entry, and what all ranks have in common in it.
struct BatchRun {
  const Batch &batch;
  BindingSet wanted; // outputs that will be read
  uint64_t serial;   // differs from that of any other batch of the session
  const PageTables &pages;
  comm::Transport &transport;
  const CommandHook &hook;
  /// Of wanted outputs: memory of the backend for all rows of the step, into
  /// which a rank writes its share by itself; null: outputRow() is asked.
  PerBinding<uint8_t *> direct{};
};

/// Rounds that a chain has at most.
constexpr uint64_t kMostChainRounds = 32;

/// Rounds of greedy steps whose inputs the devices write themselves, from the
/// tokens that they gave (docs/decisions/0017-chains-of-steps.md). Sequences
/// have the order of the first step's inputs; all are of the one replica.
struct ChainPlan {
  struct Sequence {
    uint32_t slot;
    int32_t token, position; // the last one, which the first step feeds
    bool stops;              // at an end-of-sequence token
  };
  uint64_t rounds = 0; // 1 to kMostChainRounds
  uint64_t drafts = 0; // of each sequence in a round, as in the first step
  std::vector<Sequence> sequences;
  std::vector<int32_t>
      drafted; // [sequences, drafts], that the first step feeds
  /// [rounds, sequences]: how many drafted tokens are right whatever the model
  /// says; empty: the model says.
  std::vector<int32_t> forced;
};

/// What a chain gave; valid until the rank's next one.
struct ChainResults {
  /// The best candidate of each row, [rounds, sequences, drafts + 1], and what
  /// was drafted behind them, [rounds, sequences, drafts]. Rounds behind the
  /// end of all sequences mean nothing.
  const float *values = nullptr;
  const int32_t *tokens = nullptr, *drafts = nullptr;
  /// By sequence, that of the token which comes next.
  const int32_t *positions = nullptr;
};

/// Used by one thread at a time; the engine and the backend that made it
/// outlive it.
class RankProgram {
public:
  virtual ~RankProgram() = default;

  /// Fills the rank's weights. Once, before the first run.
  virtual Status load(const WeightSource &source) = 0;

  /// Writes the batch's inputs, runs its entry and returns when it is complete;
  /// false when the hook let the rank die. With `traces`, as many as the entry
  /// has commands are recorded. Errors are the transport's (which stays
  /// failed), the device's or the hook's.
  virtual StatusOr<bool> run(const BatchRun &batchRun,
                             CommandTrace *traces) = 0;

  /// Whether steps of so many sequences can be chained, with so many drafted
  /// tokens each.
  virtual bool canChain(uint64_t sequences, uint64_t drafts) const {
    return false;
  }
  /// As run(), of a chain that canChain() allows and whose first step is the
  /// batch, without hook, traces and outputs; returns when all rounds are
  /// complete.
  virtual Status runChain(const BatchRun &batchRun, const ChainPlan &plan) {
    return {};
  }
  virtual ChainResults chainResults() const { return {}; }

  /// Takes what runs with traces need; between runs, before the first of them.
  /// A further call does nothing. Errors: ResourceExhausted, or the device's.
  virtual Status prepareTrace() = 0;

  /// A row of an output that the BatchRun wanted and gave no memory for, of the
  /// batch that ran last, laid out as ALL_ROWS; of the rank's share only
  /// (outputShare). Valid until the next run.
  virtual const uint8_t *outputRow(ops::BindingId output,
                                   uint64_t row) const = 0;

  /// Keeps a copy of the state of the sequence in a batch slot, under a number
  /// of the caller's that is not in use; restores it to the same slot; frees
  /// it. State of sequences only: tokens' pages are the scheduler's business.
  /// Between runs. Errors: ResourceExhausted, or the device's.
  virtual Status keepState(uint32_t slot, uint32_t snapshot) = 0;
  virtual Status restoreState(uint32_t slot, uint32_t snapshot) = 0;
  virtual void releaseState(uint32_t snapshot) = 0;

  /// How long the device was busy with the last run; 0 when there is none.
  virtual std::chrono::nanoseconds deviceTime() const { return {}; }

  const std::vector<CommandName> &commands(uint32_t entry) const {
    return names[entry];
  }

protected:
  std::vector<std::vector<CommandName>> names; // by entry
};

/// The entries of all programs of a rank's stage, as batches number them.
std::vector<const schema::Entry *> entriesOf(const schema::Engine &engine,
                                             uint32_t rank);

/// The main program of a rank's stage.
const schema::Program &programOf(const schema::Engine &engine, uint32_t rank);

/// The commands of `entry` by name.
std::vector<CommandName> namesOf(const schema::Engine &engine,
                                 const schema::Entry &entry);

/// The end of a run that the hook stops at `name`: the error, told to all
/// ranks.
Status failAt(const BatchRun &batchRun, uint32_t rank, const CommandName &name,
              const Status &error);

} // namespace saddle::backend

#endif // SADDLE_RUNTIME_BACKEND_RANKPROGRAM_H
