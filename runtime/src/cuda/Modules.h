// The engine's code on one device: modules loaded, every function found, before
// anything runs. Nothing may be loaded lazily: that can wait for a kernel that
// itself waits for the launch behind it.

#ifndef SADDLE_RUNTIME_CUDA_MODULES_H
#define SADDLE_RUNTIME_CUDA_MODULES_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Span.h"
#include "runtime/src/cuda/Memory.h"

#include <vector>

namespace saddle::cuda {

class Modules {
public:
  /// `images[i]` is the binary of the engine's module i. Errors name device,
  /// module and function: code for another architecture, a function that is not
  /// there, more shared memory than the device has.
  static StatusOr<Modules> load(const Device &device,
                                const schema::Engine &engine,
                                const std::vector<Bytes> &images);

  CUfunction function(uint32_t kernel, uint32_t index) const {
    return functions[kernel][index];
  }

private:
  std::vector<Module> modules;
  std::vector<std::vector<CUfunction>> functions; // by kernel
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_MODULES_H
