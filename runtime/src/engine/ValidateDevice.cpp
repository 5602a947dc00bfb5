// What engines for devices have and engines for the CPU have not: modules in
// the segments, functions of kernels, scratch and exchange memory.

#include "runtime/kernels/abi.h"
#include "runtime/kernels/shared/exchange.h"
#include "runtime/ops/Body.h"
#include "runtime/src/base/DType.h"
#include "runtime/src/base/Hash.h"
#include "runtime/src/engine/CommandCheck.h"
#include "runtime/src/engine/Programs.h"

#include <algorithm>
#include <map>
#include <unordered_set>

namespace saddle::engine {

using namespace schema;
using schema::Engine; // not saddle::Engine

namespace {

constexpr uint64_t kModuleAlignment = 4096;
/// The strictest that device code asks of scratch and exchange memory.
constexpr uint64_t kMemoryAlignment = 256;
// What sm_90 can launch.
constexpr uint32_t kMostGrid[] = {INT32_MAX, 65535, 65535};
constexpr uint32_t kMostThreads = 1024, kMostShared = 232448;
/// CTAs that exchange memory has flags for.
constexpr uint32_t kMostExclusive = device::kMaxWaitingBlocks;

Status validateModule(const Module &module, Bytes segments) {
  if (module.offset() % kModuleAlignment != 0)
    return makeError(StatusCode::DataLoss,
                     "offset %" PRIu64 ", expected a multiple of %" PRIu64,
                     module.offset(), kModuleAlignment);
  if (module.bytes() == 0 || module.offset() > segments.size() ||
      module.bytes() > segments.size() - module.offset())
    return makeError(StatusCode::DataLoss,
                     "%" PRIu64 " bytes at offset %" PRIu64
                     " do not lie in the %zu bytes of segments",
                     module.bytes(), module.offset(), segments.size());
  Hasher128 hasher;
  hasher.update(segments.data() + module.offset(), module.bytes());
  if (hasher.hex() == module.hash()->str())
    return Status();
  return makeError(StatusCode::DataLoss,
                   "damaged: its bytes have hash %s, but \"%s\" is recorded",
                   hasher.hex().c_str(), module.hash()->c_str());
}

Status validateFunction(const Engine &engine, const Function &function) {
  uint32_t modules = engine.modules() ? engine.modules()->size() : 0;
  if (function.module_() >= modules)
    return makeError(StatusCode::DataLoss,
                     "module %u does not exist, there are %u",
                     function.module_(), modules);
  uint32_t grid[] = {function.grid_x(), function.grid_y(), function.grid_z()};
  for (int i = 0; i < 3; ++i)
    if (grid[i] == 0 || grid[i] > kMostGrid[i])
      return makeError(StatusCode::DataLoss, "grid %c is %u, expected 1 to %u",
                       "xyz"[i], grid[i], kMostGrid[i]);
  uint32_t exclusive = function.exclusive_grid();
  if (exclusive != 0 && (exclusive < grid[0] || exclusive > kMostExclusive))
    return makeError(StatusCode::DataLoss,
                     "exclusive grid is %u, expected 0 or grid x (%u) to %u",
                     exclusive, grid[0], kMostExclusive);
  if (function.block() == 0 || function.block() > kMostThreads)
    return makeError(StatusCode::DataLoss, "block is %u, expected 1 to %u",
                     function.block(), kMostThreads);
  if (function.shared_bytes() > kMostShared)
    return makeError(StatusCode::DataLoss,
                     "%u bytes of shared memory, expected at most %u",
                     function.shared_bytes(), kMostShared);
  return Status();
}

Status refuseOnCpu(const char *what) {
  return makeError(StatusCode::DataLoss,
                   "has %s, which an engine for target \"cpu\" cannot have",
                   what);
}

/// Bytes that functions work in: dense U8, aligned, in an arena of `kind`.
Status checkMemory(const CommandContext &context, const char *what,
                   uint32_t index, ArenaKind kind) {
  SADDLE_RETURN_IF_ERROR(context.checkIndex(what, index));
  const Slice &slice = context.slice(index);
  const Arena &arena = *context.engine.arenas()->Get(slice.arena());
  if (arena.kind() != kind)
    return makeError(StatusCode::DataLoss,
                     "%s (slice %u) lies in arena %s of kind %s, expected %s",
                     what, index, quoted(arena).c_str(),
                     EnumNameArenaKind(arena.kind()), EnumNameArenaKind(kind));
  if (slice.dtype() != DType::U8 || slice.shape()->size() != 1)
    return makeError(StatusCode::DataLoss,
                     "%s (slice %u) is %s, expected a vector of u8", what,
                     index, describe(slice).c_str());
  if (slice.offset() % kMemoryAlignment != 0 ||
      arena.alignment() % kMemoryAlignment != 0)
    return makeError(StatusCode::DataLoss,
                     "%s (slice %u): offset %" PRIu64
                     " in arena %s (alignment %" PRIu64
                     ") is not aligned to %" PRIu64,
                     what, index, slice.offset(), quoted(arena).c_str(),
                     arena.alignment(), kMemoryAlignment);
  return Status();
}

/// The ranks that share exchange memory: rank groups, or stage neighbours.
constexpr uint32_t kBoundary = ~0u;

std::string describeSharers(const Engine &engine, uint32_t groups) {
  return groups == kBoundary
             ? "transfers"
             : "groups \"" + engine.rank_groups()->Get(groups)->axes()->str() +
                   "\"";
}

/// Exchange memory by who shares it, the same for all commands of the engine.
using ExchangeMap = std::map<uint32_t, const Slice *>;

Status addExchange(const Engine &engine, uint32_t groups, const Slice &slice,
                   ExchangeMap &known) {
  auto [at, isNew] = known.try_emplace(groups, &slice);
  const Slice &first = *at->second;
  if (!isNew &&
      (first.arena() != slice.arena() || first.offset() != slice.offset() ||
       spanBytes(first) != spanBytes(slice)))
    return makeError(StatusCode::DataLoss,
                     "exchange memory of %s is %" PRIu64
                     " bytes at offset %" PRIu64 ", but %" PRIu64 " at %" PRIu64
                     " in an earlier command",
                     describeSharers(engine, groups).c_str(), spanBytes(slice),
                     slice.offset(), spanBytes(first), first.offset());
  if (!isNew)
    return Status();
  for (const auto &[others, other] : known)
    if (others != groups && other->arena() == slice.arena() &&
        slice.offset() < other->offset() + spanBytes(*other) &&
        other->offset() < slice.offset() + spanBytes(slice))
      return makeError(StatusCode::DataLoss,
                       "exchange memory of %s overlaps that of %s",
                       describeSharers(engine, groups).c_str(),
                       describeSharers(engine, others).c_str());
  return Status();
}

} // namespace

bool isDeviceTarget(const Engine &engine) {
  return engine.target()->str() != "cpu";
}

Status validateModules(const Engine &engine, Bytes segments) {
  if (!engine.modules())
    return Status();
  if (!isDeviceTarget(engine) && engine.modules()->size() > 0)
    return prefix("module " + quoted(*engine.modules()->Get(0)),
                  makeError(StatusCode::DataLoss,
                            "an engine for target \"cpu\" has no modules"));
  std::unordered_set<std::string> names;
  for (const Module *module : *engine.modules()) {
    if (!names.insert(module->name()->str()).second)
      return makeError(StatusCode::DataLoss, "two modules are named %s",
                       quoted(*module).c_str());
    SADDLE_RETURN_IF_ERROR(
        prefix("module " + quoted(*module), validateModule(*module, segments)));
  }
  return Status();
}

Status validateFunctions(const Engine &engine, const Kernel &kernel) {
  uint32_t count = kernel.functions() ? kernel.functions()->size() : 0;
  if (!isDeviceTarget(engine))
    return count == 0 ? Status() : refuseOnCpu("functions");
  if (count == 0)
    return makeError(StatusCode::DataLoss,
                     "has no functions, expected at least 1 for target \"%s\"",
                     engine.target()->c_str());
  size_t rankValues = ops::rankValuesOf(kernel).size();
  if (rankValues > device::kMaxRankValues)
    return makeError(StatusCode::DataLoss,
                     "has %zu RANK attributes, expected at most %u", rankValues,
                     device::kMaxRankValues);
  for (const Function *function : *kernel.functions())
    SADDLE_RETURN_IF_ERROR(prefix("function " + quoted(*function),
                                  validateFunction(engine, *function)));
  return Status();
}

Status validateMemory(const CommandContext &context,
                      const CommandMemory &memory,
                      const std::vector<uint32_t> &operands) {
  if (!isDeviceTarget(context.engine)) {
    if (memory.workspace != 0)
      return refuseOnCpu("a workspace");
    return memory.exchange == 0 ? Status() : refuseOnCpu("exchange memory");
  }
  if (operands.size() > device::kMaxOperands)
    return makeError(StatusCode::DataLoss, "%zu operands, expected at most %u",
                     operands.size(), device::kMaxOperands);
  if (memory.workspace != 0) {
    uint32_t workspace = memory.workspace - 1;
    SADDLE_RETURN_IF_ERROR(
        checkMemory(context, "workspace", workspace, ArenaKind::TRANSIENT));
    for (uint32_t operand : operands)
      if (context.overlap(workspace, operand))
        return makeError(StatusCode::DataLoss,
                         "workspace and operand (slices %u and %u) share "
                         "bytes",
                         workspace, operand);
  }
  if (memory.exchange == 0)
    return Status();
  return checkMemory(context, "exchange memory", memory.exchange - 1,
                     ArenaKind::EXCHANGE);
}

Status validateRunner(const CommandContext &context, uint32_t kernel,
                      const char *op) {
  const auto &kernels = *context.engine.kernels();
  if (!isDeviceTarget(context.engine))
    return kernel == 0 ? Status() : refuseOnCpu("a kernel");
  if (kernel == 0)
    return makeError(StatusCode::DataLoss,
                     "has no kernel, expected one for target \"%s\"",
                     context.engine.target()->c_str());
  if (kernel > kernels.size())
    return makeError(StatusCode::DataLoss,
                     "kernel %u does not exist, there are %u", kernel - 1,
                     kernels.size());
  const Kernel &found = *kernels.Get(kernel - 1);
  if (found.op()->str() == op)
    return Status();
  return makeError(StatusCode::DataLoss,
                   "kernel %s is of op \"%s\", expected \"%s\"",
                   quoted(found).c_str(), found.op()->c_str(), op);
}

Status validateExchanges(const Engine &engine) {
  ExchangeMap known;
  for (const Program *program : *engine.programs())
    for (const Entry *entry : *program->entries())
      for (uint32_t i = 0; i < entry->commands()->size(); ++i) {
        const Command &command = *entry->commands()->Get(i);
        uint32_t groups = kBoundary, exchange = 0;
        if (const Collective *collective = command.action_as_Collective()) {
          groups = collective->groups();
          exchange = collective->exchange();
        } else if (const Transfer *transfer = command.action_as_Transfer()) {
          exchange = transfer->exchange();
        } else if (const Launch *launch = command.action_as_Launch()) {
          groups = launch->groups() - 1; // there when there is exchange memory
          exchange = launch->exchange();
        }
        if (exchange == 0)
          continue;
        SADDLE_RETURN_IF_ERROR(prefix(
            describe(*program) + ": entry " + quoted(*entry) + ": command " +
                std::to_string(i) + " (" + command.place()->str() + ")",
            addExchange(engine, groups, *entry->slices()->Get(exchange - 1),
                        known)));
      }
  return Status();
}

} // namespace saddle::engine
