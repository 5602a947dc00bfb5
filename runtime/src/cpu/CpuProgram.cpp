#include "runtime/src/cpu/CpuProgram.h"

#include <cinttypes>
#include <cstring>
#include <new>

namespace saddle::cpu {

StatusOr<std::unique_ptr<backend::Backend>>
CpuBackend::create(std::shared_ptr<const Engine> engine,
                   const backend::BackendOptions &options) {
  auto counts = planStates(engine->root(), options.kvTokens);
  if (!counts.ok())
    return counts.status().within(engine->path());
  return std::unique_ptr<backend::Backend>(
      new CpuBackend(std::move(engine), *counts));
}

StatusOr<std::unique_ptr<backend::RankProgram>>
CpuBackend::makeRank(uint32_t rank) {
  return CpuProgram::create(engine->root(), counts, rank);
}

CpuProgram::Command CpuProgram::resolve(const schema::Engine &engine,
                                        const schema::Entry &entry,
                                        uint32_t number,
                                        const std::vector<View> &views) {
  Command resolved;
  const schema::Command &command = *entry.commands()->Get(number);
  resolved.neededFor = backend::neededFor(command);
  if (const schema::Launch *launch = command.action_as_Launch()) {
    const schema::Kernel &kernel = *engine.kernels()->Get(launch->kernel());
    std::vector<View> operands;
    for (uint32_t operand : *launch->operands())
      operands.push_back(views[operand]);
    resolved.extent = launch->extent();
    resolved.kernel = cpu::bindLaunch(kernel, operands, rank, scratch);
  } else if (const schema::Copy *copy = command.action_as_Copy()) {
    resolved.extent = copy->extent();
    resolved.copy = copy;
    resolved.source = views[copy->source()];
    resolved.dest = views[copy->dest()];
  } else {
    if (const schema::Transfer *transfer = command.action_as_Transfer())
      resolved.transfer = transfer->kind();
    backend::CollectiveProvider<HostRun> *const providers[] = {&collectives};
    resolved.collective =
        backend::providerOf<HostRun>({providers, 1}, entry, command)
            ->bind({engine, entry, number, rank, views});
  }
  return resolved;
}

StatusOr<std::unique_ptr<backend::RankProgram>>
CpuProgram::create(const schema::Engine &engine,
                   const engine::StateCounts &counts, uint32_t rank) {
  const uint32_t stage = engine::coordinatesOf(*engine.topology(), rank).stage;
  SADDLE_ASSIGN_OR_RETURN(Arenas arenas,
                          Arenas::allocate(engine, stage, counts, rank));
  std::unique_ptr<CpuProgram> result(
      new CpuProgram(engine, rank, std::move(arenas)));
  for (const schema::State *state : engine::sequenceStatesOf(engine, stage))
    result->sequenceStates.push_back(result->arenas.view(*state->slice()));
  for (const schema::Entry *entry : engine::entriesOf(engine, stage)) {
    std::vector<View> views;
    for (const schema::Slice *slice : *entry->slices())
      views.push_back(result->arenas.view(*slice));
    ResolvedEntry resolved{backend::RowRules(*entry),
                           backend::StepBindings(*entry, views),
                           {},
                           {}};
    for (uint32_t i = 0; i < entry->commands()->size(); ++i)
      resolved.commands.push_back(result->resolve(engine, *entry, i, views));
    resolved.slices = std::move(views);
    result->entries.push_back(std::move(resolved));
    result->names.push_back(backend::namesOf(engine, *entry));
  }
  SADDLE_RETURN_IF_ERROR(result->scratch.allocate());
  return std::unique_ptr<backend::RankProgram>(std::move(result));
}

//===--- Copies of state -------------------------------------------------===//

static uint64_t bytesOfSlot(const View &state) {
  return state.strides[0] * elementBytes(state.dtype);
}

Status CpuProgram::keepState(uint32_t slot, uint32_t snapshot) {
  uint64_t bytes = 0;
  for (const View &state : sequenceStates)
    bytes += bytesOfSlot(state);
  std::unique_ptr<uint8_t[]> kept(new (std::nothrow) uint8_t[bytes]);
  if (!kept)
    return makeError(StatusCode::ResourceExhausted,
                     "rank %u: no memory for a copy of state of %" PRIu64
                     " bytes; release a snapshot first",
                     rank, bytes);
  uint8_t *to = kept.get();
  for (const View &state : sequenceStates) {
    std::memcpy(to, state.row(slot), bytesOfSlot(state));
    to += bytesOfSlot(state);
  }
  snapshots[snapshot] = std::move(kept);
  return {};
}

Status CpuProgram::restoreState(uint32_t slot, uint32_t snapshot) {
  const uint8_t *kept = snapshots[snapshot].get();
  for (const View &state : sequenceStates) {
    std::memcpy(state.row(slot), kept, bytesOfSlot(state));
    kept += bytesOfSlot(state);
  }
  return {};
}

//===--- Commands --------------------------------------------------------===//

/// Copies the first `count` entries of dimension 0.
static void copyRows(const View &source, const View &dest, unsigned dimension,
                     uint64_t sourceOffset, uint64_t destOffset,
                     uint64_t count) {
  uint64_t bytes = elementBytes(source.dtype);
  if (dimension + 1 == source.rank) {
    std::memcpy(dest.data + destOffset * bytes,
                source.data + sourceOffset * bytes, count * bytes);
    return;
  }
  for (uint64_t i = 0; i < count; ++i)
    copyRows(source, dest, dimension + 1,
             sourceOffset + i * source.strides[dimension],
             destOffset + i * dest.strides[dimension],
             source.shape[dimension + 1]);
}

Status CpuProgram::execute(const Command &command,
                           const backend::BatchRun &batchRun,
                           uint64_t transfers) {
  // Both ends count their transfers alike.
  if (command.collective)
    return command.collective->run(
        {batchRun.transport, counts, (batchRun.serial << 32) + transfers});
  uint64_t rows = counts.of(command.extent);
  if (command.copy)
    copyRows(command.source, command.dest, 0, 0, 0, rows);
  // Kernels need not cope with nothing to do.
  else if (rows != 0)
    command.kernel->run(rows);
  return {};
}

Status CpuProgram::prepareTrace() {
  std::vector<const schema::Entry *> all = backend::entriesOf(engine, rank);
  for (size_t e = 0; e < entries.size() && !isTracePrepared; ++e)
    for (size_t i = 0; i < entries[e].commands.size(); ++i) {
      const schema::Entry &entry = *all[e];
      entries[e].commands[i].choices =
          backend::choicesOf(engine, entry, *entry.commands()->Get(i), rank);
    }
  isTracePrepared = true;
  return {};
}

StatusOr<bool> CpuProgram::run(const backend::BatchRun &batchRun,
                               backend::CommandTrace *traces) {
  lastEntry = batchRun.batch.entry;
  const ResolvedEntry &entry = entries[lastEntry];
  entry.bindings.write(batchRun.batch.replicas[replica], batchRun.pages,
                       replica);
  counts.set(batchRun.batch, entry.rules);
  uint64_t transfers[] = {0, 0, 0}; // by kind
  for (size_t i = 0; i < entry.commands.size(); ++i) {
    const Command &command = entry.commands[i];
    const backend::CommandName &name = names[lastEntry][i];
    if (!backend::isNeeded(command.neededFor, batchRun.wanted))
      continue;
    batchRun.transport.progress(rank, name.place);
    uint64_t index = transfers[size_t(command.transfer)]++;
    if (batchRun.hook) {
      StatusOr<backend::Fault> fault = batchRun.hook(rank, name.place);
      if (!fault.ok())
        return backend::failAt(batchRun, rank, name, fault.status());
      if (*fault == backend::Fault::Die)
        return false;
      if (*fault == backend::Fault::Skip)
        continue;
    }
    if (traces)
      traces[i].start = comm::Clock::now();
    SADDLE_RETURN_IF_ERROR(execute(command, batchRun, index));
    if (!traces)
      continue;
    traces[i].end = comm::Clock::now();
    traces[i].ran = true;
    if (const std::optional<backend::Choices> &choices = command.choices) {
      uint64_t rows = counts.of(choices->extent);
      traces[i].chosen = choices->count(entry.slices[choices->slice], rows);
      if (choices->tokens)
        traces[i].tokens =
            backend::lastRow(entry.slices[*choices->tokens], rows);
    }
  }
  return true;
}

} // namespace saddle::cpu
