#include "runtime/src/cuda/DeviceProgram.h"

#include "runtime/src/base/DType.h"
#include "runtime/src/base/Guard.h"
#include "runtime/src/cuda/FaultReport.h"
#include "runtime/src/cuda/Groups.h"
#include "runtime/src/cuda/Wait.h"
#include "runtime/src/cuda/WeightUpload.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/engine/Validate.h"

#include <algorithm>

namespace saddle::cuda {

using comm::Clock;

DeviceProgram::DeviceProgram(const CudaBackend &backend, uint32_t rank)
    : backend(backend), device(backend.deviceOf(rank)), rank(rank),
      replica(
          engine::coordinatesOf(*backend.engine().topology(), rank).replica),
      stage(engine::coordinatesOf(*backend.engine().topology(), rank).stage),
      launcher(device, backend.engine(), backend.modulesOf(rank),
               backend.ownMultiprocessors()),
      kernelCollectives(launcher, addresses),
      counts(*backend.engine().topology(), rank) {}

StatusOr<std::unique_ptr<backend::RankProgram>>
DeviceProgram::create(const CudaBackend &backend, uint32_t rank) {
  std::unique_ptr<DeviceProgram> result(new DeviceProgram(backend, rank));
  ContextScope scope(result->device);
  auto steps = [&]() -> Status {
    SADDLE_RETURN_IF_ERROR(result->allocate());
    result->resolveEntries();
    for (DeviceEntry &entry : result->entries)
      SADDLE_RETURN_IF_ERROR(result->captureEntry(entry));
    SADDLE_RETURN_IF_ERROR(result->captureChains());
    SADDLE_CUDA(result->device.driver, cuStreamSynchronize,
                result->stream.get());
    return {};
  };
  if (Status status = steps(); !status.ok())
    return retellError(status, "rank %u on %s: %s", rank,
                       result->device.describe().c_str(),
                       status.message().c_str());
  return std::unique_ptr<backend::RankProgram>(std::move(result));
}

DeviceProgram::~DeviceProgram() {
  ContextScope scope(device);
  if (stream.get())
    device.driver.cuStreamSynchronize(stream.get());
}

Status DeviceProgram::zero(uint64_t address, uint64_t bytes) {
  if (bytes != 0)
    SADDLE_CUDA(device.driver, cuMemsetD8Async, address, 0, bytes,
                stream.get());
  return {};
}

static uint64_t rowBytesOf(const schema::Slice &slice) {
  return slice.strides()->Get(0) * elementBytes(slice.dtype());
}

Status DeviceProgram::allocate() {
  const schema::Engine &engine = backend.engine();
  const MemoryPlan &plan = backend.memory();
  SADDLE_ASSIGN_OR_RETURN(stream, makeStream(device));
  uint64_t heap = backend.heapOf(rank);
  SADDLE_RETURN_IF_ERROR(zero(heap, plan.heapBytes));
  addresses.engine = &engine;
  addresses.counts = plan.counts;
  addresses.rank = rank;
  addresses.step = heap + plan.stepOffset;
  addresses.fault = reinterpret_cast<uintptr_t>(backend.fault());
  for (uint32_t i = 0; i < engine.arenas()->size(); ++i) {
    if (plan.heapOffsets[i] != MemoryPlan::kNotInHeap) {
      addresses.arenas.push_back(heap + plan.heapOffsets[i]);
      continue;
    }
    const schema::Arena &arena = *engine.arenas()->Get(i);
    uint64_t bytes = plan.arenas[stage][i] * plan.counts.of(arena.kind());
    SADDLE_ASSIGN_OR_RETURN(
        DeviceMemory memory,
        allocateDevice(device, bytes, "arena \"" + arena.name()->str() + "\""));
    addresses.arenas.push_back(memory.get());
    arenas.push_back(std::move(memory));
    if (engine::holdsState(arena.kind()))
      SADDLE_RETURN_IF_ERROR(zero(addresses.arenas.back(), bytes));
  }

  std::vector<device::Group> groups =
      groupsOf(engine, rank, backend.heapStride());
  uint64_t groupBytes = groups.size() * sizeof(device::Group);
  SADDLE_ASSIGN_OR_RETURN(DeviceMemory table,
                          allocateDevice(device, groupBytes, "rank groups"));
  addresses.groups = table.get();
  tables.push_back(std::move(table));
  // From pageable memory: the source is read before the call returns.
  SADDLE_CUDA(device.driver, cuMemcpyHtoDAsync, addresses.groups, groups.data(),
              groupBytes, stream.get());

  uint64_t stagingBytes = 0;
  backend::PerBinding<uint64_t> outputBytes{};
  size_t commands = 0;
  for (const schema::Entry *entry : engine::entriesOf(engine, stage)) {
    stagingBytes = std::max(stagingBytes, StagingLayout(*entry, plan).bytes);
    commands = std::max<size_t>(commands, entry->commands()->size());
    for (const schema::Binding *binding : *entry->bindings()) {
      const ops::Binding *output = ops::findBinding(binding->name()->c_str());
      if (!output || !output->isOutput())
        continue;
      const schema::Slice &slice = *entry->slices()->Get(binding->slice());
      uint64_t ranks = backend.runsAlone() ? 1 : engine.topology()->tp();
      uint64_t rows = (slice.shape()->Get(0) + ranks - 1) / ranks;
      uint64_t &bytes = outputBytes[size_t(output->id)];
      bytes = std::max(bytes, rows * rowBytesOf(slice));
    }
  }
  SADDLE_ASSIGN_OR_RETURN(
      staging, allocatePinned(device, stagingBytes, "staging of step inputs"));
  for (const ops::Binding &output : ops::outputs()) {
    SADDLE_ASSIGN_OR_RETURN(
        outputs[size_t(output.id)],
        allocatePinned(device, outputBytes[size_t(output.id)],
                       std::string(output.name) + " of a step"));
  }
  SADDLE_ASSIGN_OR_RETURN(begin, makeEvent(device));
  SADDLE_ASSIGN_OR_RETURN(end, makeEvent(device));
  commands = std::max<size_t>(commands, backend::kMostChainRounds);
  for (size_t i = 0; i <= commands; ++i) {
    SADDLE_ASSIGN_OR_RETURN(Event event, makeEvent(device));
    events.push_back(std::move(event));
  }
  return {};
}

void DeviceProgram::resolveEntries() {
  const schema::Engine &engine = backend.engine();
  const MemoryPlan &plan = backend.memory();
  for (const schema::Entry *entry : engine::entriesOf(engine, stage)) {
    DeviceEntry resolved{
        entry,
        backend::RowRules(*entry),
        StepStaging(*entry, plan, static_cast<uint8_t *>(staging.get())),
        {},
        nullptr,
        {},
        {},
        {},
        {}};
    for (const schema::Binding *binding : *entry->bindings()) {
      const ops::Binding *output = ops::findBinding(binding->name()->c_str());
      if (!output || !output->isOutput())
        continue;
      const schema::Slice &slice = *entry->slices()->Get(binding->slice());
      resolved.outputs[size_t(output->id)] = {addresses.of(slice),
                                              rowBytesOf(slice)};
    }
    names.push_back(backend::namesOf(engine, *entry));
    resolveCommands(resolved, names.back());
    entries.push_back(std::move(resolved));
  }
}

void DeviceProgram::resolveCommands(
    DeviceEntry &entry, std::vector<backend::CommandName> &commandNames) {
  const schema::Engine &engine = backend.engine();
  std::vector<StreamProvider *> providers = backend.providers();
  providers.push_back(&kernelCollectives);
  std::vector<View> slices;
  for (const schema::Slice *slice : *entry.entry->slices()) {
    slices.push_back(engine::viewOf(engine, *slice, addresses.counts));
    slices.back().data = reinterpret_cast<uint8_t *>(addresses.of(*slice));
  }
  for (uint32_t i = 0; i < entry.entry->commands()->size(); ++i) {
    DeviceEntry::Command &command = entry.commands.emplace_back();
    command.neededFor = backend::neededFor(*entry.entry->commands()->Get(i));
    StreamProvider *provider = backend::providerOf<StreamRun>(
        providers, *entry.entry, *entry.entry->commands()->Get(i));
    if (!provider) {
      command.kernel = resolveCommand(engine, *entry.entry, i, addresses);
      continue;
    }
    command.collective =
        provider->bind({engine, *entry.entry, i, rank, slices});
    command.isKernel = provider->name() == nullptr;
    if (provider->name())
      commandNames[i].kernel = provider->name();
    if (provider->silentWait())
      entry.silentWait = provider->silentWait();
  }
}

Status DeviceProgram::launch(const DeviceEntry::Command &command,
                             const DeviceEntry::Command *before) {
  // Others' kernels tell nobody that the next one may start.
  bool followsKernel = before && before->isKernel;
  if (command.collective)
    return command.collective->run({stream.get(), followsKernel});
  return launcher.launch(command.kernel, stream.get(), followsKernel);
}

StatusOr<const DeviceProgram::DeviceEntry::Command *>
DeviceProgram::launchAll(const DeviceEntry &entry,
                         const backend::BindingSet &wanted) {
  const DeviceEntry::Command *last = nullptr;
  for (const DeviceEntry::Command &command : entry.commands) {
    if (!backend::isNeeded(command.neededFor, wanted))
      continue;
    SADDLE_RETURN_IF_ERROR(launch(command, last));
    last = &command;
  }
  return last;
}

/// Everything but logits.
static backend::BindingSet withoutLogits() {
  backend::BindingSet set;
  set.set();
  return set.reset(size_t(ops::BindingId::Logits));
}

Status DeviceProgram::captureEntry(DeviceEntry &entry) {
  auto captureFor = [&](const backend::BindingSet &wanted) {
    return capture([&] {
      SADDLE_RETURN_IF_ERROR(copyInputs(entry));
      return launchAll(entry, wanted).status();
    });
  };
  SADDLE_ASSIGN_OR_RETURN(entry.graph, captureFor(backend::BindingSet().set()));
  for (const DeviceEntry::Command &command : entry.commands)
    if (!backend::isNeeded(command.neededFor, withoutLogits())) {
      SADDLE_ASSIGN_OR_RETURN(entry.withoutLogits, captureFor(withoutLogits()));
      break;
    }
  return {};
}

StatusOr<GraphExec>
DeviceProgram::capture(const std::function<Status()> &enqueue) {
  const Driver &driver = device.driver;
  SADDLE_CUDA(driver, cuStreamBeginCapture, stream.get(),
              CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  Status status = guard(enqueue);
  // Ends the capture also after an error, which is the one to report.
  CUgraph raw = nullptr;
  Status ended = driver.check(driver.cuStreamEndCapture(stream.get(), &raw),
                              "cuStreamEndCapture");
  Graph graph(device, raw);
  SADDLE_RETURN_IF_ERROR(status);
  SADDLE_RETURN_IF_ERROR(ended);
  CUgraphExec exec = nullptr;
  SADDLE_CUDA(driver, cuGraphInstantiate, &exec, graph.get(), 0);
  GraphExec result(device, exec);
  SADDLE_CUDA(driver, cuGraphUpload, exec, stream.get());
  return result;
}

//===--- Chains ----------------------------------------------------------===//

Status DeviceProgram::captureChains() {
  const schema::Engine &engine = backend.engine();
  std::optional<uint32_t> kernel = ChainMemory::kernelOf(engine);
  if (!kernel || !backend::chainEntriesOf(engine, 1, 0))
    return {};
  SADDLE_ASSIGN_OR_RETURN(ChainMemory memory,
                          ChainMemory::create(device, engine, *kernel));
  chainMemory.emplace(std::move(memory));
  std::vector<uint64_t> lengths = {0};
  if (uint64_t drafts = engine::specTokens(engine))
    lengths.push_back(drafts);
  for (uint64_t drafts : lengths)
    for (uint64_t count = 1; count <= engine.limits()->max_batch(); ++count)
      if (auto steps = backend::chainEntriesOf(engine, count, drafts);
          steps && !findChain(count, drafts))
        SADDLE_RETURN_IF_ERROR(captureChain(*steps, drafts));
  return {};
}

Status DeviceProgram::captureChain(const backend::ChainEntries &steps,
                                   uint64_t drafts) {
  std::vector<const schema::Entry *> all;
  std::vector<ChainMemory::Candidates> candidates;
  for (const DeviceEntry &entry : entries) {
    all.push_back(entry.entry);
    const auto &values = entry.outputs[size_t(ops::BindingId::CandidateValues)];
    const auto &tokens = entry.outputs[size_t(ops::BindingId::CandidateTokens)];
    candidates.push_back({values.address, tokens.address,
                          values.rowBytes / sizeof(float),
                          tokens.rowBytes / sizeof(int32_t)});
  }
  SADDLE_ASSIGN_OR_RETURN(ChainRound round,
                          chainMemory->makeRound(steps, drafts, all, candidates,
                                                 addresses, stream.get()));
  SADDLE_ASSIGN_OR_RETURN(
      GraphExec graph, capture([&]() -> Status {
        for (size_t i = 0; i < round.entries.size(); ++i) {
          const DeviceEntry &entry = entries[round.entries[i]];
          // What follows a link reads its header before it waits: so it may not
          // begin earlier.
          SADDLE_ASSIGN_OR_RETURN(const DeviceEntry::Command *last,
                                  launchAll(entry, withoutLogits()));
          SADDLE_RETURN_IF_ERROR(launcher.launch(round.links[i], stream.get(),
                                                 last && last->isKernel));
        }
        return {};
      }));
  chains.push_back({steps, drafts, std::move(graph)});
  return {};
}

const DeviceProgram::ChainGraph *
DeviceProgram::findChain(uint64_t sequences, uint64_t drafts) const {
  if (chains.empty())
    return nullptr;
  auto steps = backend::chainEntriesOf(backend.engine(), sequences, drafts);
  for (const ChainGraph &chain : chains)
    if (steps && chain.drafts == drafts && chain.entries == *steps)
      return &chain;
  return nullptr;
}

Status DeviceProgram::runRounds(const backend::BatchRun &batchRun,
                                const backend::ChainPlan &plan) {
  const ChainGraph *chain = findChain(plan.sequences.size(), plan.drafts);
  const DeviceEntry &entry = prepare(batchRun);
  // Headers of the draft's steps, too; all shapes stay as they are.
  device::Step headers[device::kChainSteps];
  uint64_t count = plan.sequences.size();
  auto headerOf = [&](uint32_t number, uint64_t tokens, uint64_t rows) {
    const DeviceEntry &step = entries[number];
    backend::Batch batch;
    batch.entry = number;
    batch.tokenCounts = {tokens};
    batch.rowCounts = {rows};
    backend::RowCounts counted(*backend.engine().topology(), rank);
    counted.set(batch, step.rules);
    return step.staging.headerOf(batch, counted, timeoutNs(backend.timeout()));
  };
  uint64_t tokens = count * (plan.drafts + 1);
  headers[device::kChainMain] = headerOf(chain->entries.main, tokens, tokens);
  headers[device::kChainDraftFirst] = headers[device::kChainDraft] = {};
  if (plan.drafts != 0) {
    headers[device::kChainDraftFirst] =
        headerOf(chain->entries.draftFirst, tokens, count);
    headers[device::kChainDraft] = headerOf(chain->entries.draft, count, count);
    isTableLost = true;
  }

  SADDLE_CUDA(device.driver, cuEventRecord, begin.get(), stream.get());
  for (const CopyRange &change : changes)
    SADDLE_RETURN_IF_ERROR(copyInputs(change));
  SADDLE_RETURN_IF_ERROR(copyInputs(entry));
  SADDLE_RETURN_IF_ERROR(
      chainMemory->write(plan, headers, batchRun.pages, stream.get()));
  for (uint64_t round = 0; round < plan.rounds; ++round) {
    SADDLE_CUDA(device.driver, cuGraphLaunch, chain->graph.get(), stream.get());
    SADDLE_CUDA(device.driver, cuEventRecord, events[round + 1].get(),
                stream.get());
    // One round stands behind the one that runs: enough for the device, and
    // each has its own deadline.
    if (round != 0)
      SADDLE_RETURN_IF_ERROR(wait(batchRun, /*events=*/0, events[round].get()));
  }
  SADDLE_CUDA(device.driver, cuEventRecord, end.get(), stream.get());
  SADDLE_RETURN_IF_ERROR(wait(batchRun, /*events=*/0));
  return elapsed(begin, end, lastTime);
}

Status DeviceProgram::runChain(const backend::BatchRun &batchRun,
                               const backend::ChainPlan &plan) {
  ContextScope scope(device);
  Status status = guard([&] { return runRounds(batchRun, plan); });
  if (!status.ok())
    giveUp(batchRun, status);
  return status;
}

Status DeviceProgram::load(const WeightSource &source) {
  ContextScope scope(device);
  Status status = uploadWeights({device, backend.engine(),
                                 engine::weightsOf(backend.engine(), stage),
                                 addresses, stream.get()},
                                launcher, source);
  return status.within("rank " + std::to_string(rank));
}

//===--- Copies of state -------------------------------------------------===//

Status DeviceProgram::copyState(uint32_t slot, uint64_t kept, bool restores) {
  ContextScope scope(device);
  for (const schema::State *state :
       engine::sequenceStatesOf(backend.engine(), stage)) {
    uint64_t bytes = engine::spanBytes(*state->slice());
    uint64_t live = addresses.of(*state->slice()) + slot * bytes;
    SADDLE_CUDA(device.driver, cuMemcpyDtoDAsync, restores ? live : kept,
                restores ? kept : live, bytes, stream.get());
    kept += bytes;
  }
  SADDLE_CUDA(device.driver, cuStreamSynchronize, stream.get());
  return {};
}

Status DeviceProgram::keepState(uint32_t slot, uint32_t snapshot) {
  uint64_t bytes = 0;
  for (const schema::State *state :
       engine::sequenceStatesOf(backend.engine(), stage))
    bytes += engine::spanBytes(*state->slice());
  SADDLE_ASSIGN_OR_RETURN(
      DeviceMemory memory,
      allocateDevice(device, bytes,
                     "rank " + std::to_string(rank) + ": a copy of state"));
  SADDLE_RETURN_IF_ERROR(copyState(slot, memory.get(), /*restores=*/false));
  snapshots[snapshot] = std::move(memory);
  return {};
}

Status DeviceProgram::restoreState(uint32_t slot, uint32_t snapshot) {
  return copyState(slot, snapshots[snapshot].get(), /*restores=*/true);
}

const uint8_t *DeviceProgram::outputRow(ops::BindingId output,
                                        uint64_t row) const {
  size_t i = size_t(output);
  return static_cast<const uint8_t *>(outputs[i].get()) +
         (row - share.first) * entries[lastEntry].outputs[i].rowBytes;
}

//===--- One batch -------------------------------------------------------===//

Status DeviceProgram::copyInputs(const CopyRange &range) {
  SADDLE_CUDA(device.driver, cuMemcpyHtoDAsync, backend.heapOf(rank) + range.to,
              static_cast<const uint8_t *>(staging.get()) + range.from,
              range.bytes, stream.get());
  return {};
}

Status DeviceProgram::copyInputs(const DeviceEntry &entry) {
  for (const CopyRange &range : entry.staging.layout().ranges)
    SADDLE_RETURN_IF_ERROR(copyInputs(range));
  return {};
}

Status DeviceProgram::copyRows(size_t output, uint64_t from, void *to,
                               uint64_t rows) {
  const auto &[address, rowBytes] = entries[lastEntry].outputs[output];
  if (rows != 0)
    SADDLE_CUDA(device.driver, cuMemcpyDtoHAsync, to, address + from * rowBytes,
                rows * rowBytes, stream.get());
  return {};
}

Status DeviceProgram::copyDirectly(size_t output, uint8_t *to,
                                   const backend::Batch &batch) {
  const DeviceEntry &entry = entries[lastEntry];
  uint64_t rowBytes = entry.outputs[output].rowBytes;
  for (uint32_t i = 0; i < batch.replicas.size(); ++i) {
    const std::vector<size_t> &wanted = batch.replicas[i].destinations;
    uint64_t first = backend::firstRow(entry.rules.allRows, batch.rowCounts, i);
    uint64_t row = std::max(share.first, first) - first;
    uint64_t end = std::min<uint64_t>(share.end > first ? share.end - first : 0,
                                      wanted.size());
    // Neighbours together.
    while (row < end) {
      uint64_t count = 1;
      while (row + count < end && wanted[row + count] == wanted[row] + count)
        ++count;
      SADDLE_RETURN_IF_ERROR(
          copyRows(output, first + row, to + wanted[row] * rowBytes, count));
      row += count;
    }
  }
  return {};
}

Status DeviceProgram::copyOutputs(const backend::BatchRun &batchRun) {
  share = backend::outputShare(*backend.engine().topology(), rank,
                               counts.of(schema::Extent::ALL_ROWS),
                               backend.runsAlone());
  for (const ops::Binding &output : ops::outputs()) {
    size_t i = size_t(output.id);
    if (!batchRun.wanted[i])
      continue;
    SADDLE_RETURN_IF_ERROR(
        batchRun.direct[i] ? copyDirectly(i, batchRun.direct[i], batchRun.batch)
                           : copyRows(i, share.first, outputs[i].get(),
                                      share.end - share.first));
  }
  return {};
}

StatusOr<bool> DeviceProgram::launchOneByOne(const DeviceEntry &entry,
                                             const backend::BatchRun &batchRun,
                                             bool isTraced) {
  const std::vector<backend::CommandName> &list = names[lastEntry];
  for (size_t i = 0; i < list.size(); ++i) {
    bool isSkipped =
        !backend::isNeeded(entry.commands[i].neededFor, batchRun.wanted);
    if (batchRun.hook && !isSkipped) {
      batchRun.transport.progress(rank, list[i].place);
      StatusOr<backend::Fault> fault = batchRun.hook(rank, list[i].place);
      if (!fault.ok())
        return backend::failAt(batchRun, rank, list[i], fault.status());
      if (*fault == backend::Fault::Die)
        return false;
      isSkipped = *fault == backend::Fault::Skip;
    }
    if (!isSkipped)
      SADDLE_RETURN_IF_ERROR(launch(entry.commands[i], /*before=*/nullptr));
    SADDLE_CUDA(device.driver, cuEventRecord, events[i + 1].get(),
                stream.get());
    if (!isTraced || isSkipped)
      continue;
    if (auto traced = entry.choices.find(i); traced != entry.choices.end())
      SADDLE_RETURN_IF_ERROR(copyChoices(traced->second));
  }
  return true;
}

const DeviceProgram::DeviceEntry &
DeviceProgram::prepare(const backend::BatchRun &batchRun) {
  const backend::Batch &batch = batchRun.batch;
  bool isFresh = lastEntry != batch.entry || isTableLost;
  lastEntry = batch.entry;
  isTableLost = false;
  const DeviceEntry &entry = entries[lastEntry];
  batchRun.transport.progress(rank, entry.entry->name()->c_str());
  backend.entryOf(rank) = lastEntry;
  counts.set(batch, entry.rules);
  entry.staging.write(batch, batchRun.pages, counts, replica,
                      timeoutNs(backend.timeout()), isFresh, changes);
  return entry;
}

StatusOr<bool> DeviceProgram::runBatch(const backend::BatchRun &batchRun,
                                       backend::CommandTrace *traces) {
  const DeviceEntry &entry = prepare(batchRun);
  Clock::time_point start = Clock::now();
  SADDLE_CUDA(device.driver, cuEventRecord, begin.get(), stream.get());
  for (const CopyRange &change : changes)
    SADDLE_RETURN_IF_ERROR(copyInputs(change));
  bool oneByOne = traces || batchRun.hook;
  if (oneByOne) {
    SADDLE_RETURN_IF_ERROR(copyInputs(entry));
    SADDLE_CUDA(device.driver, cuEventRecord, events[0].get(), stream.get());
    SADDLE_ASSIGN_OR_RETURN(bool alive,
                            launchOneByOne(entry, batchRun, traces != nullptr));
    if (!alive)
      return false;
  } else {
    bool lean = entry.withoutLogits.get() &&
                !batchRun.wanted[size_t(ops::BindingId::Logits)];
    SADDLE_CUDA(device.driver, cuGraphLaunch,
                lean ? entry.withoutLogits.get() : entry.graph.get(),
                stream.get());
  }
  SADDLE_CUDA(device.driver, cuEventRecord, end.get(), stream.get());
  SADDLE_RETURN_IF_ERROR(copyOutputs(batchRun));
  size_t count = oneByOne ? entry.commands.size() : 0;
  SADDLE_RETURN_IF_ERROR(wait(batchRun, count));
  SADDLE_RETURN_IF_ERROR(elapsed(begin, end, lastTime));
  if (traces)
    SADDLE_RETURN_IF_ERROR(readTraces(batchRun, traces, count, start));
  return true;
}

StatusOr<bool> DeviceProgram::run(const backend::BatchRun &batchRun,
                                  backend::CommandTrace *traces) {
  ContextScope scope(device);
  StatusOr<bool> result = guard([&] { return runBatch(batchRun, traces); });
  if (!result.ok())
    giveUp(batchRun, result.status());
  return result;
}

void DeviceProgram::giveUp(const backend::BatchRun &batchRun,
                           const Status &error) {
  // Other ranks learn of it, also through their kernels.
  if (!batchRun.transport.hasFailed())
    batchRun.transport.abort(rank, error);
  raiseFromHost(backend.fault());
  for (StreamProvider *provider : backend.providers())
    provider->abort();
}

std::optional<FaultContext::LastSeen>
DeviceProgram::findSilent(const comm::Transport &transport) const {
  if (backend.runsAlone())
    return std::nullopt;
  uint32_t silent = 0;
  for (uint32_t other = 1; other < backend.worldSize(); ++other)
    if (transport.lastProgress(other) < transport.lastProgress(silent))
      silent = other;
  // Hosts that wait for their devices say every few microseconds that they are
  // alive.
  if (Clock::now() - transport.lastProgress(silent) < backend.timeout() / 2)
    return std::nullopt;
  return FaultContext::LastSeen{silent, transport.lastPlace(silent)};
}

Status DeviceProgram::wait(const backend::BatchRun &batchRun, size_t count,
                           CUevent until) {
  comm::Transport &transport = batchRun.transport;
  auto explain = [&] {
    const device::Fault &fault = *backend.fault();
    bool isKnown = fault.rank < backend.worldSize();
    bool isPeerKnown = fault.peer < backend.worldSize();
    return describeFault(
        fault,
        {backend.engine(), isKnown ? backend.entryOf(fault.rank).load() : 0,
         backend.timeout(),
         isPeerKnown ? transport.lastPlace(fault.peer) : nullptr,
         findSilent(transport), backend.runsAlone()});
  };
  const DeviceEntry &entry = entries[lastEntry];
  Status status =
      waitFor({device, stream.get(), until, events.data() + 1,
               names[lastEntry].data(), count, entry.entry->name()->c_str(),
               rank, transport, backend.fault(), backend.timeout(), explain});
  if (status.code() != StatusCode::DeadlineExceeded || !entry.silentWait ||
      isRaised(backend.fault()))
    return status;
  // No kernel of ours gave up.
  std::string message =
      status.message() + "; it may wait in " + entry.silentWait;
  if (auto silent = findSilent(transport); silent && silent->place)
    message += " for rank " + std::to_string(silent->rank) +
               ", last seen at \"" + silent->place + "\"";
  return Status(status.code(), std::move(message), status.identifier());
}

Status DeviceProgram::elapsed(const Event &from, const Event &to,
                              std::chrono::nanoseconds &time) const {
  float milliseconds = 0;
  SADDLE_CUDA(device.driver, cuEventElapsedTime, &milliseconds, from.get(),
              to.get());
  time = std::chrono::nanoseconds(int64_t(double(milliseconds) * 1e6));
  return {};
}

Status DeviceProgram::prepareTrace() {
  if (isTracePrepared)
    return {};
  ContextScope scope(device);
  const schema::Engine &engine = backend.engine();
  uint64_t bytes = 0;
  for (DeviceEntry &each : entries) {
    const schema::Entry &entry = *each.entry;
    uint64_t used = 0;
    for (uint32_t i = 0; i < entry.commands()->size(); ++i) {
      std::optional<backend::Choices> choices =
          backend::choicesOf(engine, entry, *entry.commands()->Get(i), rank);
      if (!choices)
        continue;
      auto onDevice = [&](uint32_t number) {
        const schema::Slice &slice = *entry.slices()->Get(number);
        View view = engine::viewOf(engine, slice, addresses.counts);
        view.data = reinterpret_cast<uint8_t *>(addresses.of(slice));
        return view;
      };
      SADDLE_ASSIGN_OR_RETURN(Event copied, makeEvent(device));
      TracedChoices traced = {*choices, onDevice(choices->slice), used, {},
                              0,        std::move(copied)};
      const schema::Slice &slice = *entry.slices()->Get(choices->slice);
      used += slice.shape()->Get(0) * rowBytesOf(slice);
      if (choices->tokens) {
        traced.tokens = onDevice(*choices->tokens);
        traced.tokensOffset = used;
        used += rowBytesOf(*entry.slices()->Get(*choices->tokens));
      }
      each.choices.insert_or_assign(i, std::move(traced));
    }
    bytes = std::max(bytes, used);
  }
  if (bytes != 0) {
    SADDLE_ASSIGN_OR_RETURN(
        chosen, allocatePinned(device, bytes, "choices of traced steps"));
    SADDLE_ASSIGN_OR_RETURN(
        settling, allocateDevice(device, kSettlingBytes, "traced steps"));
  }
  isTracePrepared = true;
  return {};
}

Status DeviceProgram::copyChoices(const TracedChoices &traced) {
  const View &numbers = traced.onDevice;
  uint64_t rows = counts.of(traced.choices.extent);
  if (rows != 0)
    SADDLE_CUDA(device.driver, cuMemcpyDtoHAsync,
                static_cast<uint8_t *>(chosen.get()) + traced.offset,
                reinterpret_cast<uint64_t>(numbers.data),
                uint64_t(numbers.row(rows) - numbers.data), stream.get());
  // Its memory is reused by commands behind this one at the earliest.
  const View &tokens = traced.tokens;
  if (rows != 0 && tokens.data)
    SADDLE_CUDA(device.driver, cuMemcpyDtoHAsync,
                static_cast<uint8_t *>(chosen.get()) + traced.tokensOffset,
                reinterpret_cast<uint64_t>(tokens.row(rows - 1)),
                tokens.shape[1] * elementBytes(tokens.dtype), stream.get());
  // A kernel behind a copy begins some microseconds later than one behind a
  // kernel; here that falls into neither command's time.
  SADDLE_RETURN_IF_ERROR(zero(settling.get(), kSettlingBytes));
  SADDLE_CUDA(device.driver, cuEventRecord, traced.copied.get(), stream.get());
  return {};
}

Status DeviceProgram::measureEvents() {
  const Driver &driver = device.driver;
  std::vector<std::chrono::nanoseconds> samples(16);
  for (std::chrono::nanoseconds &sample : samples) {
    SADDLE_CUDA(driver, cuEventRecord, begin.get(), stream.get());
    SADDLE_CUDA(driver, cuEventRecord, end.get(), stream.get());
    SADDLE_CUDA(driver, cuStreamSynchronize, stream.get());
    SADDLE_RETURN_IF_ERROR(elapsed(begin, end, sample));
  }
  std::sort(samples.begin(), samples.end());
  eventTime = samples[samples.size() / 2];
  return {};
}

Status DeviceProgram::readTraces(const backend::BatchRun &batchRun,
                                 backend::CommandTrace *traces, size_t count,
                                 Clock::time_point start) {
  if (eventTime.count() < 0)
    SADDLE_RETURN_IF_ERROR(measureEvents());
  const DeviceEntry &entry = entries[lastEntry];
  std::chrono::nanoseconds before{0}, behind{0};
  for (size_t i = 0; i < count; ++i, before = behind) {
    SADDLE_RETURN_IF_ERROR(elapsed(events[0], events[i + 1], behind));
    traces[i].ran =
        backend::isNeeded(entry.commands[i].neededFor, batchRun.wanted);
    if (!traces[i].ran)
      continue;
    traces[i].start = start + before;
    traces[i].end =
        start + std::max(before, behind - std::min(eventTime, behind));
    auto traced = entry.choices.find(i);
    if (traced == entry.choices.end())
      continue;
    const TracedChoices &its = traced->second;
    auto *host = static_cast<uint8_t *>(chosen.get());
    uint64_t rows = counts.of(its.choices.extent);
    View copy = its.onDevice;
    copy.data = host + its.offset;
    traces[i].chosen = its.choices.count(copy, rows);
    if (its.tokens.data) {
      View row = its.tokens;
      row.data = host + its.tokensOffset;
      traces[i].tokens = backend::lastRow(row, rows == 0 ? 0 : 1);
    }
    SADDLE_RETURN_IF_ERROR(elapsed(events[0], its.copied, behind));
  }
  return {};
}

} // namespace saddle::cuda
