// One rank of an engine on its device.
//
// A batch is a copy of step header and inputs, the launches of its entry, and a
// copy of the wanted outputs back, all in one stream. The launches are replayed
// as a graph; with a hook or a trace they go into the stream one by one with an
// event behind each.
//
// A chain is a copy of its first step's inputs and a graph for each round, the
// next of which stands in the stream before the one before it has ended.

#ifndef SADDLE_RUNTIME_CUDA_DEVICEPROGRAM_H
#define SADDLE_RUNTIME_CUDA_DEVICEPROGRAM_H

#include "runtime/src/backend/ChainEntries.h"
#include "runtime/src/backend/Choices.h"
#include "runtime/src/cuda/ChainMemory.h"
#include "runtime/src/cuda/CudaBackend.h"
#include "runtime/src/cuda/FaultReport.h"
#include "runtime/src/cuda/KernelCollectives.h"
#include "runtime/src/cuda/Launcher.h"
#include "runtime/src/cuda/StepStaging.h"

#include <map>

namespace saddle::cuda {

class DeviceProgram : public backend::RankProgram {
public:
  /// The backend outlives the result. Errors name the rank.
  static StatusOr<std::unique_ptr<backend::RankProgram>>
  create(const CudaBackend &backend, uint32_t rank);
  /// Waits for what still runs.
  ~DeviceProgram() override;

  Status load(const WeightSource &source) override;
  StatusOr<bool> run(const backend::BatchRun &batchRun,
                     backend::CommandTrace *traces) override;
  bool canChain(uint64_t sequences, uint64_t drafts) const override {
    return findChain(sequences, drafts) != nullptr;
  }
  Status runChain(const backend::BatchRun &batchRun,
                  const backend::ChainPlan &plan) override;
  backend::ChainResults chainResults() const override {
    return chainMemory->results();
  }
  Status prepareTrace() override;
  const uint8_t *outputRow(ops::BindingId output, uint64_t row) const override;
  Status keepState(uint32_t slot, uint32_t snapshot) override;
  Status restoreState(uint32_t slot, uint32_t snapshot) override;
  void releaseState(uint32_t snapshot) override { snapshots.erase(snapshot); }
  std::chrono::nanoseconds deviceTime() const override { return lastTime; }

  /// Where the rank's arenas are, for tests.
  const RankAddresses &memory() const { return addresses; }

private:
  /// Numbers of members that a command's rows chose, and the last of the rows,
  /// copied to the host behind it; the command after it begins when `copied`
  /// has passed.
  struct TracedChoices {
    backend::Choices choices;
    View onDevice;   // with the address there
    uint64_t offset; // in `chosen`
    View tokens;     // on the device; no data where there are none
    uint64_t tokensOffset;
    Event copied;
  };
  struct DeviceEntry {
    const schema::Entry *entry;
    backend::RowRules rules;
    StepStaging staging;
    /// Either a kernel of the engine or a collective of some provider.
    struct Command {
      backend::BindingSet neededFor;
      DeviceCommand kernel;
      std::unique_ptr<StreamCollective> collective;
      bool isKernel = true; // the engine's, after all
    };
    std::vector<Command> commands;
    /// What ranks may wait in without saying so; null: nothing.
    const char *silentWait = nullptr;
    GraphExec graph;
    /// Of what a run without logits needs; null where that is all.
    GraphExec withoutLogits;
    /// Where in the heap each output is, and how far apart its rows; no bytes
    /// when the entry has none.
    struct Place {
      uint64_t address = 0, rowBytes = 0;
    };
    backend::PerBinding<Place> outputs;
    std::map<size_t, TracedChoices> choices; // by command
  };

  /// Rounds of one shape.
  struct ChainGraph {
    backend::ChainEntries entries;
    uint64_t drafts;
    GraphExec graph;
  };

  DeviceProgram(const CudaBackend &backend, uint32_t rank);
  Status allocate();
  void resolveEntries();
  void resolveCommands(DeviceEntry &entry,
                       std::vector<backend::CommandName> &commandNames);
  /// What `enqueue` puts into the stream, as a graph.
  StatusOr<GraphExec> capture(const std::function<Status()> &enqueue);
  /// What a run of which `wanted` will be read needs of the entry's commands,
  /// the first of which follows nothing. The last of them; null without any.
  StatusOr<const DeviceEntry::Command *>
  launchAll(const DeviceEntry &entry, const backend::BindingSet &wanted);
  /// The graphs of all chains that the engine has entries for.
  Status captureChains();
  Status captureChain(const backend::ChainEntries &steps, uint64_t drafts);
  const ChainGraph *findChain(uint64_t sequences, uint64_t drafts) const;
  /// Puts a command into the stream, directly behind `before`, or null.
  Status launch(const DeviceEntry::Command &command,
                const DeviceEntry::Command *before);
  Status captureEntry(DeviceEntry &entry);
  Status zero(uint64_t address, uint64_t bytes);
  /// Between a batch slot and a copy at address `kept`; complete when it
  /// returns.
  Status copyState(uint32_t slot, uint64_t kept, bool restores);

  Status copyInputs(const CopyRange &range);
  Status copyInputs(const DeviceEntry &entry);
  /// Rows of an output of the last entry, from row `from` on.
  Status copyRows(size_t output, uint64_t from, void *to, uint64_t rows);
  /// The rank's share of the rows of an output to `to`, which has room for all
  /// rows of the step.
  Status copyDirectly(size_t output, uint8_t *to, const backend::Batch &batch);
  Status copyOutputs(const backend::BatchRun &batchRun);
  /// False when the hook let the rank die.
  StatusOr<bool> runBatch(const backend::BatchRun &batchRun,
                          backend::CommandTrace *traces);
  /// Writes the batch's inputs into pinned memory; `changes` are set.
  const DeviceEntry &prepare(const backend::BatchRun &batchRun);
  Status runRounds(const backend::BatchRun &batchRun,
                   const backend::ChainPlan &plan);
  /// Tells other ranks of what ended a run.
  void giveUp(const backend::BatchRun &batchRun, const Status &error);
  StatusOr<bool> launchOneByOne(const DeviceEntry &entry,
                                const backend::BatchRun &batchRun,
                                bool isTraced);
  /// Returns when the stream is idle, or has got to `until`, or an error for
  /// the batch's end: `events` of them stand behind the entry's commands.
  Status wait(const backend::BatchRun &batchRun, size_t events,
              CUevent until = nullptr);
  /// The rank whose host has been silent longest, if that is long.
  std::optional<FaultContext::LastSeen>
  findSilent(const comm::Transport &transport) const;
  /// From one event to another.
  Status elapsed(const Event &from, const Event &to,
                 std::chrono::nanoseconds &time) const;
  /// Measures what an event itself takes, so that short kernels do not seem as
  /// long as the events around them.
  Status measureEvents();
  Status readTraces(const backend::BatchRun &batchRun,
                    backend::CommandTrace *traces, size_t count,
                    comm::Clock::time_point start);
  /// Behind a command's event: what its rows chose, into pinned memory.
  Status copyChoices(const TracedChoices &traced);

  const CudaBackend &backend;
  const Device &device;
  const uint32_t rank, replica;
  const uint32_t stage;
  Launcher launcher;
  RankAddresses addresses;
  KernelCollectives kernelCollectives;

  std::vector<DeviceMemory> arenas, tables;
  PinnedMemory staging;
  backend::PerBinding<PinnedMemory> outputs;
  std::map<uint32_t, DeviceMemory> snapshots;
  Stream stream;
  Event begin, end; // of a batch
  // [0] at the start, [i + 1] behind command i, or round i of a chain.
  std::vector<Event> events;
  std::vector<DeviceEntry> entries;
  std::optional<ChainMemory> chainMemory; // none: no chains
  std::vector<ChainGraph> chains;
  backend::RowCounts counts;      // of the current batch
  std::vector<CopyRange> changes; // of its block table
  backend::RowShare share{0, 0};  // of its outputs
  PinnedMemory chosen;            // of traced commands
  /// Memory for a small kernel behind each copy of a traced step.
  static constexpr uint64_t kSettlingBytes = 256;
  DeviceMemory settling;
  bool isTracePrepared = false;
  uint32_t lastEntry = ~0u;
  bool isTableLost = false; // other entries ran behind the last one
  std::chrono::nanoseconds lastTime{0};
  std::chrono::nanoseconds eventTime{-1}; // unknown
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_DEVICEPROGRAM_H
