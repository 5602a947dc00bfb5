#include "test/unit/cuda/FakeNccl.h"

using namespace saddle::cuda;

struct saddle::cuda::NcclComm {
  int rank;
};

static FakeNccl fake;
static thread_local int depth = 0; // of groups

/// Counts a call that may fail.
static NcclResult answer(const std::string &call, const std::string &text) {
  std::lock_guard<std::mutex> lock(fake.mutex);
  if (!text.empty())
    fake.calls.push_back(text);
  bool fails = ++fake.callCount == fake.failingCall;
  if (fails && fake.onFailure)
    fake.onFailure();
  fails |= fake.failing == call;
  return fails ? NcclResult(3) : NcclResult::Success;
}

static NcclResult end(NcclComm *comm, const char *how) {
  std::lock_guard<std::mutex> lock(fake.mutex);
  fake.calls.push_back(how + std::to_string(comm->rank));
  fake.liveComms.erase(comm);
  return NcclResult::Success;
}

extern "C" {

FakeNccl *fakeNccl() { return &fake; }

NcclResult ncclGetVersion(int *version) {
  *version = fake.version;
  return answer("ncclGetVersion", "");
}
const char *ncclGetErrorString(NcclResult) {
  return fake.hasTexts ? "internal error" : nullptr;
}
const char *ncclGetLastError(NcclComm *) {
  return fake.hasTexts ? "it was asked to fail" : nullptr;
}
NcclResult ncclGetUniqueId(NcclId *id) {
  *id = {};
  return answer("ncclGetUniqueId", "id");
}
NcclResult ncclGroupStart() {
  NcclResult result = answer("ncclGroupStart", "");
  depth += result == NcclResult::Success;
  return result;
}
NcclResult ncclGroupEnd() {
  --depth;
  return answer("ncclGroupEnd", "");
}
NcclResult ncclCommInitRank(NcclComm **comm, int ranks, NcclId, int rank) {
  NcclResult result =
      answer("ncclCommInitRank",
             "init " + std::to_string(rank) + "/" + std::to_string(ranks));
  if (result == NcclResult::Success) {
    auto made = std::make_shared<NcclComm>(NcclComm{rank});
    std::lock_guard<std::mutex> lock(fake.mutex);
    fake.liveComms[made.get()] = made;
    *comm = made.get();
  }
  return result;
}
NcclResult ncclCommDestroy(NcclComm *comm) {
  if (fake.onDestroy)
    fake.onDestroy();
  return end(comm, "destroy ");
}
NcclResult ncclCommAbort(NcclComm *comm) {
  if (fake.onAbort)
    fake.onAbort();
  return end(comm, "abort ");
}
NcclResult ncclAllReduce(const void *input, void *output, size_t elements,
                         NcclType type, NcclOp, NcclComm *comm,
                         CUstream stream) {
  if (fake.onAllReduce)
    fake.onAllReduce({input, output, elements, type, stream, depth > 0});
  return answer("ncclAllReduce", "sum " + std::to_string(comm->rank) + " " +
                                     std::to_string(elements));
}
}
