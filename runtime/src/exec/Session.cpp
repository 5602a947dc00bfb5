#include "runtime/src/exec/Session.h"

#include "runtime/src/weights/WeightLoader.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>

namespace saddle::exec {

static std::vector<comm::Partition> partitionsOf(const schema::Engine &engine) {
  std::vector<comm::Partition> partitions;
  for (const schema::RankGroups *groups : *engine.rank_groups())
    partitions.push_back({groups->axes()->str(),
                          groups->size(),
                          {groups->ranks()->begin(), groups->ranks()->end()}});
  return partitions;
}

Session::Session(std::shared_ptr<const Engine> engine, Scheduler scheduler,
                 const SessionOptions &options)
    : loaded(std::move(engine)), options(options),
      scheduler(std::move(scheduler)), ranks(loaded->worldSize()),
      times(loaded->worldSize()),
      communicator(loaded->worldSize(), partitionsOf(loaded->root()),
                   options.timeout),
      workers(loaded->worldSize()) {}

StatusOr<std::unique_ptr<Session>>
Session::create(std::shared_ptr<const Engine> engine,
                const std::string &weights, const SessionOptions &options) {
  const schema::Engine &root = engine->root();
  if (root.programs()->size() != 1)
    return makeError(StatusCode::Unsupported,
                     "%s: %u pipeline stages, but this runtime runs one; "
                     "compile with --topology pp=1",
                     engine->path().c_str(), root.programs()->size());
  if (Status status = checkMemory(root, engine->worldSize()); !status.ok())
    return Status(status.code(), engine->path() + ": " + status.message());
  SADDLE_ASSIGN_OR_RETURN(
      Scheduler scheduler,
      Scheduler::create(root, *root.programs()->Get(0), options.prefillChunk));
  std::unique_ptr<Session> session(
      new Session(std::move(engine), std::move(scheduler), options));
  SADDLE_RETURN_IF_ERROR(session->load(weights));
  return session;
}

Status Session::load(const std::string &weights) {
  const schema::Engine &root = loaded->root();
  const schema::Program &program = *root.programs()->Get(0);
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<WeightSource> source,
                          WeightSource::open(root, weights));
  auto job = [&](uint32_t rank) -> Status {
    SADDLE_ASSIGN_OR_RETURN(ranks[rank],
                            RankProgram::create(root, program, rank));
    return source->load(program, rank, ranks[rank]->arenaBases());
  };
  // Reading a large checkpoint may take any time, but it ends.
  return workers.run(job, std::chrono::hours(24 * 365));
}

Status Session::runBatch() {
  if (trace)
    for (uint32_t rank = 0; rank < ranks.size(); ++rank)
      times[rank].resize(ranks[rank]->entry(batch.entry).commands.size());
  Status status = workers.run(
      [this](uint32_t rank) {
        return ranks[rank]->run(batch, scheduler, communicator,
                                options.beforeCommand,
                                trace ? times[rank].data() : nullptr);
      },
      options.timeout);
  if (status.ok())
    return {};
  // The ranks' own errors are mostly consequences of the first one.
  Status cause = communicator.failure();
  return cause.ok() ? status : cause;
}

void Session::reportBatch() const {
  const schema::Entry &entry =
      *loaded->root().programs()->Get(0)->entries()->Get(batch.entry);
  for (uint32_t rank = 0; rank < ranks.size(); ++rank) {
    const auto &commands = ranks[rank]->entry(batch.entry).commands;
    for (size_t i = 0; i < commands.size(); ++i)
      trace({rank, entry.name()->c_str(), commands[i].location, commands[i].op,
             batch.tokens.size(), times[rank][i]});
  }
}

Status Session::step(Span<const SequenceInput> inputs, float *logits,
                     size_t capacity) {
  if (!broken.ok())
    return broken;
  uint64_t vocab = loaded->root().model()->vocab_size();
  size_t rows = 0;
  for (const SequenceInput &input : inputs)
    rows += input.rows();
  if (rows > capacity / vocab)
    return makeError(StatusCode::InvalidArgument,
                     "the step yields %zu rows of %" PRIu64
                     " logits, but the buffer holds %zu floats",
                     rows, vocab, capacity);
  SADDLE_RETURN_IF_ERROR(scheduler.begin(inputs));
  while (scheduler.next(batch)) {
    broken = runBatch();
    if (!broken.ok())
      return broken;
    const View &results = ranks[0]->entry(batch.entry).logits;
    for (size_t i = 0; i < batch.destinations.size(); ++i)
      std::memcpy(logits + batch.destinations[i] * vocab, results.row(i),
                  vocab * sizeof(float));
    if (trace)
      reportBatch();
  }
  return {};
}

} // namespace saddle::exec
