// What the CUDA target knows when a collective runs (backend/Collectives.h).

#ifndef SADDLE_RUNTIME_CUDA_STREAMRUN_H
#define SADDLE_RUNTIME_CUDA_STREAMRUN_H

#include "runtime/src/backend/Collectives.h"

#include <cuda.h>

namespace saddle::cuda {

/// Commands go into the stream, also while it is captured. Needs the device's
/// context.
struct StreamRun {
  CUstream stream;
  bool followsKernel; // the last thing in the stream is a kernel of the engine
};

using StreamCollective = backend::BoundCollective<StreamRun>;
using StreamProvider = backend::CollectiveProvider<StreamRun>;

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_STREAMRUN_H
