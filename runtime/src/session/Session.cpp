#include "runtime/src/session/Session.h"

#include "runtime/src/backend/RowCounts.h"
#include "runtime/src/base/HostMemory.h"
#include "runtime/src/comm/ThreadTransport.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/session/Backends.h"
#include "runtime/src/session/Traffic.h"

#include <algorithm>
#include <cinttypes>
#include <cstdlib>
#include <cstring>

namespace saddle::session {

static std::vector<comm::Partition> partitionsOf(const schema::Engine &engine) {
  std::vector<comm::Partition> partitions;
  for (const schema::RankGroups *groups : *engine.rank_groups())
    partitions.push_back({groups->axes()->str(),
                          groups->size(),
                          {groups->ranks()->begin(), groups->ranks()->end()}});
  return partitions;
}

static comm::ThreadTransportOptions
transportOptions(const SessionOptions &options) {
  comm::ThreadTransportOptions result;
  result.timeout = options.timeout;
  result.room = std::max(result.room, uint32_t(options.microBatches));
  return result;
}

/// That what every session keeps of an engine on the host, whatever its target,
/// can fit: before anything of it is made. Limits are numbers in the file, and
/// tables of a FlatBuffer may share what they point to, so that a small file
/// can ask for very much.
static Status checkHost(const Engine &engine) {
  const schema::Engine &root = engine.root();
  const uint64_t world = engine.worldSize(), memory = hostMemory();
  // Of a transport: a group, and where each rank finds it.
  constexpr uint64_t kOfMember = 512;
  uint64_t sequences = Scheduler::tableBytes(root);
  uint64_t groups = world * root.rank_groups()->size() * kOfMember;
  if (sequences <= memory && groups <= memory - sequences)
    return {};
  constexpr double kGiB = 1 << 30;
  return makeError(
      StatusCode::ResourceExhausted,
      "%s: a session needs %.2f GiB of the host for tables of %" PRIu64
      " sequences and %.2f GiB for rank groups, but there are %.2f GiB for "
      "this process; compile with a smaller --max-batch or for fewer ranks",
      engine.path().c_str(), double(sequences) / kGiB,
      root.limits()->max_batch() * root.topology()->dp(), double(groups) / kGiB,
      double(memory) / kGiB);
}

Session::Session(std::shared_ptr<const Engine> engine, Scheduler scheduler,
                 std::unique_ptr<backend::Backend> backend,
                 std::unique_ptr<comm::Transport> transport,
                 const SessionOptions &options)
    : loaded(std::move(engine)), options(options),
      scheduler(std::move(scheduler)), traces(loaded->worldSize()),
      backend(std::move(backend)), ranks(loaded->worldSize()),
      transport(std::move(transport)), workers(loaded->worldSize()) {
  for (const schema::Entry *entry :
       backend::entriesOf(loaded->root(), loaded->worldSize() - 1))
    layouts.push_back(backend::RowRules(*entry).allRows);
  for (const std::string &name : engine::programNames(loaded->root()))
    available.push_back(backend::outputsOf(loaded->root(), name));
}

StatusOr<std::unique_ptr<Session>>
Session::create(std::shared_ptr<const Engine> engine,
                const std::string &weights, const SessionOptions &given,
                std::unique_ptr<backend::Backend> backend,
                std::unique_ptr<comm::Transport> transport) {
  const schema::Engine &root = engine->root();
  SessionOptions options = given;
  constexpr uint64_t kMostMicroBatches = 1024; // each is a buffer per rank
  if (options.microBatches == 0)
    options.microBatches = root.topology()->pp();
  if (options.microBatches > kMostMicroBatches)
    return makeError(StatusCode::InvalidArgument,
                     "micro-batches: %" PRIu64 ", expected 1 to %" PRIu64
                     ", or 0 for one per pipeline stage",
                     options.microBatches, kMostMicroBatches);
  if (options.alone.value_or(0) >= engine->worldSize())
    return makeError(StatusCode::InvalidArgument,
                     "%s: rank %u cannot run alone; the engine has ranks 0 to "
                     "%u",
                     engine->path().c_str(), *options.alone,
                     engine->worldSize() - 1);
  SADDLE_RETURN_IF_ERROR(checkHost(*engine));
  const comm::Clock::time_point begin = comm::Clock::now();
  if (!backend) {
    SADDLE_ASSIGN_OR_RETURN(
        backend,
        makeBackend(engine,
                    {options.timeout, options.shareDevices, options.ncclLibrary,
                     options.ncclAboveBytes, options.kvTokens, options.alone}));
  }
  const comm::Clock::time_point opened = comm::Clock::now();
  if (!transport)
    transport = std::make_unique<comm::ThreadTransport>(
        engine->worldSize(), partitionsOf(root), transportOptions(options));
  SADDLE_ASSIGN_OR_RETURN(Scheduler scheduler,
                          Scheduler::create(root, backend->states().pages,
                                            options.prefillChunk,
                                            options.microBatches));
  std::unique_ptr<Session> session(
      new Session(std::move(engine), std::move(scheduler), std::move(backend),
                  std::move(transport), options));
  session->times.devices = opened - begin;
  SADDLE_RETURN_IF_ERROR(session->load(weights));
  return session;
}

Status Session::load(const std::string &weights) {
  using comm::Clock;
  const schema::Engine &root = loaded->root();
  const Clock::time_point begin = Clock::now();
  SADDLE_ASSIGN_OR_RETURN(
      std::unique_ptr<WeightSource> source,
      WeightSource::open(root, weights, options.otherWeights));
  const Clock::duration opening = Clock::now() - begin;
  std::vector<LoadTimes> each(loaded->worldSize());
  auto job = [&](uint32_t rank) -> Status {
    if (!isHere(rank))
      return {};
    const Clock::time_point start = Clock::now();
    SADDLE_ASSIGN_OR_RETURN(ranks[rank], backend->makeRank(rank));
    const Clock::time_point made = Clock::now();
    SADDLE_RETURN_IF_ERROR(ranks[rank]->load(*source));
    each[rank].memory = made - start;
    each[rank].weights = Clock::now() - made;
    return {};
  };
  // Reading a large checkpoint may take any time, but it ends.
  SADDLE_RETURN_IF_ERROR(
      workers.run(job, [](const std::vector<uint32_t> &) { return false; }));
  const LoadTimes &longest = *std::max_element(
      each.begin(), each.end(), [](const LoadTimes &a, const LoadTimes &b) {
        return a.memory + a.weights < b.memory + b.weights;
      });
  times.memory = longest.memory;
  times.weights = opening + longest.weights;
  return {};
}

StatusOr<uint32_t> Session::addSequence() {
  return change([&] { return scheduler.addSequence(); });
}

Status Session::removeSequence(uint32_t sequence) {
  return change([&] { return removeWithSnapshots(sequence); });
}

Status Session::removeWithSnapshots(uint32_t sequence) {
  SADDLE_RETURN_IF_ERROR(scheduler.checkExists(sequence));
  for (uint32_t snapshot : snapshots.of(sequence))
    SADDLE_RETURN_IF_ERROR(drop(sequence, snapshot));
  return scheduler.removeSequence(sequence);
}

//===--- Cutting back ----------------------------------------------------===//

Status Session::onRanksOf(uint32_t sequence, const Workers::Job &job) {
  uint32_t replica = replicaOf(sequence);
  auto ofReplica = [&](uint32_t rank) -> Status {
    const schema::Topology &topology = *loaded->root().topology();
    bool has = engine::coordinatesOf(topology, rank).replica == replica;
    return has && isHere(rank) ? job(rank) : Status();
  };
  // Copies take a moment, and they wait for nobody.
  return workers.run(ofReplica,
                     [](const std::vector<uint32_t> &) { return false; });
}

Status Session::bringBack(uint32_t sequence, uint32_t snapshot,
                          uint64_t length) {
  // Half restored, the sequence would be neither.
  broken = onRanksOf(sequence, [&](uint32_t rank) {
    return ranks[rank]->restoreState(scheduler.slotOf(sequence), snapshot);
  });
  SADDLE_RETURN_IF_ERROR(broken);
  scheduler.cut(sequence, length);
  snapshots.cut(sequence, length);
  return {};
}

Status Session::truncate(uint32_t sequence, uint64_t length, uint32_t program) {
  return change([&] { return cutBack(sequence, length, program); });
}

Status Session::cutBack(uint32_t sequence, uint64_t length, uint32_t program) {
  SADDLE_RETURN_IF_ERROR(scheduler.checkCut(sequence, length, program));
  if (length == scheduler.length(sequence, program))
    return {};
  if (program != 0) {
    scheduler.cut(sequence, length, program);
    return {};
  }
  // State of sequences begins anew at position 0, whatever was there.
  if (length != 0 && engine::hasSequenceState(loaded->root())) {
    if (auto snapshot = snapshots.at(sequence, length))
      return bringBack(sequence, *snapshot, length);
    return makeError(StatusCode::InvalidArgument,
                     "sequence %u cannot be cut to %" PRIu64
                     " tokens: the engine has recurrent state, and no snapshot "
                     "of that length was kept",
                     sequence, length);
  }
  scheduler.cut(sequence, length);
  snapshots.cut(sequence, length);
  return {};
}

StatusOr<uint32_t> Session::keep(uint32_t sequence) {
  return change([&]() -> StatusOr<uint32_t> {
    SADDLE_RETURN_IF_ERROR(scheduler.checkExists(sequence));
    uint32_t snapshot = snapshots.add(sequence, scheduler.length(sequence));
    Status status = onRanksOf(sequence, [&](uint32_t rank) {
      return ranks[rank]->keepState(scheduler.slotOf(sequence), snapshot);
    });
    if (status.ok())
      return snapshot;
    // Some ranks may have their copy.
    SADDLE_RETURN_IF_ERROR(drop(sequence, snapshot));
    return status;
  });
}

Status Session::restore(uint32_t sequence, uint32_t snapshot) {
  return change([&]() -> Status {
    SADDLE_RETURN_IF_ERROR(scheduler.checkExists(sequence));
    SADDLE_ASSIGN_OR_RETURN(Snapshot found,
                            snapshots.findFor(sequence, snapshot));
    return bringBack(sequence, snapshot, found.length);
  });
}

Status Session::release(uint32_t snapshot) {
  return change([&]() -> Status {
    SADDLE_ASSIGN_OR_RETURN(Snapshot found, snapshots.find(snapshot));
    return drop(found.sequence, snapshot);
  });
}

Status Session::drop(uint32_t sequence, uint32_t snapshot) {
  snapshots.remove(snapshot);
  return onRanksOf(sequence, [&](uint32_t rank) {
    ranks[rank]->releaseState(snapshot);
    return Status();
  });
}

//===--- Steps -----------------------------------------------------------===//

backend::BatchRun Session::runOf(size_t batch) {
  return {batches[batch],        wanted, serial + batch, scheduler, *transport,
          options.beforeCommand, direct};
}

/// On the rank's thread, all rounds of a chain.
Status Session::runChainOnRank(uint32_t rank) {
  SADDLE_RETURN_IF_ERROR(ranks[rank]->runChain(runOf(0), chainPlan));
  deviceTimes[rank] = ranks[rank]->deviceTime();
  finished[rank] = batchCount;
  return {};
}

/// On the rank's thread: all batches of the step, one after the other.
Status Session::runRank(uint32_t rank) {
  for (size_t i = 0; i < batchCount; ++i) {
    backend::BatchRun batchRun = runOf(i);
    SADDLE_ASSIGN_OR_RETURN(
        bool alive,
        ranks[rank]->run(batchRun, trace ? traces[rank][i].data() : nullptr));
    if (!alive)
      return {};
    collect(i, rank);
    deviceTimes[rank] += ranks[rank]->deviceTime();
    finished[rank] = i + 1;
  }
  return {};
}

StatusOr<const backend::StepOutput *>
Session::findOutput(std::string_view name, uint32_t program) const {
  for (const backend::StepOutput &output : available[program])
    if (name == output.binding->name)
      return &output;
  std::string text(name);
  if (const ops::Binding *known = ops::findBinding(name);
      known && known->isOutput() && program == 0)
    return makeError(StatusCode::InvalidArgument,
                     "the engine yields no %s; compile it with %s, or ask for "
                     "another output",
                     text.c_str(), known->output->option);
  std::string all;
  for (const backend::StepOutput &output : available[program])
    all += (all.empty() ? "" : ", ") + std::string(output.binding->name);
  return makeError(StatusCode::InvalidArgument,
                   "\"%s\" is no output of a step; the engine yields %s",
                   text.c_str(), all.c_str());
}

StatusOr<void *> Session::outputBuffer(std::string_view name, size_t rows) {
  SADDLE_ASSIGN_OR_RETURN(const backend::StepOutput *output, findOutput(name));
  OutputBuffer &buffer = buffers[size_t(output->binding->id)];
  if (buffer.start && rows <= buffer.rows)
    return static_cast<void *>(buffer.start);
  SADDLE_RETURN_IF_ERROR(broken); // a rank may still write into the old one
  buffer.start = nullptr;
  uint64_t bytes = 0;
  bool fits = !__builtin_mul_overflow(std::max<uint64_t>(rows, 1),
                                      output->rowBytes(), &bytes);
  // More would be promised, and taken from others when it is written.
  if (fits && bytes <= hostMemory()) {
    SADDLE_ASSIGN_OR_RETURN(buffer.hostMemory, backend->makeHostMemory(bytes));
    if (!buffer.hostMemory)
      buffer.plain.reset(static_cast<uint8_t *>(std::calloc(bytes, 1)));
    buffer.start = buffer.hostMemory
                       ? static_cast<uint8_t *>(buffer.hostMemory->data())
                       : buffer.plain.get();
  }
  if (!buffer.start)
    return makeError(StatusCode::ResourceExhausted,
                     "a buffer for %zu rows of %s, %" PRIu64
                     " bytes each, could not be allocated",
                     rows, output->binding->name, output->rowBytes());
  buffer.rows = rows;
  return static_cast<void *>(buffer.start);
}

void Session::collect(size_t index, uint32_t rank) {
  const backend::Batch &batch = batches[index];
  const schema::Engine &root = loaded->root();
  schema::RowLayout layout = layouts[batch.entry];
  uint32_t replicas = uint32_t(batch.replicas.size());
  backend::RowShare share =
      backend::outputShare(*root.topology(), rank,
                           backend::firstRow(layout, batch.rowCounts, replicas),
                           options.alone.has_value());
  if (share.first == share.end)
    return;
  std::shared_lock<std::shared_mutex> lock(destinationsMutex);
  for (uint32_t replica = 0; replica < replicas; ++replica) {
    const std::vector<size_t> &rows = batch.replicas[replica].destinations;
    uint64_t first = backend::firstRow(layout, batch.rowCounts, replica);
    for (const backend::StepOutput &output : available[stepped]) {
      ops::BindingId id = output.binding->id;
      uint8_t *to = destinations[size_t(id)];
      uint64_t bytes = output.rowBytes();
      for (size_t i = 0; to && i < rows.size(); ++i)
        if (first + i >= share.first && first + i < share.end)
          std::memcpy(to + rows[i] * bytes,
                      ranks[rank]->outputRow(id, first + i), bytes);
    }
  }
}

/// Whether waiting longer for the ranks that have not returned is pointless:
/// none of them makes progress, or all others have given up.
bool Session::areStuck(const std::vector<uint32_t> &missing) {
  // Ranks that wait for a stuck one find out by themselves, and say more.
  constexpr std::chrono::milliseconds kGrace{100};
  bool failed = !transport->failure().ok();
  comm::Clock::time_point now = comm::Clock::now();
  lapses.look(now);
  uint32_t slowest = missing[0];
  for (uint32_t rank : missing) {
    auto idle = now - transport->lastProgress(rank);
    if (idle < (failed ? kGrace : options.timeout + kGrace) + lapses.total())
      return false;
    if (transport->lastProgress(rank) < transport->lastProgress(slowest))
      slowest = rank;
  }
  if (!failed)
    transport->abort(slowest,
                     makeError(StatusCode::DeadlineExceeded,
                               "no progress for %.1f s",
                               double(options.timeout.count()) / 1000));
  return true;
}

Status Session::runBatches() {
  for (uint32_t rank = 0; rank < ranks.size(); ++rank) {
    traces[rank].resize(trace && isHere(rank) ? batchCount : 0);
    for (size_t i = 0; i < traces[rank].size(); ++i)
      traces[rank][i].assign(ranks[rank]->commands(batches[i].entry).size(),
                             {});
  }
  return runOnRanks([this](uint32_t rank) { return runRank(rank); });
}

Status Session::runOnRanks(const Workers::Job &work) {
  const uint32_t world = uint32_t(ranks.size());
  finished.assign(world, 0);
  deviceTimes.assign(world, {});
  lapses = comm::Lapses(comm::Clock::now());
  for (uint32_t rank = 0; rank < ranks.size(); ++rank)
    transport->progress(rank, "the start of the step");
  // A rank that is given up may still run it when this call has returned.
  auto job = [this, work](uint32_t rank) {
    // Nobody else would tell the other ranks of what is thrown here.
    return guard([&] { return isHere(rank) ? work(rank) : Status(); },
                 [&](const Status &error) { transport->abort(rank, error); });
  };
  Status status =
      workers.run(job, [this](const std::vector<uint32_t> &missing) {
        return areStuck(missing);
      });
  serial += batchCount;
  // The ranks' own errors are mostly consequences of the first one.
  Status cause = transport->failure();
  if (!cause.ok() || !status.ok())
    return cause.ok() ? status : cause;
  for (uint32_t rank = 0; rank < world; ++rank)
    if (isHere(rank) && finished[rank] != batchCount)
      transport->abort(rank, makeError(StatusCode::Internal,
                                       "it ended before its program did"));
  SADDLE_RETURN_IF_ERROR(transport->failure());
  return transport->checkDelivered();
}

std::chrono::nanoseconds Session::deviceTime() const {
  auto longest = std::max_element(deviceTimes.begin(), deviceTimes.end());
  return longest == deviceTimes.end() ? std::chrono::nanoseconds(0) : *longest;
}

void Session::report() const {
  const schema::Engine &engine = loaded->root();
  for (size_t i = 0; i < batchCount; ++i)
    for (uint32_t rank = 0; rank < ranks.size(); ++rank) {
      if (!isHere(rank))
        continue;
      const backend::Batch &batch = batches[i];
      const schema::Entry &entry =
          *backend::entriesOf(engine, rank)[batch.entry];
      uint32_t replica =
          engine::coordinatesOf(*engine.topology(), rank).replica;
      backend::RowCounts counts(*engine.topology(), rank);
      counts.set(batch, backend::RowRules(entry));
      const auto &commands = ranks[rank]->commands(batch.entry);
      for (size_t c = 0; c < commands.size(); ++c) {
        const schema::Command &command = *entry.commands()->Get(c);
        const backend::CommandTrace &traced = traces[rank][i][c];
        if (!traced.ran)
          continue;
        Routing routing =
            routingOf(engine, entry, command, counts, rank, traced.chosen);
        const backend::ReplicaBatch &tokens = batch.replicas[replica];
        trace({rank, i, entry.name()->c_str(), commands[c].place,
               commands[c].op, commands[c].kernel, batch.tokenCounts[replica],
               bytesOf(engine, entry, command, counts, tokens, routing),
               routing,
               operationsOf(engine, entry, command, counts, tokens, routing),
               exchangeOf(engine, entry, command, counts),
               chainOf(engine, command), traced});
      }
    }
}

Status Session::takeOutputs(Span<const WantedOutput> outputs, size_t rows,
                            uint32_t program, Destinations &to) {
  backend::BindingSet set;
  Destinations buffered{};
  for (const WantedOutput &each : outputs) {
    SADDLE_ASSIGN_OR_RETURN(const backend::StepOutput *output,
                            findOutput(each.name, program));
    const char *name = output->binding->name;
    size_t id = size_t(output->binding->id);
    if (set[id])
      return makeError(StatusCode::InvalidArgument,
                       "output %s is wanted twice; name it once", name);
    set[id] = true;
    if (rows > each.bytes / output->rowBytes())
      return makeError(StatusCode::InvalidArgument,
                       "the step yields %zu rows of %s, %" PRIu64
                       " bytes each, but the buffer holds %" PRIu64 " bytes",
                       rows, name, output->rowBytes(), each.bytes);
    if (rows != 0 && !each.data)
      return makeError(StatusCode::InvalidArgument,
                       "output %s has no memory: data is NULL", name);
    auto *data = static_cast<uint8_t *>(each.data);
    const OutputBuffer &buffer = buffers[id];
    bool isDirect = data && data == buffer.start && buffer.hostMemory &&
                    rows <= buffer.rows;
    (isDirect ? buffered : to)[id] = data;
  }
  wanted = set;
  direct = buffered;
  stepped = program;
  return {};
}

Status Session::step(Span<const SequenceInput> inputs,
                     Span<const WantedOutput> outputs, uint32_t program) {
  return change([&] { return stepOver(inputs, outputs, program); });
}

StatusOr<const backend::ChainResults *>
Session::chain(Span<const SequenceInput> inputs, backend::ChainPlan &plan) {
  return change([&] { return chainOver(inputs, plan); });
}

StatusOr<const backend::ChainResults *>
Session::chainOver(Span<const SequenceInput> inputs, backend::ChainPlan &plan) {
  using Results = const backend::ChainResults *;
  if (batches.empty())
    batches.emplace_back();
  std::vector<uint64_t> starts;
  for (const SequenceInput &input : inputs)
    starts.push_back(scheduler.length(input.sequence));
  SADDLE_ASSIGN_OR_RETURN(
      bool fits,
      scheduler.beginChain(inputs, plan.drafts, plan.rounds, batches[0]));
  if (!fits)
    return Results(nullptr);
  batchCount = 1;
  plan.drafted.clear();
  for (size_t i = 0; i < inputs.size(); ++i) {
    backend::ChainPlan::Sequence &sequence = plan.sequences[i];
    sequence.slot = scheduler.slotOf(inputs[i].sequence);
    sequence.token = inputs[i].tokens[0];
    sequence.position = int32_t(starts[i]);
    plan.drafted.insert(plan.drafted.end(), inputs[i].tokens.begin() + 1,
                        inputs[i].tokens.end());
  }
  chainPlan = plan;
  broken = runOnRanks([this](uint32_t rank) { return runChainOnRank(rank); });
  SADDLE_RETURN_IF_ERROR(broken);
  // All ranks have the same.
  chainResults = ranks[0]->chainResults();
  for (size_t i = 0; i < inputs.size(); ++i)
    scheduler.endChain(inputs[i].sequence, uint64_t(chainResults.positions[i]),
                       plan.drafts != 0);
  return Results(&chainResults);
}

Status Session::stepOver(Span<const SequenceInput> inputs,
                         Span<const WantedOutput> outputs, uint32_t program) {
  Destinations to{};
  SADDLE_RETURN_IF_ERROR(takeOutputs(outputs, rowsOf(inputs), program, to));
  for (uint32_t rank = 0; trace && rank < ranks.size(); ++rank)
    if (isHere(rank))
      SADDLE_RETURN_IF_ERROR(ranks[rank]->prepareTrace());
  SADDLE_RETURN_IF_ERROR(scheduler.begin(inputs, program));
  for (batchCount = 0;; ++batchCount) {
    if (batchCount == batches.size())
      batches.emplace_back();
    if (!scheduler.next(batches[batchCount]))
      break;
  }
  auto setDestinations = [&](const Destinations &now) {
    std::unique_lock<std::shared_mutex> lock(destinationsMutex);
    destinations = now;
  };
  setDestinations(to);
  broken = runBatches();
  setDestinations({});
  SADDLE_RETURN_IF_ERROR(broken);
  if (trace)
    report();
  return {};
}

} // namespace saddle::session
