// What the ranks of a session share below the schedule: the memory and devices
// of one target.

#ifndef SADDLE_RUNTIME_BACKEND_BACKEND_H
#define SADDLE_RUNTIME_BACKEND_BACKEND_H

#include "runtime/src/backend/RankProgram.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/States.h"

#include <optional>

namespace saddle::backend {

/// From these bytes on NCCL 2.28 is faster than our own kernels: measured on 4
/// H200 (docs/benchmarks.md); on 8 from some 10 MB on.
constexpr uint64_t kNcclAboveBytes = 16 << 20;

struct BackendOptions {
  /// As in SessionOptions.
  std::chrono::milliseconds timeout{10000};
  bool shareDevices = false;
  std::string ncclLibrary = {};
  uint64_t ncclAboveBytes = kNcclAboveBytes;
  uint64_t kvTokens = 0;
  std::optional<uint32_t> alone = std::nullopt;
};

/// Memory of the host, freed when destroyed.
class HostMemory {
public:
  virtual ~HostMemory() = default;
  virtual void *data() const = 0;
};

/// Outlives the programs and the memory that it makes.
class Backend {
public:
  virtual ~Backend() = default;

  /// How much state each rank has room for.
  virtual engine::StateCounts states() const = 0;

  /// Allocates and resolves what `rank` needs. Ranks may be made at the same
  /// time, each on the thread of its own.
  virtual StatusOr<std::unique_ptr<RankProgram>> makeRank(uint32_t rank) = 0;

  /// Host memory that the ranks write outputs into by themselves
  /// (BatchRun::direct); null where none is better than any other.
  virtual StatusOr<std::unique_ptr<HostMemory>> makeHostMemory(uint64_t bytes) {
    return std::unique_ptr<HostMemory>();
  }
};

} // namespace saddle::backend

#endif // SADDLE_RUNTIME_BACKEND_BACKEND_H
