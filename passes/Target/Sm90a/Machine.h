// The machine that sm_90a engines are planned for.

#ifndef SADDLE_PASSES_TARGET_SM90A_MACHINE_H
#define SADDLE_PASSES_TARGET_SM90A_MACHINE_H

#include "passes/Target/Machine.h"

namespace saddle::cuda {

// near.hop, near.bytes, memory: measured by us on 8 H200s with NVLink 4, all to
//   all, November 2026. A naive one-shot push (PyTorch's two-shot all-reduce in
//   parentheses) in microseconds, model first: 6 KB 3.8 / 4.3, 48 KB 4.6 / 8.5,
//   384 KB 9.2 / (12.2), 1.5 MB 14.5 / (15.9), 12 MB 63 / (82). The link rate
//   is that of a peer copy. The model is optimistic where kernels are not yet
//   at the links' speed; both sides of a choice share that.
// far: InfiniBand 400 Gb/s per GPU between nodes of 8. Assumed, not measured.
// launch: gap between kernels of a CUDA graph, published for H100 (Hazy
//   Research, "No Bubbles", May 2025). Not measured by us on H200.
// multiprocessors, shared: CUDA C++ Programming Guide, compute capability 9.0.
inline constexpr Machine kH200 = {
    /*name=*/"H200",
    /*near=*/{/*hop=*/3.7, /*bytes=*/391e3},
    /*far=*/{/*hop=*/15.0, /*bytes=*/50e3},
    /*islandRanks=*/8,
    /*memory=*/4.55e6,
    /*launch=*/1.3,
    /*multiprocessors=*/132,
    /*shared=*/227 * 1024,
};

/// Grids are chosen for it; any number works.
inline constexpr int64_t kMultiprocessors = kH200.multiprocessors;

/// Dynamic shared memory that a CTA can have, with a little left for static.
inline constexpr int64_t kSharedMemory = kH200.sharedBytes - 2 * 1024;

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_MACHINE_H
