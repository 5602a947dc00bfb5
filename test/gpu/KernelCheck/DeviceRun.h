// Runs one launch of an engine on a GPU, on operands of its own.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_DEVICERUN_H
#define SADDLE_TEST_GPU_KERNELCHECK_DEVICERUN_H

#include "runtime/src/cuda/Memory.h"
#include "runtime/src/cuda/Modules.h"
#include "runtime/src/engine/Engine.h"
#include "test/gpu/KernelCheck/Operands.h"

#include <mutex>

namespace saddle::check {

/// The engine's code on the first device. Safe to use from several threads,
/// which take turns.
class DeviceRun {
public:
  static StatusOr<std::unique_ptr<DeviceRun>> open(const Engine &engine);

  /// Copies the read-only operands of the launch to the device, once for all of
  /// its runs until the next call.
  Status share(const LaunchCase &launch, const Operands &shared);

  /// Copies the other operands to the device, launches with `count` rows, and
  /// copies them back, guards included.
  Status run(const LaunchCase &launch, uint64_t count,
             const Operands &operands);

  /// After the runs: what share() copied still has the same bytes there.
  Status checkShared(const LaunchCase &launch, const Operands &shared);

private:
  explicit DeviceRun(std::unique_ptr<cuda::Device> device)
      : device(std::move(device)) {}
  /// At least `bytes` at a place that lives as long as this object.
  StatusOr<CUdeviceptr> reserve(size_t slot, uint64_t bytes);
  StatusOr<CUdeviceptr> upload(size_t slot, const OperandBuffer &operand);

  static constexpr size_t kHeader = 0, kWorkspace = 1, kFirstOperand = 2;
  std::mutex mutex;
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
