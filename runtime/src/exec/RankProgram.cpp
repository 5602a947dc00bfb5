#include "runtime/src/exec/RankProgram.h"

#include <algorithm>
#include <cstring>

namespace saddle::exec {

using schema::CollectiveKind;

static const char *collectiveName(CollectiveKind kind) {
  switch (kind) {
  case CollectiveKind::ALL_REDUCE_SUM:
    return "all_reduce_sum";
  case CollectiveKind::ALL_GATHER:
    return "all_gather";
  case CollectiveKind::REDUCE_SCATTER_SUM:
    return "reduce_scatter_sum";
  case CollectiveKind::UNKNOWN:
    break;
  }
  return "unknown";
}

ResolvedCommand RankProgram::resolve(const schema::Engine &engine,
                                     const schema::Command &command,
                                     const std::vector<View> &views) {
  ResolvedCommand resolved;
  resolved.location = command.location()->c_str();
  if (const schema::Launch *launch = command.action_as_Launch()) {
    const schema::Kernel &kernel = *engine.kernels()->Get(launch->kernel());
    std::vector<View> operands;
    for (uint32_t operand : *launch->operands())
      operands.push_back(views[operand]);
    resolved.op = kernel.op()->c_str();
    resolved.extent = launch->extent();
    resolved.kernel = cpu::bindLaunch(kernel, operands, rank, scratch);
  } else if (const auto *collective = command.action_as_Collective()) {
    resolved.op = collectiveName(collective->kind());
    resolved.extent = collective->extent();
    resolved.collective = collective;
    resolved.call = {
        {collective->kind(), collective->dim(), collective->layout()},
        collective->groups(),
        {views[collective->input()], views[collective->output()]},
        resolved.location};
  } else if (const auto *transfer = command.action_as_Transfer()) {
    bool sends = transfer->kind() == schema::TransferKind::SEND;
    uint32_t tp = engine.topology()->tp();
    resolved.op = sends ? "send" : "receive";
    resolved.extent = transfer->extent();
    resolved.transfer = transfer;
    resolved.parcel = {sends ? rank + tp : rank - tp, views[transfer->slice()],
                       resolved.location};
  } else {
    const schema::Copy *copy = command.action_as_Copy();
    resolved.op = "copy";
    resolved.extent = copy->extent();
    resolved.copy = copy;
    resolved.source = views[copy->source()];
    resolved.dest = views[copy->dest()];
  }
  return resolved;
}

StatusOr<std::unique_ptr<RankProgram>>
RankProgram::create(const schema::Engine &engine,
                    const schema::Program &program, uint32_t rank) {
  SADDLE_ASSIGN_OR_RETURN(Arenas arenas,
                          Arenas::allocate(engine, program, rank));
  std::unique_ptr<RankProgram> result(
      new RankProgram(*engine.topology(), rank, std::move(arenas)));
  for (const schema::Entry *entry : *program.entries()) {
    std::vector<View> views;
    for (const schema::Slice *slice : *entry->slices())
      views.push_back(result->arenas.view(*slice));
    ResolvedEntry resolved(*entry);
    for (const schema::Command *command : *entry->commands())
      resolved.commands.push_back(result->resolve(engine, *command, views));
    const struct {
      const char *name;
      View *view;
    } bindings[] = {{"tokens", &resolved.tokens},
                    {"positions", &resolved.positions},
                    {"sequences", &resolved.sequences},
                    {"slots", &resolved.slots},
                    {"block_table", &resolved.blockTable},
                    {"rows", &resolved.rows},
                    {"logits", &resolved.logits}};
    for (const schema::Binding *binding : *entry->bindings())
      for (const auto &known : bindings)
        if (std::strcmp(binding->name()->c_str(), known.name) == 0)
          *known.view = views[binding->slice()];
    result->entries.push_back(std::move(resolved));
  }
  SADDLE_RETURN_IF_ERROR(result->scratch.allocate());
  return result;
}

void RankProgram::writeInputs(const ResolvedEntry &entry,
                              const ReplicaBatch &batch,
                              const Scheduler &scheduler) {
  auto write = [](const View &view, const std::vector<int32_t> &values) {
    if (view.data && !values.empty())
      std::memcpy(view.data, values.data(), values.size() * sizeof(int32_t));
  };
  write(entry.tokens, batch.tokens);
  write(entry.positions, batch.positions);
  write(entry.sequences, batch.sequences);
  write(entry.slots, batch.slots);
  write(entry.rows, batch.rows);
  // Rows of absent sequences keep what they had: nobody reads them. Tokens of
  // one sequence are neighbours, so each row is written once.
  View table = entry.blockTable;
  int32_t previous = -1;
  for (int32_t slot : batch.sequences) {
    if (slot == previous)
      continue;
    previous = slot;
    table.data = entry.blockTable.row(uint64_t(slot));
    write(table, scheduler.pagesOf(place.replica, uint32_t(slot)));
  }
}

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

Status RankProgram::execute(const ResolvedCommand &command,
                            const Launching &launching, uint64_t transfers) {
  uint64_t rows = counts.of(command.extent);
  if (command.kernel) {
    // Kernels need not cope with nothing to do.
    if (rows != 0)
      command.kernel->run(rows);
    return {};
  }
  comm::Communicator &communicator = launching.communicator;
  if (command.collective)
    return communicator.run(rank, command.call,
                            counts.ofMembers(*command.collective));
  if (command.copy) {
    copyRows(command.source, command.dest, 0, 0, 0, rows);
    return {};
  }
  // Both ends count their transfers alike.
  uint64_t tag = (launching.serial << 32) + transfers;
  if (command.transfer->kind() == schema::TransferKind::SEND)
    return communicator.send(rank, command.parcel, rows, tag);
  return communicator.receive(rank, command.parcel, rows, tag);
}

StatusOr<bool> RankProgram::run(const Launching &launching,
                                CommandTime *times) {
  const ResolvedEntry &entry = entries[launching.batch.entry];
  writeInputs(entry, launching.batch.replicas[place.replica],
              launching.scheduler);
  counts.set(launching.batch, entry.rules);
  uint64_t transfers[] = {0, 0, 0}; // by kind
  for (const ResolvedCommand &command : entry.commands) {
    launching.communicator.progress(rank, command.location);
    uint64_t index =
        command.transfer ? transfers[size_t(command.transfer->kind())]++ : 0;
    if (launching.hook) {
      StatusOr<Fault> fault = launching.hook(rank, command.location);
      if (!fault.ok()) {
        Status status(fault.status().code(), std::string(command.op) + ": " +
                                                 fault.status().message());
        launching.communicator.abort(rank, status);
        return status;
      }
      if (*fault == Fault::Die)
        return false;
      if (*fault == Fault::Skip)
        continue;
    }
    if (times)
      times->start = comm::Clock::now();
    SADDLE_RETURN_IF_ERROR(execute(command, launching, index));
    if (times)
      (times++)->end = comm::Clock::now();
  }
  return true;
}

} // namespace saddle::exec
