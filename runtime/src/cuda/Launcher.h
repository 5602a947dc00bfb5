// Puts commands into a stream.

#ifndef SADDLE_RUNTIME_CUDA_LAUNCHER_H
#define SADDLE_RUNTIME_CUDA_LAUNCHER_H

#include "runtime/src/cuda/Commands.h"
#include "runtime/src/cuda/Modules.h"

namespace saddle::cuda {

class Launcher {
public:
  /// `ownMultiprocessors`: of each rank's device, the fewest; 0 when ranks
  /// share devices, and then kernels do not overlap and keep to their small
  /// grids.
  Launcher(const Device &device, const schema::Engine &engine,
           const Modules &modules, uint32_t ownMultiprocessors)
      : device(device), engine(engine), modules(modules),
        ownMultiprocessors(ownMultiprocessors) {}

  /// Launches the functions of `command`. `followsKernel`: the last thing in
  /// the stream is a kernel, too. Needs the device's context.
  Status launch(const DeviceCommand &command, CUstream stream,
                bool followsKernel) const;

private:
  uint32_t blocksOf(const schema::Function &function) const;

  const Device &device;
  const schema::Engine &engine;
  const Modules &modules;
  const uint32_t ownMultiprocessors;
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_LAUNCHER_H
