// NCCL, bound at run time from the file that the caller names: nothing links to
// it, and building needs none of its headers.

#ifndef SADDLE_RUNTIME_CUDA_NCCL_H
#define SADDLE_RUNTIME_CUDA_NCCL_H

#include "runtime/src/base/Status.h"

#include <cuda.h>

namespace saddle::cuda {

// What is used of NCCL's C interface; the same in all versions of NCCL 2.
struct NcclComm;
struct NcclId {
  char bytes[128];
};
enum class NcclResult : int { Success = 0 };
enum class NcclType : int { F16 = 6, F32 = 7, BF16 = 9 };
enum class NcclOp : int { Sum = 0 };

#define SADDLE_NCCL_CALLS(CALL)                                                \
  CALL(ncclGetVersion, NcclResult(int *version))                               \
  CALL(ncclGetErrorString, const char *(NcclResult result))                    \
  CALL(ncclGetLastError, const char *(NcclComm * comm))                        \
  CALL(ncclGetUniqueId, NcclResult(NcclId *id))                                \
  CALL(ncclGroupStart, NcclResult())                                           \
  CALL(ncclGroupEnd, NcclResult())                                             \
  CALL(ncclCommInitRank,                                                       \
       NcclResult(NcclComm **comm, int ranks, NcclId id, int rank))            \
  CALL(ncclCommDestroy, NcclResult(NcclComm *comm))                            \
  CALL(ncclCommAbort, NcclResult(NcclComm *comm))                              \
  CALL(ncclAllReduce,                                                          \
       NcclResult(const void *input, void *output, size_t elements,            \
                  NcclType type, NcclOp op, NcclComm *comm, CUstream stream))

/// The calls as function pointers. Immutable once bound.
struct Nccl {
  template <typename Signature>
  using Call = Signature *;
#define SADDLE_DECLARE_CALL(name, ...) Call<__VA_ARGS__> name = nullptr;
  SADDLE_NCCL_CALLS(SADDLE_DECLARE_CALL)
#undef SADDLE_DECLARE_CALL

  /// Fills the table from `library` (a file name for dlopen, "libnccl.so.2").
  /// Before that it turns NVLink multicast in NCCL off for this process
  /// (NCCL_NVLS_ENABLE=0): nothing here ever uses it, and NCCL offers no other
  /// way. Errors are Unsupported: no such library, a symbol that is not there,
  /// a version before 2.18.
  static StatusOr<std::unique_ptr<Nccl>> bind(const std::string &library);

  /// The error of `call`, with NCCL's texts; ok for Success. `comm` may be
  /// null.
  Status check(NcclResult result, const char *call,
               NcclComm *comm = nullptr) const;
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_NCCL_H
