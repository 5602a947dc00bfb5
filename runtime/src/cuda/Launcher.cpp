#include "runtime/src/cuda/Launcher.h"

namespace saddle::cuda {

// CTAs that wait for a peer's must all be resident together. Why they come to
// be so, also with programmatic dependent launch and a CTA for almost every
// multiprocessor, where each rank has a device of its own:
//
//   - A kernel's CTAs start only when every CTA of the kernel before it in the
//     stream has said allowNext() or has ended. So what is behind a waiting
//     kernel takes no room before all of its CTAs are resident.
//   - What is in front of it has all its CTAs resident or ended. It waits only
//     for kernels before itself, here or on peers. So, counted from the first
//     exchange on, each ends by itself and makes room.
//   - With nothing else on the device, one CTA fits on each multiprocessor.
//
// All ranks take the same number: CTAs meet those of the same index.
uint32_t Launcher::blocksOf(const schema::Function &function) const {
  uint32_t blocks = function.exclusive_grid();
  return blocks != 0 && blocks <= ownMultiprocessors ? blocks
                                                     : function.grid_x();
}

Status Launcher::launch(const DeviceCommand &command, CUstream stream,
                        bool followsKernel) const {
  const auto &functions = *engine.kernels()->Get(command.kernel)->functions();
  CUlaunchAttribute attribute = {};
  attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  attribute.value.programmaticStreamSerializationAllowed = 1;
  for (uint32_t i = 0; i < functions.size(); ++i) {
    const schema::Function &function = *functions.Get(i);
    CUlaunchConfig config = {};
    config.gridDimX = blocksOf(function);
    config.gridDimY = function.grid_y();
    config.gridDimZ = function.grid_z();
    config.blockDimX = function.block();
    config.blockDimY = config.blockDimZ = 1;
    config.sharedMemBytes = function.shared_bytes();
    config.hStream = stream;
    config.attrs = &attribute;
    bool overlaps = ownMultiprocessors != 0 && (followsKernel || i > 0);
    config.numAttrs = overlaps ? 1 : 0;
    // The driver copies the parameter during the call.
    void *parameters[] = {const_cast<device::LaunchParams *>(&command.params)};
    SADDLE_CUDA(device.driver, cuLaunchKernelEx, &config,
                modules.function(command.kernel, i), parameters, nullptr);
  }
  return {};
}

} // namespace saddle::cuda
