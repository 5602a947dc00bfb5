// All-reduces that NCCL does in place of an engine's kernels: which ones, and
// the communicators of the rank groups that have them.

#ifndef SADDLE_RUNTIME_CUDA_NCCLGROUPS_H
#define SADDLE_RUNTIME_CUDA_NCCLGROUPS_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/cuda/Device.h"
#include "runtime/src/cuda/Nccl.h"
#include "runtime/src/cuda/StreamRun.h"
#include "runtime/src/cuda/SymmetricHeap.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

namespace saddle::cuda {

/// An all_reduce_sum as NCCL sees it. It has no counts: all rows that the entry
/// has room for travel, and those that are not real get sums of no meaning.
struct NcclSum {
  uint32_t groups; // index of the engine's rank groups
  uint64_t elements;
  NcclType type;
  bool operator<(const NcclSum &other) const {
    return std::tie(groups, elements, type) <
           std::tie(other.groups, other.elements, other.type);
  }
};

/// `command` of `entry` if NCCL is to do it: an all_reduce_sum among several
/// ranks of f32, bf16 or f16, dense, of at least `leastBytes` on each rank.
std::optional<NcclSum> ncclSumOf(const schema::Engine &engine,
                                 const schema::Entry &entry,
                                 const schema::Command &command,
                                 uint64_t leastBytes);

/// Takes the all-reduces of ncclSumOf, by communicators of all ranks of a
/// session. Made by one thread for all ranks, so that no rank can be left
/// waiting for one that fails while loading.
class NcclGroups : public StreamProvider {
public:
  struct Options {
    const schema::Engine &engine;
    std::vector<const Device *> deviceOfRank; // a different one for each rank
    const SymmetricHeap &heap;                // its contents are overwritten
    uint64_t leastBytes;
    std::chrono::milliseconds timeout;
  };
  /// Makes the communicators and runs each kind of all-reduce once, so that
  /// nothing is loaded or connected while a step runs. Errors: NCCL's;
  /// DeadlineExceeded when such a first all-reduce does not end in time.
  static StatusOr<std::unique_ptr<NcclGroups>>
  create(std::unique_ptr<Nccl> library, const Options &options);

  /// All graphs that have all-reduces in them must be gone: NCCL waits for
  /// their end.
  ~NcclGroups() override;

  const char *name() const override { return "nccl"; }
  const char *silentWait() const override { return "an all-reduce of NCCL"; }
  bool takes(const schema::Entry &entry,
             const schema::Command &command) const override {
    return ncclSumOf(engine, entry, command, least).has_value();
  }
  /// What is bound must run on every rank in the same order.
  std::unique_ptr<StreamCollective>
  bind(const backend::CollectiveSite &site) override;

  /// Puts the rank's part into its stream, also while that is captured. Every
  /// rank does so for the same sums in the same order. Needs the device's
  /// context. Aborted after abort().
  Status allReduce(uint32_t rank, const NcclSum &sum, const void *input,
                   void *output, CUstream stream);

  /// Ends all-reduces that wait, on every rank of the process, and all
  /// communicators with them; the first call counts. Returns at once: NCCL
  /// comes back from an abort only when graphs are gone. Any thread.
  void abort() override;

private:
  NcclGroups(std::unique_ptr<Nccl> library, const Options &options)
      : library(std::move(library)), engine(options.engine),
        least(options.leastBytes) {}
  Status connect(const Options &options, uint32_t groups);
  Status warmUp(const Options &options, const NcclSum &sum);
  /// Whether a call may be made with `comm`, which is then not ended under it.
  bool beginCall(NcclComm *comm);
  void endCall(NcclComm *comm);
  void endAll(NcclResult (*end)(NcclComm *));

  const std::unique_ptr<Nccl> library;
  const schema::Engine &engine;
  const uint64_t least;
  /// By rank groups and rank.
  std::map<std::pair<uint32_t, uint32_t>, NcclComm *> comms;
  std::mutex mutex;
  std::condition_variable callEnded;
  bool isAborted = false;            // guarded, as what follows
  std::multiset<NcclComm *> calling; // that are in a call
  std::vector<std::thread> ending;
};

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_NCCLGROUPS_H
