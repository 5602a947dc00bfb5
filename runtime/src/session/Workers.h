// One persistent thread per rank; a single rank works on the calling thread.

#ifndef SADDLE_RUNTIME_SESSION_WORKERS_H
#define SADDLE_RUNTIME_SESSION_WORKERS_H

#include "runtime/src/base/Status.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <pthread.h>
#include <vector>

namespace saddle::session {

class Workers {
public:
  explicit Workers(uint32_t ranks);
  /// Waits for jobs that still run.
  ~Workers();

  using Job = std::function<Status(uint32_t rank)>;
  /// Asked every few milliseconds with the ranks that have not returned:
  /// whether to give up on them.
  using GiveUp = std::function<bool(const std::vector<uint32_t> &missing)>;

  /// Calls job(rank) once on each rank's thread and returns when all have
  /// returned: the first error by rank, or ok; what a job throws is an error of
  /// its rank (Guard.h). After giving up
  /// (DeadlineExceeded) nothing more can be run, and whatever `job` refers to
  /// must outlive this object. A single rank is never given up. The first call
  /// starts the threads: ResourceExhausted when there are too few.
  Status run(Job job, const GiveUp &giveUp);

private:
  /// A rank's thread and what it is told at its start.
  struct Seat {
    Workers *workers;
    uint32_t rank;
    pthread_t thread;
  };

  Status start();
  /// Ends the first `count` threads, which finish their jobs.
  void stop(size_t count);
  void serve(uint32_t rank);

  const uint32_t ranks;
  std::mutex mutex;
  std::condition_variable posted, finished;
  Job job;
  uint64_t ticket = 0; // of the current job
  uint32_t running = 0;
  bool stopping = false;
  std::vector<Status> results;
  std::vector<bool> done;
  std::vector<uint32_t> missing; // room for all: looking costs no memory
  std::vector<Seat> seats;       // threads that run
};

} // namespace saddle::session

#endif // SADDLE_RUNTIME_SESSION_WORKERS_H
