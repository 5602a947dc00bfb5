// Ranks that are threads of one process: a rendezvous per rank group where the
// last to arrive does the work for all, and mailboxes between two ranks.

#ifndef SADDLE_RUNTIME_COMM_THREADTRANSPORT_H
#define SADDLE_RUNTIME_COMM_THREADTRANSPORT_H

#include "runtime/src/comm/Transport.h"

#include <memory>

namespace saddle::comm {

struct ThreadTransportOptions {
  /// How long a rank that another one waits for may make no progress.
  std::chrono::milliseconds timeout{10000};
  /// Messages under way between two ranks, 1 or more; a further send waits.
  uint32_t room = 2;
};

class ThreadTransport final : public Transport {
public:
  /// Every partition covers 0..world-1 once.
  ThreadTransport(uint32_t world, std::vector<Partition> partitions,
                  const ThreadTransportOptions &options);
  ~ThreadTransport() override;

  uint32_t worldSize() const override;
  Status run(uint32_t rank, const Call &call, Counts counts) override;
  Status send(uint32_t rank, const Message &message, uint64_t rows,
              uint64_t tag) override;
  Status receive(uint32_t rank, const Message &message, uint64_t rows,
                 uint64_t tag) override;
  Status checkDelivered() override;
  void progress(uint32_t rank, const char *place) override;
  Clock::time_point lastProgress(uint32_t rank) const override;
  const char *lastPlace(uint32_t rank) const override;
  void abort(uint32_t rank, const Status &error) override;
  void fail(const Status &error) override;
  Status failure() const override;
  bool hasFailed() const override;

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace saddle::comm

#endif // SADDLE_RUNTIME_COMM_THREADTRANSPORT_H
