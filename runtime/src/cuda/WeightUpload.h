// Weights of a rank into its device's memory.

#ifndef SADDLE_RUNTIME_CUDA_WEIGHTUPLOAD_H
#define SADDLE_RUNTIME_CUDA_WEIGHTUPLOAD_H

#include "runtime/src/cuda/Commands.h"
#include "runtime/src/cuda/Launcher.h"
#include "runtime/src/weights/WeightLoader.h"

namespace saddle::cuda {

/// Where weights go to.
struct UploadTarget {
  const Device &device;
  const schema::Engine &engine;
  std::vector<const schema::Weight *> weights;
  const RankAddresses &addresses;
  CUstream stream;
};

/// Executes the recipes of all weights: in parts through a few pinned buffers,
/// so that reading and copying overlap. Synthetic weights are made on the
/// device when the engine has the kernel for it (`launcher` runs it). Returns
/// when all is there. Needs the device's context.
Status uploadWeights(const UploadTarget &target, const Launcher &launcher,
                     const WeightSource &source);

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_WEIGHTUPLOAD_H
