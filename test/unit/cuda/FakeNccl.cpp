#include "test/unit/cuda/FakeNccl.h"

using namespace saddle::cuda;

struct saddle::cuda::NcclComm {
  int rank;
};

static FakeNccl fake;
static thread_local int depth = 0; // of groups

static NcclResult note(const std::string &call, const std::string &text) {
  std::lock_guard<std::mutex> lock(fake.mutex);
  fake.calls.push_back(text);
  return fake.failing == call ? NcclResult(3) : NcclResult::Success;
}

extern "C" {

FakeNccl *fakeNccl() { return &fake; }

NcclResult ncclGetVersion(int *version) {
  *version = fake.version;
  return NcclResult::Success;
}
const char *ncclGetErrorString(NcclResult) { return "internal error"; }
const char *ncclGetLastError(NcclComm *) { return "it was asked to fail"; }
NcclResult ncclGetUniqueId(NcclId *id) {
  *id = {};
  return note("ncclGetUniqueId", "id");
}
NcclResult ncclGroupStart() {
  ++depth;
  return NcclResult::Success;
}
NcclResult ncclGroupEnd() {
  --depth;
  return NcclResult::Success;
}
NcclResult ncclCommInitRank(NcclComm **comm, int ranks, NcclId, int rank) {
  NcclResult result = note("ncclCommInitRank", "init " + std::to_string(rank) +
                                                   "/" + std::to_string(ranks));
  if (result == NcclResult::Success)
    *comm = new NcclComm{rank};
  return result;
}
NcclResult ncclCommDestroy(NcclComm *comm) {
  if (fake.onDestroy)
    fake.onDestroy();
  std::string text = "destroy " + std::to_string(comm->rank);
  delete comm;
  return note("ncclCommDestroy", text);
}
NcclResult ncclCommAbort(NcclComm *comm) {
  if (fake.onAbort)
    fake.onAbort();
  std::string text = "abort " + std::to_string(comm->rank);
  delete comm;
  return note("ncclCommAbort", text);
}
NcclResult ncclAllReduce(const void *input, void *output, size_t elements,
                         NcclType type, NcclOp, NcclComm *comm,
                         CUstream stream) {
  if (fake.onAllReduce)
    fake.onAllReduce({input, output, elements, type, stream, depth > 0});
  return note("ncclAllReduce", "sum " + std::to_string(comm->rank) + " " +
                                   std::to_string(elements));
}
}
