#include "runtime/src/cuda/Driver.h"

#include "runtime/src/cuda/MemoryPlan.h"

#include <cstdlib>
#include <dlfcn.h>

namespace saddle::cuda {

// Spells out what `name` expands to: "cuMemAlloc_v2".
#define SADDLE_SYMBOL(name) SADDLE_SYMBOL_IMPL(name)
#define SADDLE_SYMBOL_IMPL(name) #name

constexpr const char *kWhatToDo =
    "install an NVIDIA driver of CUDA 12.8 or newer, or compile the engine "
    "with --target cpu";

StatusOr<std::unique_ptr<Driver>> Driver::bind(const char *library) {
  // Never closed: drivers do not support that.
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *reason = dlerror();
    return makeError(StatusCode::Unsupported,
                     "the CUDA driver cannot be loaded: %s; %s",
                     reason ? reason : library, kWhatToDo);
  }
  auto driver = std::make_unique<Driver>();
  const struct {
    const char *symbol;
    void **call;
  } calls[] = {
#define SADDLE_LIST_CALL(name)                                                 \
  {SADDLE_SYMBOL(name), reinterpret_cast<void **>(&driver->name)},
      SADDLE_CUDA_CALLS(SADDLE_LIST_CALL)
#undef SADDLE_LIST_CALL
  };
  for (const auto &each : calls) {
    *each.call = dlsym(handle, each.symbol);
    if (!*each.call)
      return makeError(StatusCode::Unsupported,
                       "%s has no %s: the CUDA driver is too old; %s", library,
                       each.symbol, kWhatToDo);
  }
  return driver;
}

static StatusOr<std::unique_ptr<Driver>> initialise() {
  // The driver's only way to ask for as many hardware queues as there can be
  // ranks on a device: streams that share one run in order, and a kernel that
  // waits for another rank would keep that rank's from starting. What the user
  // has set stays.
  static_assert(kMostRanksPerDevice == 32, "as many as a device has");
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", /*overwrite=*/0);
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<Driver> driver,
                          Driver::bind("libcuda.so.1"));
  SADDLE_CUDA(*driver, cuInit, 0);
  return driver;
}

StatusOr<const Driver *> Driver::get() {
  static const StatusOr<std::unique_ptr<Driver>> bound = initialise();
  if (!bound.ok())
    return bound.status();
  return static_cast<const Driver *>(bound->get());
}

static StatusCode codeOf(CUresult result) {
  switch (result) {
  case CUDA_ERROR_OUT_OF_MEMORY:
    return StatusCode::ResourceExhausted;
  case CUDA_ERROR_NO_DEVICE:
  case CUDA_ERROR_DEVICE_NOT_LICENSED:
  case CUDA_ERROR_NO_BINARY_FOR_GPU:
  case CUDA_ERROR_NOT_SUPPORTED:
  case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
  case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
  case CUDA_ERROR_INVALID_IMAGE:
    return StatusCode::Unsupported;
  default:
    return StatusCode::Internal;
  }
}

Status Driver::check(CUresult result, const char *call) const {
  if (result == CUDA_SUCCESS)
    return {};
  const char *name = nullptr, *text = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  return makeError(codeOf(result), "%s: %s (%d): %s", call,
                   name ? name : "unknown error", int(result),
                   text ? text : "the driver has no text for it");
}

} // namespace saddle::cuda
