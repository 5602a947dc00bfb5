#include "runtime/src/backend/RankProgram.h"

#include "runtime/src/engine/CommandNames.h"
#include "runtime/src/engine/Extents.h"
#include "runtime/src/engine/Programs.h"

namespace saddle::backend {

static const char *opOf(const schema::Engine &engine,
                        const schema::Command &command) {
  if (const schema::Launch *launch = command.action_as_Launch())
    return engine.kernels()->Get(launch->kernel())->op()->c_str();
  if (const schema::Collective *collective = command.action_as_Collective())
    return engine::opOf(collective->kind());
  if (const schema::Transfer *transfer = command.action_as_Transfer())
    return engine::opOf(transfer->kind());
  return engine::kCopyOp;
}

/// The kernel of a command, one behind its index; 0 for none.
static uint32_t kernelOf(const schema::Command &command) {
  if (const schema::Launch *launch = command.action_as_Launch())
    return launch->kernel() + 1;
  if (const schema::Collective *collective = command.action_as_Collective())
    return collective->kernel();
  if (const schema::Transfer *transfer = command.action_as_Transfer())
    return transfer->kernel();
  return command.action_as_Copy()->kernel();
}

std::vector<CommandName> namesOf(const schema::Engine &engine,
                                 const schema::Entry &entry) {
  std::vector<CommandName> names;
  for (const schema::Command *command : *entry.commands()) {
    const char *op = opOf(engine, *command);
    uint32_t kernel = kernelOf(*command);
    names.push_back(
        {command->place()->c_str(), op,
         kernel ? engine.kernels()->Get(kernel - 1)->name()->c_str() : op});
  }
  return names;
}

Status failAt(const BatchRun &batchRun, uint32_t rank, const CommandName &name,
              const Status &error) {
  Status status = error.within(name.op);
  batchRun.transport.abort(rank, status);
  return status;
}

std::vector<const schema::Entry *> entriesOf(const schema::Engine &engine,
                                             uint32_t rank) {
  return engine::entriesOf(
      engine, engine::coordinatesOf(*engine.topology(), rank).stage);
}

const schema::Program &programOf(const schema::Engine &engine, uint32_t rank) {
  return engine::mainProgram(
      engine, engine::coordinatesOf(*engine.topology(), rank).stage);
}

} // namespace saddle::backend
