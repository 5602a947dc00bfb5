#ifndef SADDLE_PASSES_CUDA
#define SADDLE_PASSES_CUDA

include "mlir/Pass/PassBase.td"

#endif // SADDLE_PASSES_CUDA
