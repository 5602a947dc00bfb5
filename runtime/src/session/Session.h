// A model ready to run: weights loaded, one thread per rank, sequences with a
// paged KV cache.

#ifndef SADDLE_RUNTIME_SESSION_SESSION_H
#define SADDLE_RUNTIME_SESSION_SESSION_H

#include "runtime/src/backend/Backend.h"
#include "runtime/src/base/Guard.h"
#include "runtime/src/comm/Lapses.h"
#include "runtime/src/session/Scheduler.h"
#include "runtime/src/session/Snapshots.h"
#include "runtime/src/session/Traffic.h"
#include "runtime/src/session/Workers.h"

#include <chrono>
#include <cstdlib>
#include <shared_mutex>
#include <string_view>

namespace saddle::session {

struct SessionOptions {
  /// How long a rank may make no progress while others wait for it.
  std::chrono::milliseconds timeout{10000};
  /// Most tokens of a prefill batch, for each replica; 0 means the engine's
  /// limit.
  uint64_t prefillChunk = 0;
  /// Into how many batches a step of several sequences is cut, so that pipeline
  /// stages overlap; 0 means as many as there are stages.
  uint64_t microBatches = 0;
  /// Of a device target: several ranks may share a device when there are fewer
  /// devices than ranks. Slow, meant for trying topologies out.
  bool shareDevices = false;
  /// Of a device target: a library of NCCL (a file name for dlopen) that does
  /// the all-reduces of at least so many bytes on each rank, counted with all
  /// rows that an entry has room for; empty: none.
  std::string ncclLibrary;
  uint64_t ncclAboveBytes = backend::kNcclAboveBytes;
  /// Weights of the engine's checkpoints beside the main one.
  std::vector<CheckpointPlace> otherWeights;
  /// Tokens that each attention replica's KV pages have room for, rounded up to
  /// pages; 0: backend::choosePages says.
  uint64_t kvTokens = 0;
  /// Of a device target: runs this rank only. Its peers are itself, as what it
  /// sends comes back to it, so that steps take what the rank's kernels take,
  /// and outputs are numbers of no model.
  std::optional<uint32_t> alone;
  backend::CommandHook beforeCommand;
};

/// An output that a step is to yield, and the caller's memory for it: rows of
/// the engine's width, one for each wanted token, inputs in order, positions
/// ascending.
struct WantedOutput {
  std::string_view name; // of runtime/ops/Bindings.h: "logits"
  void *data;
  uint64_t bytes; // that `data` holds
};

/// What create() took; of ranks, the one that took longest.
struct LoadTimes {
  std::chrono::nanoseconds devices{}; // and their code
  std::chrono::nanoseconds memory{};  // and graphs
  std::chrono::nanoseconds weights{};
};

/// One command of one batch on one rank.
struct TraceEvent {
  uint32_t rank;
  size_t batch;      // its number in the step
  const char *entry; // name; borrowed from the engine, as the next three
  const char *place; // "layers.3.attention.o_proj"
  const char *op;
  const char *kernel;
  uint64_t tokens; // of the rank's attention replica in the batch
  uint64_t bytes;  // that it must move at least (Traffic.h)
  Routing routing;
  Operations operations;
  Exchange exchange;
  Chain chain;
  backend::CommandTrace time;
};
using TraceSink = std::function<void(const TraceEvent &)>;

/// Not thread-safe: one caller at a time. After a step failed on some rank, or
/// memory ran short in the middle of a change, the session is broken: whatever
/// would change it repeats that error. Its destructor waits for a rank that is
/// stuck.
class Session {
public:
  /// `weights`, those of the main checkpoint, is a folder or "synthetic:SEED"
  /// (WeightSource::open). Ranks hold all programs of the engine; steps run the
  /// main one unless they say otherwise. Errors:
  /// everything that making the backend, opening and loading weights refuses.
  /// Without a `backend`, that of the engine's target is made; without a
  /// `transport`, ranks meet as threads of this process (its partitions are the
  /// engine's rank groups).
  static StatusOr<std::unique_ptr<Session>>
  create(std::shared_ptr<const Engine> engine, const std::string &weights,
         const SessionOptions &options,
         std::unique_ptr<backend::Backend> backend = nullptr,
         std::unique_ptr<comm::Transport> transport = nullptr);

  StatusOr<uint32_t> addSequence();
  Status removeSequence(uint32_t sequence);
  /// Tokens that a program has stepped over.
  uint64_t length(uint32_t sequence, uint32_t program = 0) const {
    return scheduler.length(sequence, program);
  }
  /// The attention replica of a sequence.
  uint32_t replicaOf(uint32_t sequence) const {
    return scheduler.replicaOf(sequence);
  }
  uint64_t freePages() const { return scheduler.freePages(); }
  /// Of each attention replica.
  uint64_t numPages() const { return scheduler.numPages(); }

  /// Makes a sequence forget all but its first `length` tokens, so that the
  /// next step goes on from there as if the others had never been. Exact for
  /// paged state. With state of sequences (hasSequenceState) `length` is 0, all
  /// tokens, or what a snapshot of the sequence holds. InvalidArgument
  /// otherwise, for a sequence that does not exist, and for more tokens than it
  /// holds.
  /// Of another program than the main one only its own steps are forgotten;
  /// what it keeps is paged.
  Status truncate(uint32_t sequence, uint64_t length, uint32_t program = 0);

  /// A snapshot of the sequence as it is: a copy of its own state, on every
  /// rank; pages are not copied. It lives until it is released or its sequence
  /// removed. Errors: InvalidArgument, ResourceExhausted.
  StatusOr<uint32_t> keep(uint32_t sequence);
  /// Cuts the sequence back to what it was. Any number of times, but not after
  /// it was cut to fewer tokens: InvalidArgument, as for a snapshot that does
  /// not exist or is of another sequence.
  Status restore(uint32_t sequence, uint32_t snapshot);
  /// InvalidArgument when there is no such snapshot.
  Status release(uint32_t snapshot);

  /// Appends tokens to sequences and computes the wanted outputs; only those
  /// leave the devices. Errors that refuse the inputs (InvalidArgument,
  /// ResourceExhausted) change nothing: an output that is unknown, that the
  /// engine lacks or that is named twice; memory that is null or too small;
  /// what Scheduler::begin refuses. `program` is a number of
  /// engine::programNames.
  Status step(Span<const SequenceInput> inputs,
              Span<const WantedOutput> outputs, uint32_t program = 0);

  /// Whether so many sequences, with so many drafted tokens each, can be
  /// stepped in chains: the target can, nothing watches single commands.
  bool canChain(uint64_t sequences, uint64_t drafts) const {
    return !trace && !options.beforeCommand &&
           ranks[0]->canChain(sequences, drafts);
  }
  /// `plan.rounds` greedy steps in a row without the host, which canChain()
  /// allows. Of each sequence `inputs` feed the last token and
  /// `plan.drafts` drafted ones, all rows wanted; the draft is where the main
  /// program is. A round is a step of the main program; with drafted tokens
  /// it keeps those that the model would have chosen and drafts as many anew.
  /// Of `plan` whoever calls sets rounds, drafts, forced and, of the sequences,
  /// `stops`. Null, and nothing has changed, when sequences would grow beyond
  /// their limits or the pages: step() then. Behind it sequences hold the
  /// tokens that the model chose, but for the last one. Results are valid until
  /// the next chain. Errors as of step().
  StatusOr<const backend::ChainResults *>
  chain(Span<const SequenceInput> inputs, backend::ChainPlan &plan);

  /// A buffer of the session's for `rows` rows of an output, the best one to
  /// give to step(): devices write into it without a copy. Valid until the next
  /// call for this output, and as long as the session.
  StatusOr<void *> outputBuffer(std::string_view name, size_t rows);

  /// The outputs that steps of the main program can yield.
  const std::vector<backend::StepOutput> &outputs() const {
    return available[0];
  }

  const LoadTimes &loadTimes() const { return times; }

  /// How long devices were busy with the last step: of the rank that took
  /// longest, all its batches. 0 on the CPU.
  std::chrono::nanoseconds deviceTime() const;

  /// Reports each command after its step, on the calling thread; null stops.
  void setTrace(TraceSink sink) { trace = std::move(sink); }

  const Engine &engine() const { return *loaded; }

private:
  Session(std::shared_ptr<const Engine> engine, Scheduler scheduler,
          std::unique_ptr<backend::Backend> backend,
          std::unique_ptr<comm::Transport> transport,
          const SessionOptions &options);
  /// Where rows of outputs go; null for the others.
  using Destinations = backend::PerBinding<uint8_t *>;
  struct Freed {
    void operator()(uint8_t *memory) const { std::free(memory); }
  };
  /// Memory behind outputBuffer().
  struct OutputBuffer {
    std::unique_ptr<backend::HostMemory> hostMemory; // or
    std::unique_ptr<uint8_t, Freed> plain;
    uint8_t *start = nullptr;
    size_t rows = 0;
  };

  /// Runs what changes the session. A throw in its midst leaves it half done,
  /// and the session broken.
  template <typename Work>
  std::invoke_result_t<Work> change(Work &&work) {
    SADDLE_RETURN_IF_ERROR(broken);
    return guard(work, [this](const Status &error) { broken = error; });
  }
  Status removeWithSnapshots(uint32_t sequence);
  Status cutBack(uint32_t sequence, uint64_t length, uint32_t program);
  Status stepOver(Span<const SequenceInput> inputs,
                  Span<const WantedOutput> outputs, uint32_t program);
  StatusOr<const backend::ChainResults *>
  chainOver(Span<const SequenceInput> inputs, backend::ChainPlan &plan);
  Status load(const std::string &weights);
  /// Whether the rank runs here: all do, or one alone.
  bool isHere(uint32_t rank) const {
    return rank == options.alone.value_or(rank);
  }
  /// Runs `job` on the ranks of a sequence's attention replica, between steps.
  Status onRanksOf(uint32_t sequence, const Workers::Job &job);
  /// Cuts back to a snapshot that the sequence can be cut to.
  Status bringBack(uint32_t sequence, uint32_t snapshot, uint64_t length);
  Status drop(uint32_t sequence, uint32_t snapshot);
  /// Runs a step's `work` on every rank's thread; the first failure of all.
  Status runOnRanks(const Workers::Job &work);
  Status runBatches();
  Status runRank(uint32_t rank);
  Status runChainOnRank(uint32_t rank);
  backend::BatchRun runOf(size_t batch);
  bool areStuck(const std::vector<uint32_t> &missing);
  /// The output of that name, or why there is none.
  StatusOr<const backend::StepOutput *> findOutput(std::string_view name,
                                                   uint32_t program = 0) const;
  /// Takes the outputs of a step of so many rows into `wanted`, `direct` and
  /// `to`.
  Status takeOutputs(Span<const WantedOutput> outputs, size_t rows,
                     uint32_t program, Destinations &to);
  /// Copies the rank's share of the batch's outputs to the caller.
  void collect(size_t index, uint32_t rank);
  void report() const;

  std::shared_ptr<const Engine> loaded;
  SessionOptions options;
  Scheduler scheduler;
  Snapshots snapshots;
  TraceSink trace;
  // Of the current step. Ranks may still read them after a failure.
  std::vector<backend::Batch> batches;
  size_t batchCount = 0;
  backend::ChainPlan chainPlan;
  backend::ChainResults chainResults;
  uint64_t serial = 0;  // of the first batch
  uint32_t stepped = 0; // the program
  backend::BindingSet wanted;
  /// Of wanted outputs that go into memory of the backend.
  Destinations direct{};
  /// Where the step's other outputs go, those that the caller no longer waits
  /// for null. Guarded, since a rank that was given up may come back.
  Destinations destinations{};
  std::shared_mutex destinationsMutex;
  std::vector<size_t> finished;            // batches of each rank
  comm::Lapses lapses{comm::Clock::now()}; // as the caller sees them
  LoadTimes times;
  std::vector<std::chrono::nanoseconds> deviceTimes; // [rank]
  std::vector<std::vector<std::vector<backend::CommandTrace>>>
      traces; // [rank][batch]
  std::unique_ptr<backend::Backend> backend;
  // In this order: ranks may still write into the memory, which is the
  // backend's.
  backend::PerBinding<OutputBuffer> buffers;
  std::vector<std::unique_ptr<backend::RankProgram>> ranks;
  std::vector<schema::RowLayout> layouts; // of outputs, by entry
  std::vector<std::vector<backend::StepOutput>> available; // by program
  std::unique_ptr<comm::Transport> transport;
  Status broken;
  Workers workers; // last: its destructor waits for users of all the above
};

} // namespace saddle::session

#endif // SADDLE_RUNTIME_SESSION_SESSION_H
