// Memory that lies at the same offset on every rank, all of it in one range of
// virtual addresses: rank r's part begins at base + r * stride, so that a
// kernel reaches a peer by adding a constant. Never multicast.

#ifndef SADDLE_RUNTIME_CUDA_SYMMETRICHEAP_H
#define SADDLE_RUNTIME_CUDA_SYMMETRICHEAP_H

#include "runtime/src/cuda/Memory.h"

#include <vector>

namespace saddle::cuda {

/// What parts of the heap are a multiple of, on every one of the devices.
StatusOr<uint64_t> heapGranularity(const std::vector<const Device *> &devices);

class SymmetricHeap {
public:
  /// `bytes` for each rank, a multiple of the granularity, on its device; every
  /// device of the heap can read and write all of it. Contents are undefined.
  /// Errors: devices that cannot reach each other (both are named), too little
  /// memory.
  static StatusOr<std::unique_ptr<SymmetricHeap>>
  create(const std::vector<const Device *> &deviceOfRank, uint64_t bytes);
  ~SymmetricHeap();

  CUdeviceptr of(uint32_t rank) const { return base + rank * stride; }
  uint64_t bytesPerRank() const { return stride; }

private:
  SymmetricHeap(const Device &any, uint64_t stride)
      : device(any), stride(stride) {}
  Status map(const std::vector<const Device *> &deviceOfRank);

  const Device &device; // any of them
  const uint64_t stride;
  CUdeviceptr base = 0;
  uint64_t reserved = 0;
  struct Part {
    CUmemGenericAllocationHandle handle;
    bool mapped;
  };
  std::vector<Part> parts; // by rank
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_SYMMETRICHEAP_H
