// One persistent thread per rank; rank 0 works on the calling thread.

#ifndef SADDLE_RUNTIME_EXEC_WORKERS_H
#define SADDLE_RUNTIME_EXEC_WORKERS_H

#include "runtime/src/base/Status.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace saddle::exec {

class Workers {
public:
  explicit Workers(uint32_t ranks);
  /// Waits for jobs that still run.
  ~Workers();

  /// Calls job(rank) once on each rank's thread and returns when all have
  /// returned: the first error by rank, or ok. When some rank is not back
  /// `patience` after rank 0, gives up and names it (DeadlineExceeded); then
  /// nothing more can be run, and whatever `job` refers to must outlive this
  /// object.
  Status run(std::function<Status(uint32_t rank)> job,
             std::chrono::milliseconds patience);

private:
  void serve(uint32_t rank);

  std::mutex mutex;
  std::condition_variable posted, finished;
  std::function<Status(uint32_t)> job;
  uint64_t ticket = 0; // of the current job
  uint32_t running = 0;
  bool stopping = false;
  std::vector<Status> results;
  std::vector<bool> done;
  std::vector<std::thread> threads;
};

} // namespace saddle::exec

#endif // SADDLE_RUNTIME_EXEC_WORKERS_H
