// The CPU target: arenas in host memory, launches bound to reference kernels,
// collectives by the rank threads themselves.

#ifndef SADDLE_RUNTIME_CPU_CPUPROGRAM_H
#define SADDLE_RUNTIME_CPU_CPUPROGRAM_H

#include "runtime/src/backend/Backend.h"
#include "runtime/src/backend/RowCounts.h"
#include "runtime/src/backend/StepInputs.h"
#include "runtime/src/cpu/Arenas.h"
#include "runtime/src/cpu/Kernels.h"

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
  /// `program` is that of the rank's stage.
  static StatusOr<std::unique_ptr<backend::RankProgram>>
  create(const schema::Engine &engine, const schema::Program &program,
         const engine::StateCounts &counts, uint32_t rank);

  Status load(const WeightSource &source) override {
    return source.load(program, rank, arenas.bases());
  }
  StatusOr<bool> run(const backend::BatchRun &batchRun,
                     backend::CommandTime *times) override;
  const uint8_t *outputRow(size_t output, uint64_t row) const override {
    return entries[lastEntry].bindings.outputs[output].row(row);
  }
  Status keepState(uint32_t slot, uint32_t snapshot) override;
  Status restoreState(uint32_t slot, uint32_t snapshot) override;
  void releaseState(uint32_t snapshot) override { snapshots.erase(snapshot); }

private:
  /// What is behind one command; exactly one of kernel, collective, transfer
  /// and copy is set.
  struct Command {
    schema::Extent extent;
    std::unique_ptr<cpu::BoundKernel> kernel;
    const schema::Collective *collective = nullptr;
    comm::Call call; // of the collective
    const schema::Transfer *transfer = nullptr;
    comm::Message message; // of the transfer
    const schema::Copy *copy = nullptr;
    View source, dest; // of the copy
  };
  struct ResolvedEntry {
    backend::RowRules rules;
    backend::StepBindings bindings;
    std::vector<Command> commands;
  };

  CpuProgram(const schema::Engine &engine, const schema::Program &program,
             uint32_t rank, Arenas arenas)
      : program(program), rank(rank),
        replica(engine::coordinatesOf(*engine.topology(), rank).replica),
        arenas(std::move(arenas)), counts(*engine.topology(), rank) {}
  Command resolve(const schema::Engine &engine, const schema::Command &command,
                  const std::vector<View> &views);
  Status execute(const Command &command, const backend::BatchRun &batchRun,
                 uint64_t transfers);

  const schema::Program &program;
  const uint32_t rank, replica;
  Arenas arenas;
  cpu::Scratch scratch;
  std::vector<View> sequenceStates; // [slots, ...], dense
  std::map<uint32_t, std::unique_ptr<uint8_t[]>> snapshots;
  std::vector<ResolvedEntry> entries;
  backend::RowCounts counts; // of the current batch
  uint32_t lastEntry = 0;
};

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_CPUPROGRAM_H
