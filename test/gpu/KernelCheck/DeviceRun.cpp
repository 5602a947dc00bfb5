#include "test/gpu/KernelCheck/DeviceRun.h"

#include "runtime/ops/Body.h"

#include "runtime/kernels/abi.h"
#include "runtime/src/cuda/Launcher.h"
#include "runtime/src/engine/Validate.h"
#include "test/gpu/KernelCheck/Compare.h"

#include <algorithm>
#include <cstring>

namespace saddle::check {

StatusOr<std::unique_ptr<DeviceRun>> DeviceRun::open(const Engine &engine) {
  SADDLE_ASSIGN_OR_RETURN(const cuda::Driver *driver, cuda::Driver::get());
  SADDLE_ASSIGN_OR_RETURN(std::unique_ptr<cuda::Device> device,
                          cuda::Device::open(*driver, 0));
  std::unique_ptr<DeviceRun> run(new DeviceRun(std::move(device)));
  cuda::ContextScope scope(*run->device);
  std::vector<Bytes> images;
  if (engine.root().modules())
    for (uint32_t i = 0; i < engine.root().modules()->size(); ++i)
      images.push_back(engine.segment(*engine.root().modules()->Get(i)));
  SADDLE_ASSIGN_OR_RETURN(
      cuda::Modules modules,
      cuda::Modules::load(*run->device, engine.root(), images));
  run->modules = std::make_unique<cuda::Modules>(std::move(modules));
  SADDLE_ASSIGN_OR_RETURN(run->stream, cuda::makeStream(*run->device));
  return run;
}

StatusOr<CUdeviceptr> DeviceRun::reserve(size_t slot, uint64_t bytes) {
  if (blocks.size() <= slot)
    blocks.resize(slot + 1);
  if (blocks[slot].bytes < bytes) {
    blocks[slot].memory = {};
    SADDLE_ASSIGN_OR_RETURN(
        blocks[slot].memory,
        cuda::allocateDevice(*device, bytes, "an operand of a checked launch"));
    blocks[slot].bytes = bytes;
  }
  return blocks[slot].memory.get();
}

StatusOr<CUdeviceptr> DeviceRun::upload(size_t slot,
                                        const OperandBuffer &operand) {
  const std::vector<uint8_t> &bytes = operand.bytes();
  SADDLE_ASSIGN_OR_RETURN(CUdeviceptr address, reserve(slot, bytes.size()));
  SADDLE_CUDA(device->driver, cuMemcpyHtoDAsync, address, bytes.data(),
              bytes.size(), stream.get());
  return address;
}

Status DeviceRun::share(const LaunchCase &launch, const Operands &shared) {
  std::lock_guard<std::mutex> lock(mutex);
  cuda::ContextScope scope(*device);
  for (size_t i = 0; i < shared.size(); ++i)
    if (isReadOnly(launch, i))
      SADDLE_RETURN_IF_ERROR(upload(kFirstOperand + i, *shared[i]).status());
  SADDLE_CUDA(device->driver, cuStreamSynchronize, stream.get());
  return {};
}

Status DeviceRun::checkShared(const LaunchCase &launch,
                              const Operands &shared) {
  std::lock_guard<std::mutex> lock(mutex);
  cuda::ContextScope scope(*device);
  for (size_t i = 0; i < shared.size(); ++i) {
    if (!isReadOnly(launch, i))
      continue;
    OperandBuffer found(shared[i]->view());
    SADDLE_CUDA(device->driver, cuMemcpyDtoHAsync, found.bytes().data(),
                blocks[kFirstOperand + i].memory.get(), found.bytes().size(),
                stream.get());
    SADDLE_CUDA(device->driver, cuStreamSynchronize, stream.get());
    SADDLE_RETURN_IF_ERROR(compareBytes(launch, i, *shared[i], found));
  }
  return {};
}

Status DeviceRun::run(const LaunchCase &launch, uint64_t count,
                      const Operands &operands) {
  std::lock_guard<std::mutex> lock(mutex);
  const cuda::Driver &driver = device->driver;
  cuda::ContextScope scope(*device);
  device::Step step{};
  step.counts[size_t(launch.launch->extent())] = uint32_t(count);
  step.timeoutNs = 1000000000;
  step.replicas = 1;
  step.slots =
      uint32_t(statesOf(launch).pages * launch.engine->limits()->page_size());
  step.tokens[0] = uint32_t(count);
  device::LaunchParams params{};
  params.operands[0] = nullptr;

  SADDLE_ASSIGN_OR_RETURN(CUdeviceptr header, reserve(kHeader, sizeof step));
  SADDLE_CUDA(driver, cuMemcpyHtoDAsync, header, &step, sizeof step,
              stream.get());
  params.step = reinterpret_cast<const device::Step *>(header);
  if (uint32_t workspace = launch.launch->workspace()) {
    uint64_t bytes =
        engine::spanBytes(*launch.entry->slices()->Get(workspace - 1));
    SADDLE_ASSIGN_OR_RETURN(CUdeviceptr address, reserve(kWorkspace, bytes));
    // Undefined at the start, and no kernel may rely on anything else.
    SADDLE_CUDA(driver, cuMemsetD8Async, address, OperandBuffer::kPoison, bytes,
                stream.get());
    params.workspace = reinterpret_cast<void *>(address);
  }
  std::vector<CUdeviceptr> addresses;
  for (size_t i = 0; i < operands.size(); ++i) {
    CUdeviceptr address;
    if (isReadOnly(launch, i)) {
      address = blocks[kFirstOperand + i].memory.get();
    } else {
      SADDLE_ASSIGN_OR_RETURN(address, upload(kFirstOperand + i, *operands[i]));
    }
    addresses.push_back(address);
    params.operands[i] =
        reinterpret_cast<void *>(address + OperandBuffer::kGuard);
  }
  uint32_t rankValues = 0;
  for (const schema::RankValue *value : ops::rankValuesOf(*launch.kernel))
    params.rankValues[rankValues++] = evaluate(value, launch.rank);
  std::vector<double> reals = ops::realsOf(*launch.kernel);
  std::copy_n(reals.begin(), std::min<size_t>(reals.size(), device::kMaxReals),
              params.reals);

  // As ranks that share a device do: no overlap, the ordinary grid.
  cuda::Launcher launcher(*device, *launch.engine, *modules, 0);
  SADDLE_RETURN_IF_ERROR(launcher.launch({launch.launch->kernel(), params},
                                         stream.get(),
                                         /*followsKernel=*/false));
  for (size_t i = 0; i < operands.size(); ++i)
    if (!isReadOnly(launch, i))
      SADDLE_CUDA(driver, cuMemcpyDtoHAsync, operands[i]->bytes().data(),
                  addresses[i], operands[i]->bytes().size(), stream.get());
  SADDLE_CUDA(driver, cuStreamSynchronize, stream.get());
  return {};
}

} // namespace saddle::check
