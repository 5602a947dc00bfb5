#include "runtime/src/cuda/Launcher.h"

namespace saddle::cuda {

Status Launcher::launch(const DeviceCommand &command, CUstream stream,
                        bool followsKernel) const {
  const auto &functions = *engine.kernels()->Get(command.kernel)->functions();
  CUlaunchAttribute attribute = {};
  attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  attribute.value.programmaticStreamSerializationAllowed = 1;
  for (uint32_t i = 0; i < functions.size(); ++i) {
    const schema::Function &function = *functions.Get(i);
    CUlaunchConfig config = {};
    config.gridDimX = function.grid_x();
    config.gridDimY = function.grid_y();
    config.gridDimZ = function.grid_z();
    config.blockDimX = function.block();
    config.blockDimY = config.blockDimZ = 1;
    config.sharedMemBytes = function.shared_bytes();
    config.hStream = stream;
    config.attrs = &attribute;
    config.numAttrs = overlap && (followsKernel || i > 0) ? 1 : 0;
    // The driver copies the parameter during the call.
    void *parameters[] = {const_cast<device::LaunchParams *>(&command.params)};
    SADDLE_CUDA(device.driver, cuLaunchKernelEx, &config,
                modules.function(command.kernel, i), parameters, nullptr);
  }
  return {};
}

} // namespace saddle::cuda
