// Waiting for a stream: until it is idle, until a device or another rank has
// given up, or until the time is up.

#ifndef SADDLE_RUNTIME_CUDA_WAIT_H
#define SADDLE_RUNTIME_CUDA_WAIT_H

#include "runtime/kernels/abi.h"
#include "runtime/src/backend/RankProgram.h"
#include "runtime/src/comm/Transport.h"
#include "runtime/src/cuda/Memory.h"

#include <functional>

namespace saddle::cuda {

inline uint64_t timeoutNs(std::chrono::milliseconds timeout) {
  return uint64_t(
      std::chrono::duration_cast<std::chrono::nanoseconds>(timeout).count());
}

/// Whether some kernel, or a host, has given up.
bool isRaised(const device::Fault *fault);
/// Makes kernels stop waiting, if none has given up itself.
void raiseFromHost(device::Fault *fault);

/// What is waited for: the end of a batch of one rank.
struct Waiting {
  const Device &device;
  CUstream stream;
  /// Behind what is waited for; null: the stream's end.
  CUevent until;
  /// Events behind the batch's commands, in order, and the commands' names;
  /// none when it runs as a graph.
  const Event *events;
  const backend::CommandName *names;
  size_t count;
  const char *entry; // for messages
  uint32_t rank;
  comm::Transport &transport;
  device::Fault *fault;
  std::chrono::milliseconds timeout;
  /// Says why a device gave up.
  std::function<Status()> explain;
};

/// Returns when the stream is idle, or has got to `until`. Errors: what a
/// device says that gave up (told to all ranks); Aborted when another rank
/// failed; DeadlineExceeded when a batch or, one by one, a command takes longer
/// than the timeout and some grace; a CUDA error with the entry, or the command
/// that was running.
Status waitFor(const Waiting &waiting);

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_WAIT_H
