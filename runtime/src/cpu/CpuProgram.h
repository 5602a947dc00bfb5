// The CPU target: arenas in host memory, launches bound to reference kernels,
// collectives by the rank threads themselves.

#ifndef SADDLE_RUNTIME_CPU_CPUPROGRAM_H
#define SADDLE_RUNTIME_CPU_CPUPROGRAM_H

#include "runtime/src/backend/Backend.h"
#include "runtime/src/backend/Choices.h"
#include "runtime/src/backend/RowCounts.h"
#include "runtime/src/backend/StepInputs.h"
#include "runtime/src/cpu/Arenas.h"
#include "runtime/src/cpu/HostCollectives.h"
#include "runtime/src/cpu/Kernels.h"
#include "runtime/src/engine/Programs.h"

#include <map>

namespace saddle::cpu {

class CpuBackend : public backend::Backend {
public:
  /// Of the options, what is not about devices.
  static StatusOr<std::unique_ptr<backend::Backend>>
  create(std::shared_ptr<const Engine> engine,
         const backend::BackendOptions &options);

  engine::StateCounts states() const override { return counts; }
  StatusOr<std::unique_ptr<backend::RankProgram>>
  makeRank(uint32_t rank) override;

private:
  CpuBackend(std::shared_ptr<const Engine> engine,
             const engine::StateCounts &counts)
      : engine(std::move(engine)), counts(counts) {}

  std::shared_ptr<const Engine> engine;
  engine::StateCounts counts;
};

class CpuProgram : public backend::RankProgram {
public:
  static StatusOr<std::unique_ptr<backend::RankProgram>>
  create(const schema::Engine &engine, const engine::StateCounts &counts,
         uint32_t rank);

  Status load(const WeightSource &source) override {
    return source.load(weights, rank, arenas.bases());
  }
  StatusOr<bool> run(const backend::BatchRun &batchRun,
                     backend::CommandTrace *traces) override;
  Status prepareTrace() override;
  const uint8_t *outputRow(ops::BindingId output, uint64_t row) const override {
    return entries[lastEntry].bindings.of(output).row(row);
  }
  Status keepState(uint32_t slot, uint32_t snapshot) override;
  Status restoreState(uint32_t slot, uint32_t snapshot) override;
  void releaseState(uint32_t snapshot) override { snapshots.erase(snapshot); }

private:
  /// What is behind one command; exactly one of kernel, collective and copy is
  /// set.
  struct Command {
    backend::BindingSet neededFor;
    schema::Extent extent;
    std::unique_ptr<cpu::BoundKernel> kernel;
    std::unique_ptr<backend::BoundCollective<HostRun>> collective; // or
    schema::TransferKind transfer = schema::TransferKind::UNKNOWN; // it is that
    const schema::Copy *copy = nullptr;
    View source, dest;                       // of the copy
    std::optional<backend::Choices> choices; // once traces are prepared
  };
  struct ResolvedEntry {
    backend::RowRules rules;
    backend::StepBindings bindings;
    std::vector<Command> commands;
    std::vector<View> slices;
  };

  CpuProgram(const schema::Engine &engine, uint32_t rank, Arenas arenas)
      : weights(engine::weightsOf(
            engine, engine::coordinatesOf(*engine.topology(), rank).stage)),
        rank(rank),
        replica(engine::coordinatesOf(*engine.topology(), rank).replica),
        engine(engine), arenas(std::move(arenas)),
        counts(*engine.topology(), rank) {}
  Command resolve(const schema::Engine &engine, const schema::Entry &entry,
                  uint32_t number, const std::vector<View> &views);
  Status execute(const Command &command, const backend::BatchRun &batchRun,
                 uint64_t transfers);

  const std::vector<const schema::Weight *> weights;
  const uint32_t rank, replica;
  const schema::Engine &engine;
  Arenas arenas;
  cpu::Scratch scratch;
  HostCollectives collectives;
  std::vector<View> sequenceStates; // [slots, ...], dense
  std::map<uint32_t, std::unique_ptr<uint8_t[]>> snapshots;
  std::vector<ResolvedEntry> entries;
  bool isTracePrepared = false;
  backend::RowCounts counts; // of the current batch
  uint32_t lastEntry = 0;
};

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_CPUPROGRAM_H
