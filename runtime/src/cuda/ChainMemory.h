// What a rank's chains have in memory: the chain and its links on the device
// (runtime/kernels/chain.h), and results in pinned memory of the host.

#ifndef SADDLE_RUNTIME_CUDA_CHAINMEMORY_H
#define SADDLE_RUNTIME_CUDA_CHAINMEMORY_H

#include "runtime/kernels/chain.h"
#include "runtime/src/backend/ChainEntries.h"
#include "runtime/src/backend/RankProgram.h"
#include "runtime/src/cuda/Commands.h"
#include "runtime/src/cuda/Memory.h"

#include <optional>

namespace saddle::cuda {

/// The steps of a round, in their order, and what stands behind each.
struct ChainRound {
  std::vector<uint32_t> entries;
  std::vector<DeviceCommand> links; // as many
};

class ChainMemory {
public:
  /// The engine's kernel behind steps; none when it carries none of this
  /// runtime's number.
  static std::optional<uint32_t> kernelOf(const schema::Engine &engine);

  /// For all chains that the engine's limits allow. Needs the context.
  static StatusOr<ChainMemory>
  create(const Device &device, const schema::Engine &engine, uint32_t kernel);

  /// Where the candidates of an entry's rows are.
  struct Candidates {
    uint64_t values = 0, tokens = 0;           // addresses
    uint64_t valueStride = 0, tokenStride = 0; // elements between rows
  };
  /// The links behind the steps of a round, which lie in device memory from
  /// then on. `entries` as ChainEntries has them.
  StatusOr<ChainRound> makeRound(const backend::ChainEntries &entries,
                                 uint64_t drafts,
                                 const std::vector<const schema::Entry *> &all,
                                 const std::vector<Candidates> &candidates,
                                 const RankAddresses &addresses,
                                 CUstream stream);

  /// Writes a chain, whose steps have these headers, and puts its copy to the
  /// device into the stream.
  Status write(const backend::ChainPlan &plan, const device::Step *headers,
               const backend::PageTables &pages, CUstream stream);

  /// Of the chain that was written last.
  backend::ChainResults results() const;

private:
  ChainMemory(const Device &device, const schema::Engine &engine,
              uint32_t kernel);
  device::ChainInputs inputsOf(const schema::Entry &entry,
                               const RankAddresses &addresses) const;

  const Device *device;
  const schema::Engine *engine;
  uint32_t kernel;
  uint64_t mostSequences, mostDrafts, blocks;
  /// Places of the parts in `memory` and, the same, in `staging`.
  struct Places {
    uint64_t sequences = 0, drafted = 0, forced = 0, table = 0, end = 0;
  };
  Places places;
  DeviceMemory memory;
  PinnedMemory staging, given;
  std::vector<DeviceMemory> links;
  device::Chain last = {}; // as it was written
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_CHAINMEMORY_H
