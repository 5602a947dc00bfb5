#include "runtime/src/cuda/Nccl.h"

#include <cstdlib>
#include <dlfcn.h>

namespace saddle::cuda {

constexpr const char *kWhatToDo =
    "name a libnccl.so.2 of NCCL 2.18 or newer, or leave NCCL out";

StatusOr<std::unique_ptr<Nccl>> Nccl::bind(const std::string &library) {
  // NCCL reads it when it starts.
  setenv("NCCL_NVLS_ENABLE", "0", /*overwrite=*/1);
  // Never closed: it has threads of its own.
  void *handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *reason = dlerror();
    return makeError(StatusCode::Unsupported, "NCCL cannot be loaded: %s; %s",
                     reason ? reason : library.c_str(), kWhatToDo);
  }
  auto nccl = std::make_unique<Nccl>();
  const struct {
    const char *symbol;
    void **call;
  } calls[] = {
#define SADDLE_LIST_CALL(name, ...)                                            \
  {#name, reinterpret_cast<void **>(&nccl->name)},
      SADDLE_NCCL_CALLS(SADDLE_LIST_CALL)
#undef SADDLE_LIST_CALL
  };
  for (const auto &each : calls) {
    *each.call = dlsym(handle, each.symbol);
    if (!*each.call)
      return makeError(StatusCode::Unsupported, "%s has no %s; %s",
                       library.c_str(), each.symbol, kWhatToDo);
  }
  int version = 0;
  SADDLE_RETURN_IF_ERROR(
      nccl->check(nccl->ncclGetVersion(&version), "ncclGetVersion"));
  constexpr int kLeastVersion = 21800;
  if (version < kLeastVersion)
    return makeError(StatusCode::Unsupported,
                     "%s is of version code %d, expected %d or more; %s",
                     library.c_str(), version, kLeastVersion, kWhatToDo);
  return nccl;
}

Status Nccl::check(NcclResult result, const char *call, NcclComm *comm) const {
  if (result == NcclResult::Success)
    return {};
  const char *text = ncclGetErrorString(result);
  const char *last = ncclGetLastError(comm);
  return makeError(StatusCode::Internal, "%s: %s (%d)%s%s", call,
                   text ? text : "NCCL has no text for it", int(result),
                   last && *last ? ": " : "", last ? last : "");
}

} // namespace saddle::cuda
