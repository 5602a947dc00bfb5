// NCCL beside our own exchanges: the same data, the same graphs, the same run.
// One rank for each device, a thread for each rank where NCCL may wait for the
// others.

#ifndef SADDLE_TEST_GPU_EXCHANGECHECK_NCCLPEER_H
#define SADDLE_TEST_GPU_EXCHANGECHECK_NCCLPEER_H

#include "runtime/src/cuda/Nccl.h"
#include "test/gpu/ExchangeCheck/Ranks.h"

#include <memory>
#include <string>

namespace saddle::device {

enum class PeerOp { AllReduce, AllGather, ReduceScatter };

class NcclPeer {
public:
  /// Opens `library` and connects the ranks, which have a device each. Ends the
  /// program when that fails.
  NcclPeer(Ranks &ranks, const std::string &library);
  ~NcclPeer();

  /// A rank's part, in its stream. `count` elements of the smaller side.
  void enqueue(uint32_t rank, PeerOp op, const void *input, void *output,
               size_t count, cuda::NcclType type);
  /// Calls f(rank) on a thread for each rank, with its device, at once.
  void onRanks(const std::function<void(uint32_t)> &f);
  /// Graphs of `calls` exchanges from the ranks' inputs to their outputs, which
  /// ran once before, so that everything is connected.
  std::vector<cudaGraphExec_t> graphs(PeerOp op, size_t count, uint32_t calls);

  int version = 0; // 22809 is 2.28.9

private:
  void check(cuda::NcclResult result, const char *call);

  using Joined = cuda::NcclResult(const void *, void *, size_t, cuda::NcclType,
                                  cuda::NcclComm *, CUstream);
  using Scattered = cuda::NcclResult(const void *, void *, size_t,
                                     cuda::NcclType, cuda::NcclOp,
                                     cuda::NcclComm *, CUstream);
  Ranks &ranks;
  std::unique_ptr<cuda::Nccl> nccl;
  Joined *allGather = nullptr;
  Scattered *reduceScatter = nullptr;
  std::vector<cuda::NcclComm *> comms;
};

} // namespace saddle::device

#endif // SADDLE_TEST_GPU_EXCHANGECHECK_NCCLPEER_H
