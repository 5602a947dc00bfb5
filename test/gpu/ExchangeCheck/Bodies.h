// The kernels under test, as the compiler prints them.

#ifndef SADDLE_TEST_GPU_EXCHANGECHECK_BODIES_H
#define SADDLE_TEST_GPU_EXCHANGECHECK_BODIES_H

#include "runtime/kernels/comm/scalars.cuh"
#include "runtime/kernels/impls/all_gather.cuh"
#include "runtime/kernels/impls/all_reduce.cuh"
#include "runtime/kernels/impls/reduce_scatter.cuh"
#include "runtime/kernels/impls/transfer.cuh"
#include "test/gpu/ExchangeCheck/Ranks.h"

namespace saddle::device {

template <typename Body>
__global__ void __launch_bounds__(256, 2)
    run(const __grid_constant__ LaunchParams p) {
  waitForPrevious();
  Body::run(p);
}

enum Way { OneShot, TwoShots, Bulk };

template <Way way, int size, int extent, typename In, typename Out>
struct SumBody {
  static constexpr int64_t kUnits = Units<In, kPacketPayload>::kTotal,
                           kShare = (kUnits + size - 1) / size;
  static constexpr uint64_t kMemory =
      way == OneShot    ? packetMemory(size * kUnits)
      : way == TwoShots ? packetMemory(2 * size * kShare)
                        : kBulkMemory;
  static __device__ void run(const LaunchParams &p) {
    if constexpr (way == OneShot)
      allReduceOneShot<size, extent, In, Out, kMemory>(p);
    else if constexpr (way == TwoShots)
      allReduceTwoShots<size, extent, In, Out, kMemory>(p);
    else
      allReduceBulk<size, extent, In, Out, kMemory>(p);
  }
};

/// What a gather or a scatter needs when `Part` is a member's side.
template <bool bulk, int size, typename Part>
constexpr uint64_t kJoinedMemory =
    bulk ? kBulkMemory
         : kPacketMemory<size * Units<Part, kPacketPayload>::kTotal>;

template <bool bulk, int size, RowLayout layout, int extent, typename In,
          typename Out>
struct GatherBody {
  static constexpr uint64_t kMemory = kJoinedMemory<bulk, size, In>;
  static __device__ void run(const LaunchParams &p) {
    if constexpr (bulk)
      allGatherBulk<size, layout, extent, In, Out, kMemory>(p);
    else
      allGatherPackets<size, layout, extent, In, Out, kMemory>(p);
  }
};

template <bool bulk, int size, RowLayout layout, int extent, typename In,
          typename Out>
struct ScatterBody {
  static constexpr uint64_t kMemory = kJoinedMemory<bulk, size, Out>;
  static __device__ void run(const LaunchParams &p) {
    if constexpr (bulk)
      reduceScatterBulk<size, layout, extent, In, Out, kMemory>(p);
    else
      reduceScatterPackets<size, layout, extent, In, Out, kMemory>(p);
  }
};

template <typename M>
struct Send {
  static constexpr uint64_t kMemory =
      boundaryMemory(Units<M, kMailboxUnitBytes>::kTotal);
  static __device__ void run(const LaunchParams &p) {
    sendRows<1, M, kMemory>(p);
  }
};

template <typename M>
struct Receive {
  static constexpr uint64_t kMemory =
      boundaryMemory(Units<M, kMailboxUnitBytes>::kTotal);
  static __device__ void run(const LaunchParams &p) {
    receiveRows<1, M, kMemory>(p);
  }
};

} // namespace saddle::device

#endif // SADDLE_TEST_GPU_EXCHANGECHECK_BODIES_H
