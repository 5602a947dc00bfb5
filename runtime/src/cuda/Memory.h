// Owners of what the driver hands out: device memory, pinned host memory,
// streams and events.

#ifndef SADDLE_RUNTIME_CUDA_MEMORY_H
#define SADDLE_RUNTIME_CUDA_MEMORY_H

#include "runtime/src/cuda/Device.h"

#include <utility>

namespace saddle::cuda {

/// Moves a handle and frees it with `Traits::release(device, handle)`.
template <typename Traits>
class Owned {
public:
  using Handle = typename Traits::Handle;

  Owned() = default;
  Owned(const Device &device, Handle handle)
      : device(&device), handle(handle) {}
  Owned(Owned &&other) noexcept { *this = std::move(other); }
  Owned &operator=(Owned &&other) noexcept {
    std::swap(device, other.device);
    std::swap(handle, other.handle);
    return *this;
  }
  ~Owned() {
    if (!handle)
      return;
    ContextScope scope(*device);
    Traits::release(device->driver, handle);
  }

  Handle get() const { return handle; }

private:
  const Device *device = nullptr;
  Handle handle = {};
};

struct DeviceMemoryTraits {
  using Handle = CUdeviceptr;
  static void release(const Driver &driver, Handle handle) {
    driver.cuMemFree(handle);
  }
};
struct PinnedMemoryTraits {
  using Handle = void *;
  static void release(const Driver &driver, Handle handle) {
    driver.cuMemFreeHost(handle);
  }
};
struct StreamTraits {
  using Handle = CUstream;
  static void release(const Driver &driver, Handle handle) {
    driver.cuStreamDestroy(handle);
  }
};
struct EventTraits {
  using Handle = CUevent;
  static void release(const Driver &driver, Handle handle) {
    driver.cuEventDestroy(handle);
  }
};
struct ModuleTraits {
  using Handle = CUmodule;
  static void release(const Driver &driver, Handle handle) {
    driver.cuModuleUnload(handle);
  }
};
struct GraphTraits {
  using Handle = CUgraph;
  static void release(const Driver &driver, Handle handle) {
    driver.cuGraphDestroy(handle);
  }
};
struct GraphExecTraits {
  using Handle = CUgraphExec;
  static void release(const Driver &driver, Handle handle) {
    driver.cuGraphExecDestroy(handle);
  }
};
using DeviceMemory = Owned<DeviceMemoryTraits>;
using PinnedMemory = Owned<PinnedMemoryTraits>;
using Stream = Owned<StreamTraits>;
using Event = Owned<EventTraits>;
using Module = Owned<ModuleTraits>;
using Graph = Owned<GraphTraits>;
using GraphExec = Owned<GraphExecTraits>;

/// `bytes` of device memory, 256-aligned, contents undefined. `what` stands in
/// the error: "rank 2: arena \"kv\"".
StatusOr<DeviceMemory> allocateDevice(const Device &device, uint64_t bytes,
                                      const std::string &what);
/// Of new host memory.
enum class Content { Zero, Undefined };
/// Page-locked host memory that every device can reach.
StatusOr<PinnedMemory> allocatePinned(const Device &device, uint64_t bytes,
                                      const std::string &what,
                                      Content content = Content::Zero);
/// A stream that does not wait for the default stream.
StatusOr<Stream> makeStream(const Device &device);
/// An event that takes the time.
StatusOr<Event> makeEvent(const Device &device);

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_MEMORY_H
