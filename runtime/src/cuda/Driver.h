// The CUDA driver API, bound at run time: nothing links to CUDA, and a machine
// without a driver runs everything but device engines.

#ifndef SADDLE_RUNTIME_CUDA_DRIVER_H
#define SADDLE_RUNTIME_CUDA_DRIVER_H

#include "runtime/src/base/Status.h"

#include <cuda.h>

namespace saddle::cuda {

// Every call that is used. cuda.h defines most names as macros for a versioned
// symbol ("cuMemAlloc" is cuMemAlloc_v2), so that fields and symbols follow.
#define SADDLE_CUDA_CALLS(CALL)                                                \
  CALL(cuInit)                                                                 \
  CALL(cuDriverGetVersion)                                                     \
  CALL(cuGetErrorName)                                                         \
  CALL(cuGetErrorString)                                                       \
  CALL(cuDeviceGetCount)                                                       \
  CALL(cuDeviceGet)                                                            \
  CALL(cuDeviceGetName)                                                        \
  CALL(cuDeviceGetAttribute)                                                   \
  CALL(cuDeviceCanAccessPeer)                                                  \
  CALL(cuDevicePrimaryCtxRetain)                                               \
  CALL(cuDevicePrimaryCtxRelease)                                              \
  CALL(cuCtxPushCurrent)                                                       \
  CALL(cuCtxPopCurrent)                                                        \
  CALL(cuMemGetInfo)                                                           \
  CALL(cuMemAlloc)                                                             \
  CALL(cuMemFree)                                                              \
  CALL(cuMemHostAlloc)                                                         \
  CALL(cuMemFreeHost)                                                          \
  CALL(cuMemGetAllocationGranularity)                                          \
  CALL(cuMemAddressReserve)                                                    \
  CALL(cuMemAddressFree)                                                       \
  CALL(cuMemCreate)                                                            \
  CALL(cuMemRelease)                                                           \
  CALL(cuMemMap)                                                               \
  CALL(cuMemUnmap)                                                             \
  CALL(cuMemSetAccess)                                                         \
  CALL(cuMemsetD8Async)                                                        \
  CALL(cuMemcpyHtoDAsync)                                                      \
  CALL(cuMemcpyDtoHAsync)                                                      \
  CALL(cuMemcpyDtoDAsync)                                                      \
  CALL(cuMemcpy2DAsync)                                                        \
  CALL(cuStreamCreate)                                                         \
  CALL(cuStreamDestroy)                                                        \
  CALL(cuStreamQuery)                                                          \
  CALL(cuStreamSynchronize)                                                    \
  CALL(cuStreamBeginCapture)                                                   \
  CALL(cuStreamEndCapture)                                                     \
  CALL(cuEventCreate)                                                          \
  CALL(cuEventDestroy)                                                         \
  CALL(cuEventSynchronize)                                                     \
  CALL(cuEventQuery)                                                           \
  CALL(cuEventRecord)                                                          \
  CALL(cuEventElapsedTime)                                                     \
  CALL(cuModuleLoadData)                                                       \
  CALL(cuModuleUnload)                                                         \
  CALL(cuModuleGetFunction)                                                    \
  CALL(cuFuncLoad)                                                             \
  CALL(cuFuncSetAttribute)                                                     \
  CALL(cuLaunchKernelEx)                                                       \
  CALL(cuGraphInstantiate)                                                     \
  CALL(cuGraphUpload)                                                          \
  CALL(cuGraphLaunch)                                                          \
  CALL(cuGraphDestroy)                                                         \
  CALL(cuGraphExecDestroy)

/// The calls as function pointers. Immutable once bound; tests fill in their
/// own.
struct Driver {
#define SADDLE_DECLARE_CALL(name) decltype(&::name) name = nullptr;
  SADDLE_CUDA_CALLS(SADDLE_DECLARE_CALL)
#undef SADDLE_DECLARE_CALL

  /// Loads libcuda.so.1 once per process and initialises it. Errors are
  /// Unsupported and say what to install: no driver, one without a symbol that
  /// is used here, no device.
  static StatusOr<const Driver *> get();

  /// Fills the table from `library` (a file name for dlopen), without
  /// initialising anything.
  static StatusOr<std::unique_ptr<Driver>> bind(const char *library);

  /// The error of `call` ("cuMemAlloc of 12 bytes"), with name, number and text
  /// of `result`; ok for CUDA_SUCCESS. The one place where CUresult becomes
  /// Status: ResourceExhausted for lack of memory, Unsupported for a device or
  /// driver that cannot, else Internal.
  Status check(CUresult result, const char *call) const;
};

/// Returns the error of a driver call with its name; `driver` is the table.
#define SADDLE_CUDA(driver, name, ...)                                         \
  SADDLE_RETURN_IF_ERROR((driver).check((driver).name(__VA_ARGS__), #name))

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_DRIVER_H
