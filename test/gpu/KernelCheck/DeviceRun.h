// Runs one launch of an engine on a GPU, on operands of its own.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_DEVICERUN_H
#define SADDLE_TEST_GPU_KERNELCHECK_DEVICERUN_H

#include "runtime/src/cuda/Memory.h"
#include "runtime/src/cuda/Modules.h"
#include "runtime/src/engine/Engine.h"
#include "test/gpu/KernelCheck/Operands.h"

namespace saddle::check {

/// The engine's code on the first device.
class DeviceRun {
public:
  static StatusOr<std::unique_ptr<DeviceRun>> open(const Engine &engine);

  /// Copies the operands to the device, launches with `count` rows, and copies
  /// them back.
  Status run(const LaunchCase &launch, uint64_t count,
             std::vector<OperandBuffer> &operands);

private:
  explicit DeviceRun(std::unique_ptr<cuda::Device> device)
      : device(std::move(device)) {}
  /// At least `bytes` at a place that lives as long as this object.
  StatusOr<CUdeviceptr> reserve(size_t slot, uint64_t bytes);

  std::unique_ptr<cuda::Device> device;
  std::unique_ptr<cuda::Modules> modules;
  cuda::Stream stream;
  struct Block {
    cuda::DeviceMemory memory;
    uint64_t bytes = 0;
  };
  std::vector<Block> blocks;
};

} // namespace saddle::check

#endif // SADDLE_TEST_GPU_KERNELCHECK_DEVICERUN_H
