// Puts commands into a stream.

#ifndef SADDLE_RUNTIME_CUDA_LAUNCHER_H
#define SADDLE_RUNTIME_CUDA_LAUNCHER_H

#include "runtime/src/cuda/Commands.h"
#include "runtime/src/cuda/Modules.h"

namespace saddle::cuda {

class Launcher {
public:
  /// `overlap`: a kernel may become resident while the one before it still
  /// runs (programmatic dependent launch).
  Launcher(const Device &device, const schema::Engine &engine,
           const Modules &modules, bool overlap)
      : device(device), engine(engine), modules(modules), overlap(overlap) {}

  /// Launches the functions of `command`. `followsKernel`: the last thing in
  /// the stream is a kernel, too. Needs the device's context.
  Status launch(const DeviceCommand &command, CUstream stream,
                bool followsKernel) const;

private:
  const Device &device;
  const schema::Engine &engine;
  const Modules &modules;
  const bool overlap;
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_LAUNCHER_H
