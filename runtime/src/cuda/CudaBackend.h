// The sm_90a target: what the ranks of a session share.

#ifndef SADDLE_RUNTIME_CUDA_CUDABACKEND_H
#define SADDLE_RUNTIME_CUDA_CUDABACKEND_H

#include "runtime/kernels/abi.h"
#include "runtime/src/backend/Backend.h"
#include "runtime/src/cuda/Driver.h"
#include "runtime/src/cuda/MemoryPlan.h"
#include "runtime/src/cuda/Modules.h"
#include "runtime/src/cuda/NcclGroups.h"
#include "runtime/src/cuda/SymmetricHeap.h"

#include <atomic>
#include <optional>

namespace saddle::cuda {

class CudaBackend : public backend::Backend {
public:
  /// On the driver of this machine.
  static StatusOr<std::unique_ptr<backend::Backend>>
  create(std::shared_ptr<const Engine> engine,
         const backend::BackendOptions &options);
  /// On `driver`, which outlives the result; `images` are the binaries of the
  /// engine's modules and live as long as the engine. For tests.
  static StatusOr<std::unique_ptr<CudaBackend>>
  create(const Driver &driver, std::shared_ptr<const Engine> engine,
         const std::vector<Bytes> &images,
         const backend::BackendOptions &options);

  StatusOr<std::unique_ptr<backend::RankProgram>>
  makeRank(uint32_t rank) override;
  engine::StateCounts states() const override { return plan->counts; }
  StatusOr<std::unique_ptr<backend::HostMemory>>
  makeHostMemory(uint64_t bytes) override;

  const schema::Engine &engine() const { return loaded->root(); }
  uint32_t worldSize() const { return loaded->worldSize(); }
  const Device &deviceOf(uint32_t rank) const {
    return *devices[deviceOfRank[rank]];
  }
  const Modules &modulesOf(uint32_t rank) const {
    return modules[deviceOfRank[rank]];
  }
  const MemoryPlan &memory() const { return *plan; }
  /// The rank's part of the memory that its peers reach.
  CUdeviceptr heapOf(uint32_t rank) const {
    return symmetric->of(options.alone ? 0 : rank);
  }
  /// From a rank's part to the next one's; 0 when a rank runs alone: its peers
  /// are itself.
  uint64_t heapStride() const {
    return options.alone ? 0 : symmetric->bytesPerRank();
  }
  bool runsAlone() const { return options.alone.has_value(); }
  /// Who does collectives in place of the engine's kernels, the first that
  /// takes one; may be none.
  const std::vector<StreamProvider *> &providers() const { return others; }
  std::chrono::milliseconds timeout() const { return options.timeout; }
  /// Every rank has a device of its own.
  bool isExclusive() const {
    return runsAlone() || deviceOfRank.size() <= devices.size();
  }
  /// Of each rank's own device, the fewest; 0 when ranks share devices.
  uint32_t ownMultiprocessors() const;

  /// The record that kernels and hosts share.
  device::Fault *fault() const {
    return static_cast<device::Fault *>(record.get());
  }
  /// The entry that each rank runs, for messages about the record.
  std::atomic<uint32_t> &entryOf(uint32_t rank) const { return running[rank]; }

private:
  CudaBackend(std::shared_ptr<const Engine> engine,
              const backend::BackendOptions &options)
      : loaded(std::move(engine)), options(options),
        running(new std::atomic<uint32_t>[loaded->worldSize()]()) {}
  Status openDevices(const Driver &driver);
  /// The devices of the ranks that run here, in their order.
  std::vector<const Device *> devicesInOrder() const;
  /// How many pages there are, and that everything fits.
  Status planState();
  Status allocate(const std::vector<Bytes> &images);
  Status connectNccl(std::unique_ptr<Nccl> library);

  std::shared_ptr<const Engine> loaded;
  const backend::BackendOptions options;
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<uint32_t> deviceOfRank; // kNoDevice: the rank is not here
  std::optional<MemoryPlan> plan;
  std::unique_ptr<SymmetricHeap> symmetric;
  std::vector<Modules> modules; // by device
  PinnedMemory record;
  std::unique_ptr<NcclGroups> ncclGroups;
  std::vector<StreamProvider *> others;
  std::unique_ptr<std::atomic<uint32_t>[]> running;
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_CUDABACKEND_H
