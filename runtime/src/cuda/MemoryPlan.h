// Which device each rank is on, what lies where in its memory, and whether that
// fits: decided before anything is allocated.

#ifndef SADDLE_RUNTIME_CUDA_MEMORYPLAN_H
#define SADDLE_RUNTIME_CUDA_MEMORYPLAN_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Status.h"
#include "runtime/src/engine/States.h"

#include <string>
#include <vector>

namespace saddle::cuda {

/// More ranks than this on one device could not have hardware queues of their
/// own, and a rank that waits for another would block it.
constexpr uint32_t kMostRanksPerDevice = 32;

/// In place of a device: of ranks that are not here, since one runs alone.
constexpr uint32_t kNoDevice = ~0u;

/// The device of each rank: rank i on device i when there are enough. Else,
/// with `share`, ranks are spread in blocks of neighbours; without it an error
/// that names both numbers.
StatusOr<std::vector<uint32_t>> placeRanks(uint32_t world, uint32_t devices,
                                           bool share);

/// Where each rank's arenas are.
struct MemoryPlan {
  /// With one page until choosePages has decided.
  MemoryPlan(const schema::Engine &engine, uint64_t granularity);

  /// The part that lies at the same place on every rank: the step header, then
  /// io, transient and exchange arenas. `heapOffsets[i]` is where arena i
  /// begins, or kNotInHeap. `heapBytes` is a multiple of the granularity.
  static constexpr uint64_t kNotInHeap = ~uint64_t(0);
  std::vector<uint64_t> heapOffsets;
  uint64_t stepOffset = 0;
  uint64_t heapBytes = 0;
  engine::StateCounts counts;
  uint64_t pageSize = 0; // tokens
  /// Bytes of each arena by stage; of state, of one unit. CONSTANT arenas and
  /// those of state are allocations of their own.
  std::vector<std::vector<uint64_t>> arenas;
  /// Sums over those, by stage.
  std::vector<uint64_t> weightBytes, pageBytes, sequenceBytes;

  /// Token slots of a paged state.
  uint64_t slots() const { return counts.pages * pageSize; }
  /// State of a rank; saturates.
  uint64_t stateBytes(uint32_t stage) const;
};

/// What a device has left.
struct DeviceRoom {
  std::string name; // "device 0 (NVIDIA H200)"
  uint64_t freeBytes;
};

/// Kept free on each device for code, graphs, staging tables and the driver.
constexpr uint64_t kReservedBytes = 512u << 20;

/// Pages that every device has room for beside all else of its ranks;
/// UINT64_MAX when pages need none.
uint64_t roomForPages(const schema::Engine &engine, const MemoryPlan &plan,
                      const std::vector<uint32_t> &deviceOfRank,
                      const std::vector<DeviceRoom> &devices);

/// ResourceExhausted when the ranks of a device need more than it has; names
/// the device, the ranks, the parts and by how much.
Status checkMemory(const schema::Engine &engine, const MemoryPlan &plan,
                   const std::vector<uint32_t> &deviceOfRank,
                   const std::vector<DeviceRoom> &devices);

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_MEMORYPLAN_H
