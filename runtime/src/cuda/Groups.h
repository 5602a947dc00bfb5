// The rank groups of an engine as device code sees them (runtime/kernels/abi.h,
// Group): one table per rank, filled once.

#ifndef SADDLE_RUNTIME_CUDA_GROUPS_H
#define SADDLE_RUNTIME_CUDA_GROUPS_H

#include "runtime/kernels/abi.h"
#include "runtime/schema/engine_generated.h"

#include <vector>

namespace saddle::cuda {

/// The groups of `rank`: those of the engine's partitions in their order, then
/// {rank - tp, rank} for receiving and {rank, rank + tp} for sending (sender
/// first; zero where there is no such neighbour). `stride` is that of the
/// symmetric heap; 0 makes every peer the rank itself.
std::vector<device::Group> groupsOf(const schema::Engine &engine, uint32_t rank,
                                    uint64_t stride);

/// Where the last two stand.
inline uint32_t receiveGroup(const schema::Engine &engine) {
  return engine.rank_groups()->size();
}
inline uint32_t sendGroup(const schema::Engine &engine) {
  return engine.rank_groups()->size() + 1;
}

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_GROUPS_H
