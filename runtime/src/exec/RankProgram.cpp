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

static ResolvedCommand resolve(const schema::Engine &engine,
                               const schema::Command &command,
                               const std::vector<View> &views, uint32_t rank,
                               cpu::Scratch &scratch) {
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
    resolved.isCollective = true;
    resolved.call = {collective->kind(),
                     collective->groups(),
                     collective->dim(),
                     {views[collective->input()], views[collective->output()]},
                     resolved.location};
  } else {
    const schema::Copy *copy = command.action_as_Copy();
    resolved.op = "copy";
    resolved.extent = copy->extent();
    resolved.source = views[copy->source()];
    resolved.dest = views[copy->dest()];
  }
  return resolved;
}

StatusOr<std::unique_ptr<RankProgram>>
RankProgram::create(const schema::Engine &engine,
                    const schema::Program &program, uint32_t rank) {
  SADDLE_ASSIGN_OR_RETURN(Arenas arenas, Arenas::allocate(engine, rank));
  std::unique_ptr<RankProgram> result(new RankProgram(std::move(arenas)));
  result->rank = rank;
  for (const schema::Entry *entry : *program.entries()) {
    std::vector<View> views;
    for (const schema::Slice *slice : *entry->slices())
      views.push_back(result->arenas.view(*slice));
    ResolvedEntry resolved;
    for (const schema::Command *command : *entry->commands())
      resolved.commands.push_back(
          resolve(engine, *command, views, rank, result->scratch));
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

void RankProgram::writeInputs(const ResolvedEntry &entry, const Batch &batch,
                              const Scheduler &scheduler) {
  auto write = [](const View &view, const std::vector<int32_t> &values) {
    if (!values.empty())
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
  for (int32_t sequence : batch.sequences) {
    if (sequence == previous)
      continue;
    previous = sequence;
    table.data = entry.blockTable.row(sequence);
    write(table, scheduler.pagesOf(sequence));
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

Status RankProgram::run(const Batch &batch, const Scheduler &scheduler,
                        comm::Communicator &communicator,
                        const CommandHook &hook, CommandTime *times) {
  const ResolvedEntry &entry = entries[batch.entry];
  writeInputs(entry, batch, scheduler);
  for (const ResolvedCommand &command : entry.commands) {
    if (hook) {
      Status status = hook(rank, command.location);
      if (!status.ok()) {
        status = makeError(status.code(), "%s at \"%s\": %s", command.op,
                           command.location, status.message().c_str());
        communicator.abort(rank, status);
        return status;
      }
    }
    uint64_t count = command.extent == schema::Extent::TOKENS
                         ? batch.tokens.size()
                         : batch.rows.size();
    if (times)
      times->start = std::chrono::steady_clock::now();
    if (command.kernel)
      command.kernel->run(count);
    else if (command.isCollective)
      SADDLE_RETURN_IF_ERROR(communicator.run(rank, command.call, count));
    else
      copyRows(command.source, command.dest, 0, 0, 0, count);
    if (times)
      (times++)->end = std::chrono::steady_clock::now();
  }
  return {};
}

} // namespace saddle::exec
