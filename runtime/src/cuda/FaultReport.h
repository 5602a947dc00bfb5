// Why device kernels stopped waiting, in words.

#ifndef SADDLE_RUNTIME_CUDA_FAULTREPORT_H
#define SADDLE_RUNTIME_CUDA_FAULTREPORT_H

#include "runtime/kernels/abi.h"
#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Status.h"

#include <chrono>
#include <optional>

namespace saddle::cuda {

/// What the error names besides the record.
struct FaultContext {
  const schema::Engine &engine;
  /// Index of the entry that the rank that gave up was running.
  uint32_t entry;
  std::chrono::milliseconds timeout;
  /// A rank, and where it said last that it is alive; null before it ever has.
  struct LastSeen {
    uint32_t rank;
    const char *place;
  };
  /// Of the awaited rank.
  const char *peerPlace;
  /// Of a rank whose host has not said so for long: the cause.
  std::optional<LastSeen> silent;
  /// The rank runs alone, so that it waited for itself.
  bool isAlone = false;
};

/// `rank 0 waited 2.0 s at "layers.3.o_proj" (all_reduce_sum over tp, bf16[8,
/// 3072]) for rank 1, last seen at "decode_8", which did not arrive`, with the
/// silent rank if that is another one, or both places when the ranks disagree.
/// A record out of range gives an error too, with its numbers.
Status describeFault(const device::Fault &fault, const FaultContext &context);

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_FAULTREPORT_H
