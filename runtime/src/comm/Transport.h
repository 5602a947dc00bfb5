// How the ranks of a session meet: collectives and messages of host memory,
// small blobs while setting up, signs of life, and the end of all when one
// fails. Threads of one process are the one implementation (ThreadTransport).
//
// Nothing waits for ever: when a rank that somebody waits for makes no progress
// in time, fails, or does something else than its peers, the run of every rank
// ends, and the first failure names rank, place and collective.

#ifndef SADDLE_RUNTIME_COMM_TRANSPORT_H
#define SADDLE_RUNTIME_COMM_TRANSPORT_H

#include "runtime/src/base/Span.h"
#include "runtime/src/base/Status.h"
#include "runtime/src/comm/Exchange.h"

#include <chrono>
#include <string>
#include <vector>

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
  uint32_t partition; // index into the transport's partitions
  Buffers buffers;
  const char *place; // where in the model; must outlive the transport
};

/// One end of a transfer between two ranks.
struct Message {
  uint32_t peer;
  View buffer;
  const char *place; // as in Call
};

/// Thread-safe; each rank calls from one thread at a time.
class Transport {
public:
  virtual ~Transport() = default;

  /// Ranks of all processes.
  virtual uint32_t worldSize() const = 0;

  //===--- Host memory ---------------------------------------------------===//

  /// Takes part in `call`. `counts` is what this rank knows of all members'
  /// rows (see Counts); the members must agree. Returns when the outputs of
  /// this rank are complete and its input may be overwritten. Errors:
  /// DeadlineExceeded, Internal for a mismatch, Aborted when another rank
  /// failed. After any error the transport stays failed.
  virtual Status run(uint32_t rank, const Call &call, Counts counts) = 0;

  /// Sends the first `rows` rows of the buffer to the peer, or receives them
  /// from it. Messages of one sender arrive in order. `tag` is any number that
  /// both ends give alike. A send returns when the buffer may be overwritten.
  /// Errors as for run(); Internal when the message is not the expected one.
  virtual Status send(uint32_t rank, const Message &message, uint64_t rows,
                      uint64_t tag) = 0;
  virtual Status receive(uint32_t rank, const Message &message, uint64_t rows,
                         uint64_t tag) = 0;

  /// Between steps: an error (Internal) when a message was sent and not
  /// received.
  virtual Status checkDelivered() = 0;

  //===--- Setting up ----------------------------------------------------===//

  /// Gives `own` to every rank and returns what all gave, by rank: handles,
  /// addresses, anything small. All ranks call it alike. `place` is as in Call.
  /// Errors as for run(); InvalidArgument for more than kMostBlobBytes.
  StatusOr<std::vector<std::vector<uint8_t>>> exchange(uint32_t rank, Bytes own,
                                                       const char *place);

  /// Returns when every rank has come here. Errors as for run().
  Status barrier(uint32_t rank, const char *place);

  //===--- Signs of life -------------------------------------------------===//

  /// Says that `rank` is alive, at `place` (as in Call). Calls do so too.
  virtual void progress(uint32_t rank, const char *place) = 0;
  /// When and where it last did; null before it ever has.
  virtual Clock::time_point lastProgress(uint32_t rank) const = 0;
  virtual const char *lastPlace(uint32_t rank) const = 0;

  /// Ends every rank's waits because `rank` failed with `error`.
  virtual void abort(uint32_t rank, const Status &error) = 0;

  /// Ends every rank's waits because of `error`, which says itself who failed
  /// where.
  virtual void fail(const Status &error) = 0;

  /// Why the first rank failed; ok while none has.
  virtual Status failure() const = 0;
  /// Whether one has, without waiting for anybody.
  virtual bool hasFailed() const = 0;

  static constexpr size_t kMostBlobBytes = 1 << 20;

private:
  /// To all others, then from all others: `of(peer)` is what it gives.
  template <typename Buffer>
  Status tradeAll(uint32_t rank, Bytes own, const char *place, uint64_t tag,
                  Buffer of);
};

} // namespace saddle::comm

#endif // SADDLE_RUNTIME_COMM_TRANSPORT_H
