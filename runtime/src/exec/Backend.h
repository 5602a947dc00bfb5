// What the ranks of a session share below the schedule: the memory and devices
// of one target. The only place that knows which targets this build has.

#ifndef SADDLE_RUNTIME_EXEC_BACKEND_H
#define SADDLE_RUNTIME_EXEC_BACKEND_H

#include "runtime/src/engine/Engine.h"
#include "runtime/src/exec/RankProgram.h"

namespace saddle::exec {

/// From these bytes on NCCL 2.28 is faster than our own kernels: measured on 4
/// H200 (docs/benchmarks.md); on 8 from some 10 MB on.
constexpr uint64_t kNcclAboveBytes = 16 << 20;

struct BackendOptions {
  /// As in SessionOptions.
  std::chrono::milliseconds timeout{10000};
  bool shareDevices = false;
  std::string ncclLibrary = {};
  uint64_t ncclAboveBytes = kNcclAboveBytes;
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

  /// The backend of the engine's target. Nothing large is allocated before all
  /// of it is known to fit. Errors name the engine's file: ResourceExhausted
  /// for too little memory or too few devices, Unsupported for a target that
  /// this build or machine cannot run.
  static StatusOr<std::unique_ptr<Backend>>
  create(std::shared_ptr<const Engine> engine, const BackendOptions &options);

  /// Allocates and resolves what `rank` needs. Ranks may be made at the same
  /// time, each on the thread of its own.
  virtual StatusOr<std::unique_ptr<RankProgram>> makeRank(uint32_t rank) = 0;

  /// Host memory that the ranks write logits into by themselves
  /// (Launching::logits); null where none is better than any other.
  virtual StatusOr<std::unique_ptr<HostMemory>> makeHostMemory(uint64_t bytes) {
    return std::unique_ptr<HostMemory>();
  }
};

} // namespace saddle::exec

#endif // SADDLE_RUNTIME_EXEC_BACKEND_H
