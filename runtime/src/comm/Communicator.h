// Collectives between the rank threads of one process: a rendezvous per rank
// group, where the last to arrive does the work for all.
//
// Nothing waits for ever: a member that does not arrive in time, fails, or
// meets another collective than its peers ends the run of every rank, and the
// first failure names rank, location and collective.

#ifndef SADDLE_RUNTIME_COMM_COMMUNICATOR_H
#define SADDLE_RUNTIME_COMM_COMMUNICATOR_H

#include "runtime/src/base/Status.h"
#include "runtime/src/comm/Exchange.h"

#include <chrono>
#include <memory>
#include <string>

namespace saddle::comm {

/// A cut of the ranks 0..world-1 into groups of `size`: ranks of group g are
/// ranks[g * size .. (g + 1) * size).
struct Partition {
  std::string axes; // for messages: "tp"
  uint32_t size;
  std::vector<uint32_t> ranks;
};

/// A collective as its program states it; the same on every rank but for the
/// buffers.
struct Call {
  schema::CollectiveKind kind;
  uint32_t partition; // index into the communicator's partitions
  uint32_t dim;
  Buffers buffers;
  const char *location; // where in the model; must outlive the communicator
};

/// Thread-safe; each rank calls from one thread at a time.
class Communicator {
public:
  /// Every partition covers 0..world-1 once. `timeout` bounds each wait.
  Communicator(uint32_t world, std::vector<Partition> partitions,
               std::chrono::milliseconds timeout);
  ~Communicator();

  /// Takes part in `call` with `count` rows (see exchange). Returns when the
  /// outputs of this rank are complete and its input may be overwritten.
  /// Errors: DeadlineExceeded, Internal for a mismatch, Aborted when another
  /// rank failed. After any error the communicator stays failed.
  Status run(uint32_t rank, const Call &call, uint64_t count);

  /// Ends every rank's waits because `rank` failed with `error`.
  void abort(uint32_t rank, const Status &error);

  /// Why the first rank failed; ok while none has.
  Status failure() const;

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace saddle::comm

#endif // SADDLE_RUNTIME_COMM_COMMUNICATOR_H
