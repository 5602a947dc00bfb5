#include "runtime/src/cuda/NcclGroups.h"

#include "runtime/src/base/DType.h"
#include "runtime/src/base/Guard.h"
#include "runtime/src/cuda/Memory.h"

#include <cinttypes>

namespace saddle::cuda {

//===--- Which all-reduces ------------------------------------------------===//

static std::optional<NcclType> typeOf(schema::DType dtype) {
  switch (dtype) {
  case schema::DType::F32:
    return NcclType::F32;
  case schema::DType::BF16:
    return NcclType::BF16;
  case schema::DType::F16:
    return NcclType::F16;
  default:
    return std::nullopt;
  }
}

/// Elements of a slice without gaps.
static std::optional<uint64_t> denseElements(const schema::Slice &slice) {
  uint64_t elements = 1;
  for (uint32_t i = slice.shape()->size(); i-- > 0;) {
    if (slice.shape()->Get(i) != 1 && slice.strides()->Get(i) != elements)
      return std::nullopt;
    elements *= slice.shape()->Get(i);
  }
  return elements;
}

std::optional<NcclSum> ncclSumOf(const schema::Engine &engine,
                                 const schema::Entry &entry,
                                 const schema::Command &command,
                                 uint64_t leastBytes) {
  const auto *collective = command.action_as_Collective();
  if (!collective ||
      collective->kind() != schema::CollectiveKind::ALL_REDUCE_SUM ||
      engine.rank_groups()->Get(collective->groups())->size() < 2)
    return std::nullopt;
  const schema::Slice &input = *entry.slices()->Get(collective->input());
  auto elements = denseElements(input);
  auto type = typeOf(input.dtype());
  if (!elements || !type ||
      !denseElements(*entry.slices()->Get(collective->output())) ||
      *elements * elementBytes(input.dtype()) < leastBytes)
    return std::nullopt;
  return NcclSum{collective->groups(), *elements, *type};
}

/// All of them, of all programs.
static std::set<NcclSum> sumsOf(const schema::Engine &engine,
                                uint64_t leastBytes) {
  std::set<NcclSum> sums;
  for (const schema::Program *program : *engine.programs())
    for (const schema::Entry *entry : *program->entries())
      for (const schema::Command *command : *entry->commands())
        if (auto sum = ncclSumOf(engine, *entry, *command, leastBytes))
          sums.insert(*sum);
  return sums;
}

//===--- Communicators ----------------------------------------------------===//

StatusOr<std::unique_ptr<NcclGroups>>
NcclGroups::create(std::unique_ptr<Nccl> library, const Options &options) {
  std::unique_ptr<NcclGroups> result(
      new NcclGroups(std::move(library), options));
  std::set<NcclSum> sums = sumsOf(options.engine, options.leastBytes);
  auto steps = [&]() -> Status {
    std::set<uint32_t> connected;
    for (const NcclSum &sum : sums) {
      if (connected.insert(sum.groups).second)
        SADDLE_RETURN_IF_ERROR(result->connect(options, sum.groups));
      SADDLE_RETURN_IF_ERROR(result->warmUp(options, sum));
    }
    return {};
  };
  if (Status status = steps(); !status.ok()) {
    result->abort();
    return status.within("NCCL");
  }
  return result;
}

NcclGroups::~NcclGroups() {
  // Whoever could abort is gone.
  if (!isAborted)
    endAll(library->ncclCommDestroy);
  for (std::thread &thread : ending)
    thread.join();
}

Status NcclGroups::connect(const Options &options, uint32_t groups) {
  const schema::RankGroups &partition =
      *options.engine.rank_groups()->Get(groups);
  const uint32_t size = partition.size();
  for (uint32_t first = 0; first < partition.ranks()->size(); first += size) {
    NcclId id;
    SADDLE_RETURN_IF_ERROR(
        library->check(library->ncclGetUniqueId(&id), "ncclGetUniqueId"));
    SADDLE_RETURN_IF_ERROR(
        library->check(library->ncclGroupStart(), "ncclGroupStart"));
    Status status;
    for (uint32_t i = 0; i < size && status.ok(); ++i) {
      uint32_t rank = partition.ranks()->Get(first + i);
      ContextScope scope(*options.deviceOfRank[rank]);
      // Filled in at the end of the group.
      NcclComm *&comm = comms[{groups, rank}];
      status = library->check(
          library->ncclCommInitRank(&comm, int(size), id, int(i)),
          "ncclCommInitRank");
    }
    // Ends the group also after an error, which is the one to report.
    Status ended = library->check(library->ncclGroupEnd(), "ncclCommInitRank");
    if (status.ok() && ended.ok())
      continue;
    // Whether they exist is not known, so they are left alone.
    for (uint32_t i = 0; i < size; ++i)
      comms.erase({groups, partition.ranks()->Get(first + i)});
    return status.ok() ? ended : status;
  }
  return {};
}

Status NcclGroups::warmUp(const Options &options, const NcclSum &sum) {
  const auto &ranks = *options.engine.rank_groups()->Get(sum.groups)->ranks();
  std::vector<Stream> streams;
  for (uint32_t rank : ranks) {
    ContextScope scope(*options.deviceOfRank[rank]);
    SADDLE_ASSIGN_OR_RETURN(Stream stream,
                            makeStream(*options.deviceOfRank[rank]));
    streams.push_back(std::move(stream));
  }
  SADDLE_RETURN_IF_ERROR(
      library->check(library->ncclGroupStart(), "ncclGroupStart"));
  Status status;
  for (uint32_t i = 0; i < ranks.size() && status.ok(); ++i) {
    ContextScope scope(*options.deviceOfRank[ranks.Get(i)]);
    // Operands of sums lie in the heap, so it holds as many bytes.
    void *data = reinterpret_cast<void *>(options.heap.of(ranks.Get(i)));
    status = allReduce(ranks.Get(i), sum, data, data, streams[i].get());
  }
  Status ended = library->check(library->ncclGroupEnd(), "ncclAllReduce");
  SADDLE_RETURN_IF_ERROR(status);
  SADDLE_RETURN_IF_ERROR(ended);
  auto start = std::chrono::steady_clock::now();
  for (uint32_t i = 0; i < streams.size(); ++i) {
    const Device &device = *options.deviceOfRank[ranks.Get(i)];
    ContextScope scope(device);
    CUresult state;
    while ((state = device.driver.cuStreamQuery(streams[i].get())) ==
           CUDA_ERROR_NOT_READY) {
      if (std::chrono::steady_clock::now() - start > options.timeout) {
        abort(); // so that the streams end
        return makeError(
            StatusCode::DeadlineExceeded,
            "the first all-reduce of %" PRIu64 " elements over %s has not "
            "ended after %.1f s",
            sum.elements,
            options.engine.rank_groups()->Get(sum.groups)->axes()->c_str(),
            double(options.timeout.count()) / 1000);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    SADDLE_RETURN_IF_ERROR(device.driver.check(state, "ncclAllReduce"));
  }
  return {};
}

Status NcclGroups::allReduce(uint32_t rank, const NcclSum &sum,
                             const void *input, void *output, CUstream stream) {
  NcclComm *comm = comms.at({sum.groups, rank});
  if (!beginCall(comm))
    return makeError(StatusCode::Aborted, "NCCL has been stopped");
  Status status = library->check(
      library->ncclAllReduce(input, output, sum.elements, sum.type, NcclOp::Sum,
                             comm, stream),
      "ncclAllReduce", comm);
  endCall(comm);
  return status;
}

bool NcclGroups::beginCall(NcclComm *comm) {
  std::lock_guard<std::mutex> lock(mutex);
  if (!isAborted)
    calling.insert(comm);
  return !isAborted;
}

void NcclGroups::endCall(NcclComm *comm) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    calling.erase(calling.find(comm));
  }
  callEnded.notify_all();
}

namespace {
class NcclAllReduce : public StreamCollective {
public:
  NcclAllReduce(NcclGroups &groups, uint32_t rank, const NcclSum &sum,
                const void *input, void *output)
      : groups(groups), rank(rank), sum(sum), input(input), output(output) {}
  Status run(const StreamRun &run) override {
    return groups.allReduce(rank, sum, input, output, run.stream);
  }

private:
  NcclGroups &groups;
  const uint32_t rank;
  const NcclSum sum;
  const void *input;
  void *output;
};
} // namespace

std::unique_ptr<StreamCollective>
NcclGroups::bind(const backend::CollectiveSite &site) {
  const schema::Collective &collective = *site.command().action_as_Collective();
  return std::make_unique<NcclAllReduce>(
      *this, site.rank, *ncclSumOf(engine, site.entry, site.command(), least),
      site.slices[collective.input()].data,
      site.slices[collective.output()].data);
}

void NcclGroups::abort() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (isAborted)
      return;
    isAborted = true;
  }
  endAll(library->ncclCommAbort);
}

/// Each on a thread of its own: NCCL may wait for the other ranks' calls. A
/// call that another rank is in is let end, since it uses the communicator; one
/// that hangs is what an abort is for. Where no thread is to be had
/// communicators are left alone.
void NcclGroups::endAll(NcclResult (*end)(NcclComm *)) {
  (void)guard([&] {
    for (const auto &[place, comm] : comms)
      if (comm)
        ending.emplace_back([this, end, comm = comm] {
          constexpr std::chrono::milliseconds kPatience{200};
          std::unique_lock<std::mutex> lock(mutex);
          callEnded.wait_for(lock, kPatience,
                             [&] { return calling.count(comm) == 0; });
          lock.unlock();
          end(comm);
        });
    return Status();
  });
}

} // namespace saddle::cuda
