#include "runtime/src/session/Session.h"

#include "runtime/src/backend/RowCounts.h"
#include "runtime/src/session/Backends.h"
#include "runtime/src/session/Traffic.h"

#include <algorithm>
#include <cinttypes>
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

static comm::CommunicatorOptions
communicatorOptions(const SessionOptions &options) {
  comm::CommunicatorOptions result;
  result.timeout = options.timeout;
  result.room = std::max(result.room, uint32_t(options.microBatches));
  return result;
}

Session::Session(std::shared_ptr<const Engine> engine, Scheduler scheduler,
                 std::unique_ptr<backend::Backend> backend,
                 const SessionOptions &options)
    : loaded(std::move(engine)), options(options),
      scheduler(std::move(scheduler)), times(loaded->worldSize()),
      backend(std::move(backend)), ranks(loaded->worldSize()),
      communicator(loaded->worldSize(), partitionsOf(loaded->root()),
                   communicatorOptions(options)),
      workers(loaded->worldSize()) {
  const schema::Program &last =
      backend::programOf(loaded->root(), loaded->worldSize() - 1);
  for (const schema::Entry *entry : *last.entries())
    layouts.push_back(backend::RowRules(*entry).allRows);
  const uint64_t candidates = backend::candidatesOf(loaded->root());
  rowBytes[0] = loaded->root().model()->vocab_size() * sizeof(float);
  rowBytes[1] = candidates * sizeof(float);
  rowBytes[2] = candidates * sizeof(int32_t);
}

StatusOr<std::unique_ptr<Session>>
Session::create(std::shared_ptr<const Engine> engine,
                const std::string &weights, const SessionOptions &given,
                std::unique_ptr<backend::Backend> backend) {
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
  if (!backend) {
    SADDLE_ASSIGN_OR_RETURN(
        backend,
        makeBackend(engine,
                    {options.timeout, options.shareDevices, options.ncclLibrary,
                     options.ncclAboveBytes, options.kvTokens}));
  }
  SADDLE_ASSIGN_OR_RETURN(Scheduler scheduler,
                          Scheduler::create(root, backend->states().pages,
                                            options.prefillChunk,
                                            options.microBatches));
  std::unique_ptr<Session> session(new Session(
      std::move(engine), std::move(scheduler), std::move(backend), options));
  SADDLE_RETURN_IF_ERROR(session->load(weights));
  return session;
}

Status Session::load(const std::string &weights) {
  const schema::Engine &root = loaded->root();
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<WeightSource> source,
                          WeightSource::open(root, weights));
  auto job = [&](uint32_t rank) -> Status {
    SADDLE_ASSIGN_OR_RETURN(ranks[rank], backend->makeRank(rank));
    return ranks[rank]->load(*source);
  };
  // Reading a large checkpoint may take any time, but it ends.
  return workers.run(job, [](const std::vector<uint32_t> &) { return false; });
}

StatusOr<uint32_t> Session::addSequence() {
  SADDLE_RETURN_IF_ERROR(broken);
  return scheduler.addSequence();
}

Status Session::removeSequence(uint32_t sequence) {
  SADDLE_RETURN_IF_ERROR(broken);
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
    return engine::coordinatesOf(topology, rank).replica == replica ? job(rank)
                                                                    : Status();
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

Status Session::truncate(uint32_t sequence, uint64_t length) {
  SADDLE_RETURN_IF_ERROR(broken);
  SADDLE_RETURN_IF_ERROR(scheduler.checkCut(sequence, length));
  if (length == scheduler.length(sequence))
    return {};
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
  SADDLE_RETURN_IF_ERROR(broken);
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
}

Status Session::restore(uint32_t sequence, uint32_t snapshot) {
  SADDLE_RETURN_IF_ERROR(broken);
  SADDLE_RETURN_IF_ERROR(scheduler.checkExists(sequence));
  SADDLE_ASSIGN_OR_RETURN(Snapshot found,
                          snapshots.findFor(sequence, snapshot));
  return bringBack(sequence, snapshot, found.length);
}

Status Session::release(uint32_t snapshot) {
  SADDLE_RETURN_IF_ERROR(broken);
  SADDLE_ASSIGN_OR_RETURN(Snapshot found, snapshots.find(snapshot));
  return drop(found.sequence, snapshot);
}

Status Session::drop(uint32_t sequence, uint32_t snapshot) {
  snapshots.remove(snapshot);
  return onRanksOf(sequence, [&](uint32_t rank) {
    ranks[rank]->releaseState(snapshot);
    return Status();
  });
}

//===--- Steps -----------------------------------------------------------===//

/// On the rank's thread: all batches of the step, one after the other.
Status Session::runRank(uint32_t rank) {
  for (size_t i = 0; i < batchCount; ++i) {
    backend::BatchRun batchRun = {batches[i],
                                  wanted,
                                  serial + i,
                                  scheduler,
                                  communicator,
                                  options.beforeCommand,
                                  writtenByRanks() ? bufferStart : nullptr};
    SADDLE_ASSIGN_OR_RETURN(
        bool alive,
        ranks[rank]->run(batchRun, trace ? times[rank][i].data() : nullptr));
    if (!alive)
      return {};
    if (!batchRun.logits)
      collect(i, rank);
    deviceTimes[rank] += ranks[rank]->deviceTime();
    finished[rank] = i + 1;
  }
  return {};
}

StatusOr<float *> Session::logitsBuffer(size_t rows) {
  if (bufferStart && rows <= bufferRows)
    return bufferStart;
  SADDLE_RETURN_IF_ERROR(broken); // a rank may still write into the old one
  uint64_t floats = rows * loaded->root().model()->vocab_size();
  bufferStart = nullptr;
  SADDLE_ASSIGN_OR_RETURN(hostMemory,
                          backend->makeHostMemory(floats * sizeof(float)));
  if (!hostMemory)
    plainBuffer.resize(floats);
  bufferStart = hostMemory ? static_cast<float *>(hostMemory->data())
                           : plainBuffer.data();
  bufferRows = rows;
  return bufferStart;
}

void Session::collect(size_t index, uint32_t rank) {
  const backend::Batch &batch = batches[index];
  const schema::Engine &root = loaded->root();
  schema::RowLayout layout = layouts[batch.entry];
  uint32_t replicas = uint32_t(batch.replicas.size());
  backend::RowShare share = backend::logitsShare(
      *root.topology(), rank,
      backend::firstRow(layout, batch.rowCounts, replicas));
  if (share.first == share.end)
    return;
  std::shared_lock<std::shared_mutex> lock(destinationsMutex);
  for (uint32_t replica = 0; replica < replicas; ++replica) {
    const std::vector<size_t> &rows = batch.replicas[replica].destinations;
    uint64_t first = backend::firstRow(layout, batch.rowCounts, replica);
    for (size_t output = 0; output < std::size(destinations); ++output)
      for (size_t i = 0; destinations[output] && i < rows.size(); ++i)
        if (first + i >= share.first && first + i < share.end)
          std::memcpy(destinations[output] + rows[i] * rowBytes[output],
                      ranks[rank]->outputRow(output, first + i),
                      rowBytes[output]);
  }
}

/// Whether waiting longer for the ranks that have not returned is pointless:
/// none of them makes progress, or all others have given up.
bool Session::areStuck(const std::vector<uint32_t> &missing) {
  // Ranks that wait for a stuck one find out by themselves, and say more.
  constexpr std::chrono::milliseconds kGrace{100};
  bool failed = !communicator.failure().ok();
  comm::Clock::time_point now = comm::Clock::now();
  uint32_t slowest = missing[0];
  for (uint32_t rank : missing) {
    auto idle = now - communicator.lastProgress(rank);
    if (idle < (failed ? kGrace : options.timeout + kGrace))
      return false;
    if (communicator.lastProgress(rank) < communicator.lastProgress(slowest))
      slowest = rank;
  }
  if (!failed)
    communicator.abort(slowest,
                       makeError(StatusCode::DeadlineExceeded,
                                 "no progress for %.1f s",
                                 double(options.timeout.count()) / 1000));
  return true;
}

Status Session::runBatches() {
  const uint32_t world = uint32_t(ranks.size());
  finished.assign(world, 0);
  deviceTimes.assign(world, {});
  for (uint32_t rank = 0; rank < world; ++rank) {
    communicator.progress(rank, "the start of the step");
    times[rank].resize(trace ? batchCount : 0);
    for (size_t i = 0; i < times[rank].size(); ++i)
      times[rank][i].resize(ranks[rank]->commands(batches[i].entry).size());
  }
  Status status = workers.run([this](uint32_t rank) { return runRank(rank); },
                              [this](const std::vector<uint32_t> &missing) {
                                return areStuck(missing);
                              });
  serial += batchCount;
  // The ranks' own errors are mostly consequences of the first one.
  Status cause = communicator.failure();
  if (!cause.ok() || !status.ok())
    return cause.ok() ? status : cause;
  for (uint32_t rank = 0; rank < world; ++rank)
    if (finished[rank] != batchCount)
      communicator.abort(rank, makeError(StatusCode::Internal,
                                         "it ended before its program did"));
  SADDLE_RETURN_IF_ERROR(communicator.failure());
  return communicator.checkDelivered();
}

std::chrono::nanoseconds Session::deviceTime() const {
  auto longest = std::max_element(deviceTimes.begin(), deviceTimes.end());
  return longest == deviceTimes.end() ? std::chrono::nanoseconds(0) : *longest;
}

void Session::report() const {
  const schema::Engine &engine = loaded->root();
  for (size_t i = 0; i < batchCount; ++i)
    for (uint32_t rank = 0; rank < ranks.size(); ++rank) {
      const backend::Batch &batch = batches[i];
      const schema::Entry &entry =
          *backend::programOf(engine, rank).entries()->Get(batch.entry);
      uint32_t replica =
          engine::coordinatesOf(*engine.topology(), rank).replica;
      backend::RowCounts counts(*engine.topology(), rank);
      counts.set(batch, backend::RowRules(entry));
      const auto &commands = ranks[rank]->commands(batch.entry);
      for (size_t c = 0; c < commands.size(); ++c)
        trace({rank, i, entry.name()->c_str(), commands[c].place,
               commands[c].op, commands[c].kernel, batch.tokenCounts[replica],
               bytesOf(engine, entry, *entry.commands()->Get(c), counts,
                       batch.replicas[replica]),
               times[rank][i][c]});
    }
}

static size_t rowsOf(Span<const SequenceInput> inputs) {
  size_t rows = 0;
  for (const SequenceInput &input : inputs)
    rows += input.rows();
  return rows;
}

Status Session::runStep(Span<const SequenceInput> inputs,
                        backend::Output output, const Destinations &to) {
  SADDLE_RETURN_IF_ERROR(scheduler.begin(inputs));
  wanted = output;
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
  stepIntoBuffer = output == backend::Output::Logits && to[0] &&
                   to[0] == reinterpret_cast<uint8_t *>(bufferStart) &&
                   rowsOf(inputs) <= bufferRows;
  setDestinations(to);
  broken = runBatches();
  setDestinations({});
  SADDLE_RETURN_IF_ERROR(broken);
  if (trace)
    report();
  return {};
}

Status Session::step(Span<const SequenceInput> inputs, float *logits,
                     size_t capacity) {
  SADDLE_RETURN_IF_ERROR(broken);
  uint64_t vocab = loaded->root().model()->vocab_size();
  size_t rows = rowsOf(inputs);
  if (rows > capacity / vocab)
    return makeError(StatusCode::InvalidArgument,
                     "the step yields %zu rows of %" PRIu64
                     " logits, but the buffer holds %zu floats",
                     rows, vocab, capacity);
  return runStep(inputs, backend::Output::Logits,
                 {reinterpret_cast<uint8_t *>(logits), nullptr, nullptr});
}

Status Session::stepCandidates(Span<const SequenceInput> inputs, float *values,
                               int32_t *tokens, size_t capacity) {
  SADDLE_RETURN_IF_ERROR(broken);
  size_t rows = rowsOf(inputs);
  if (rowBytes[1] == 0)
    return makeError(StatusCode::InvalidArgument,
                     "the engine yields no candidates; compile it with "
                     "--candidates, or ask for logits");
  if (rows > capacity)
    return makeError(StatusCode::InvalidArgument,
                     "the step yields %zu rows of candidates, but the buffers "
                     "hold %zu",
                     rows, capacity);
  return runStep(inputs, backend::Output::Candidates,
                 {nullptr, reinterpret_cast<uint8_t *>(values),
                  reinterpret_cast<uint8_t *>(tokens)});
}

} // namespace saddle::session
