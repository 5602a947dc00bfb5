#include "runtime/src/cuda/Device.h"

namespace saddle::cuda {

StatusOr<uint32_t> countDevices(const Driver &driver) {
  int count = 0;
  SADDLE_CUDA(driver, cuDeviceGetCount, &count);
  return uint32_t(count);
}

StatusOr<std::unique_ptr<Device>> Device::open(const Driver &driver,
                                               int ordinal) {
  std::unique_ptr<Device> device(new Device(driver, ordinal));
  SADDLE_CUDA(driver, cuDeviceGet, &device->handle, ordinal);
  char name[256] = "";
  SADDLE_CUDA(driver, cuDeviceGetName, name, int(sizeof name), device->handle);
  device->name = name;
  auto attribute = [&](CUdevice_attribute which, int &value) {
    return driver.check(
        driver.cuDeviceGetAttribute(&value, which, device->handle),
        "cuDeviceGetAttribute");
  };
  int major = 0, minor = 0;
  SADDLE_RETURN_IF_ERROR(
      attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, major));
  SADDLE_RETURN_IF_ERROR(
      attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, minor));
  SADDLE_RETURN_IF_ERROR(attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                                   device->multiprocessors));
  device->capability = 10 * major + minor;
  SADDLE_CUDA(driver, cuDevicePrimaryCtxRetain, &device->context,
              device->handle);
  return device;
}

Device::~Device() {
  if (context)
    driver.cuDevicePrimaryCtxRelease(handle);
}

std::string Device::describe() const {
  return "device " + std::to_string(ordinal) + " (" + name + ")";
}

StatusOr<uint64_t> Device::freeBytes() const {
  ContextScope scope(*this);
  size_t available = 0, total = 0;
  SADDLE_CUDA(driver, cuMemGetInfo, &available, &total);
  return uint64_t(available);
}

} // namespace saddle::cuda
