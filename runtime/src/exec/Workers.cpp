#include "runtime/src/exec/Workers.h"

namespace saddle::exec {

Workers::Workers(uint32_t ranks) : results(ranks), done(ranks, true) {
  for (uint32_t rank = 1; rank < ranks; ++rank)
    threads.emplace_back([this, rank] { serve(rank); });
}

Workers::~Workers() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stopping = true;
  }
  posted.notify_all();
  for (std::thread &thread : threads)
    thread.join();
}

void Workers::serve(uint32_t rank) {
  uint64_t served = 0;
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    posted.wait(lock, [&] { return stopping || ticket != served; });
    if (ticket == served)
      return; // stopping, and nothing is left to do
    served = ticket;
    lock.unlock();
    Status status = job(rank);
    lock.lock();
    results[rank] = std::move(status);
    done[rank] = true;
    if (--running == 0)
      finished.notify_one();
  }
}

Status Workers::run(std::function<Status(uint32_t)> newJob,
                    std::chrono::milliseconds patience) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (running != 0)
      return makeError(StatusCode::Aborted,
                       "a rank is still stuck in an earlier step");
    job = std::move(newJob);
    running = uint32_t(threads.size());
    done.assign(done.size(), false);
    ++ticket;
  }
  posted.notify_all();
  results[0] = job(0);
  std::unique_lock<std::mutex> lock(mutex);
  done[0] = true;
  finished.wait_for(lock, patience, [&] { return running == 0; });
  for (uint32_t rank = 0; rank < done.size(); ++rank)
    if (!done[rank])
      return makeError(StatusCode::DeadlineExceeded,
                       "rank %u has not finished %.1f s after rank 0", rank,
                       double(patience.count()) / 1000);
  for (const Status &status : results)
    if (!status.ok())
      return status;
  return {};
}

} // namespace saddle::exec
