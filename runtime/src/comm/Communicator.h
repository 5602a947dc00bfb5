// What the rank threads of one process say to each other: collectives, a
// rendezvous per rank group where the last to arrive does the work for all, and
// messages from one rank to another.
//
// Nothing waits for ever: when a rank that somebody waits for makes no progress
// in time, fails, or does something else than its peers, the run of every rank
// ends, and the first failure names rank, place and collective.

#ifndef SADDLE_RUNTIME_COMM_COMMUNICATOR_H
#define SADDLE_RUNTIME_COMM_COMMUNICATOR_H

#include "runtime/src/base/Status.h"
#include "runtime/src/comm/Exchange.h"

#include <chrono>
#include <memory>
#include <string>

namespace saddle::comm {

using Clock = std::chrono::steady_clock;

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
  Operation operation;
  uint32_t partition; // index into the communicator's partitions
  Buffers buffers;
  const char *place; // where in the model; must outlive the communicator
};

/// One end of a transfer between two ranks.
struct Message {
  uint32_t peer;
  View buffer;
  const char *place; // as in Call
};

struct CommunicatorOptions {
  /// How long a rank that another one waits for may make no progress.
  std::chrono::milliseconds timeout{10000};
  /// Messages under way between two ranks, 1 or more; a further send waits.
  uint32_t room = 2;
};

/// Thread-safe; each rank calls from one thread at a time.
class Communicator {
public:
  /// Every partition covers 0..world-1 once.
  Communicator(uint32_t world, std::vector<Partition> partitions,
               const CommunicatorOptions &options);
  ~Communicator();

  /// Takes part in `call`. `counts` is what this rank knows of all members'
  /// rows (see Counts); the members must agree. Returns when the outputs of
  /// this rank are complete and its input may be overwritten. Errors:
  /// DeadlineExceeded, Internal for a mismatch, Aborted when another rank
  /// failed. After any error the communicator stays failed.
  Status run(uint32_t rank, const Call &call, Counts counts);

  /// Sends the first `rows` rows of the buffer to the peer, or receives them
  /// from it. Messages of one sender arrive in order. `tag` is any number that
  /// both ends give alike. A send returns when the buffer may be overwritten.
  /// Errors as for run(); Internal when the message is not the expected one.
  Status send(uint32_t rank, const Message &message, uint64_t rows,
              uint64_t tag);
  Status receive(uint32_t rank, const Message &message, uint64_t rows,
                 uint64_t tag);

  /// Between steps: an error (Internal) when a message was sent and not
  /// received.
  Status checkDelivered();

  /// Says that `rank` is alive, at `place` (as in Call). Calls do so too.
  void progress(uint32_t rank, const char *place);
  /// When and where it last did; null before it ever has.
  Clock::time_point lastProgress(uint32_t rank) const;
  const char *lastPlace(uint32_t rank) const;

  /// Ends every rank's waits because `rank` failed with `error`.
  void abort(uint32_t rank, const Status &error);

  /// Ends every rank's waits because of `error`, which says itself who failed
  /// where.
  void fail(const Status &error);

  /// Why the first rank failed; ok while none has.
  Status failure() const;
  /// Whether one has, without waiting for anybody.
  bool hasFailed() const;

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace saddle::comm

#endif // SADDLE_RUNTIME_COMM_COMMUNICATOR_H
