// The GPUs of this machine: what they are, and their primary contexts.

#ifndef SADDLE_RUNTIME_CUDA_DEVICE_H
#define SADDLE_RUNTIME_CUDA_DEVICE_H

#include "runtime/src/cuda/Driver.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace saddle::cuda {

/// One GPU, with its primary context retained.
class Device {
public:
  /// Errors: the context cannot be made.
  static StatusOr<std::unique_ptr<Device>> open(const Driver &driver,
                                                int ordinal);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  const Driver &driver;
  const int ordinal;
  CUdevice handle = 0;
  CUcontext context = nullptr;
  std::string name;   // "NVIDIA H200"
  int capability = 0; // 10 * major + minor: 90
  int multiprocessors = 0;

  /// "device 3 (NVIDIA H200)"
  std::string describe() const;
  /// Bytes that are free now.
  StatusOr<uint64_t> freeBytes() const;

private:
  Device(const Driver &driver, int ordinal)
      : driver(driver), ordinal(ordinal) {}
};

/// Devices that this process can see. Errors as of the driver.
StatusOr<uint32_t> countDevices(const Driver &driver);

/// Makes a device's context current on this thread while it lives, and what was
/// current before afterwards.
class ContextScope {
public:
  explicit ContextScope(const Device &device) : device(device) {
    entered = device.driver.cuCtxPushCurrent(device.context) == CUDA_SUCCESS;
  }
  ~ContextScope() {
    CUcontext previous;
    if (entered)
      device.driver.cuCtxPopCurrent(&previous);
  }
  ContextScope(const ContextScope &) = delete;
  ContextScope &operator=(const ContextScope &) = delete;

private:
  const Device &device;
  bool entered;
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_DEVICE_H
