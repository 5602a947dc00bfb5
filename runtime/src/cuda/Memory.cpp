#include "runtime/src/cuda/Memory.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>

namespace saddle::cuda {

/// `status` with what was to be allocated.
static Status explain(const Status &status, const std::string &what,
                      uint64_t bytes) {
  return retellError(status, "%s of %" PRIu64 " bytes: %s", what.c_str(), bytes,
                     status.message().c_str());
}

StatusOr<DeviceMemory> allocateDevice(const Device &device, uint64_t bytes,
                                      const std::string &what) {
  ContextScope scope(device);
  CUdeviceptr address = 0;
  Status status = device.driver.check(
      device.driver.cuMemAlloc(&address, std::max<uint64_t>(bytes, 1)),
      "cuMemAlloc");
  if (!status.ok())
    return explain(status, what, bytes);
  return DeviceMemory(device, address);
}

StatusOr<PinnedMemory> allocatePinned(const Device &device, uint64_t bytes,
                                      const std::string &what,
                                      Content content) {
  ContextScope scope(device);
  void *address = nullptr;
  bytes = std::max<uint64_t>(bytes, 1);
  Status status = device.driver.check(
      device.driver.cuMemHostAlloc(&address, bytes, CU_MEMHOSTALLOC_PORTABLE),
      "cuMemHostAlloc");
  if (!status.ok())
    return explain(status, what, bytes);
  if (content == Content::Zero)
    std::memset(address, 0, bytes);
  return PinnedMemory(device, address);
}

StatusOr<Stream> makeStream(const Device &device) {
  ContextScope scope(device);
  CUstream stream = nullptr;
  SADDLE_CUDA(device.driver, cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
  return Stream(device, stream);
}

StatusOr<Event> makeEvent(const Device &device) {
  ContextScope scope(device);
  CUevent event = nullptr;
  SADDLE_CUDA(device.driver, cuEventCreate, &event, CU_EVENT_DEFAULT);
  return Event(device, event);
}

} // namespace saddle::cuda
