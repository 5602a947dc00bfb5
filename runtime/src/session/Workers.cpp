#include "runtime/src/session/Workers.h"

namespace saddle::session {

Workers::Workers(uint32_t ranks)
    : ranks(ranks), results(ranks), done(ranks, true) {
  for (uint32_t rank = 0; ranks > 1 && rank < ranks; ++rank)
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

Status Workers::run(Job newJob, const GiveUp &giveUp) {
  if (threads.empty())
    return newJob(0);
  std::unique_lock<std::mutex> lock(mutex);
  if (running != 0)
    return makeError(StatusCode::Aborted,
                     "a rank is still stuck in an earlier step");
  job = std::move(newJob);
  running = ranks;
  done.assign(ranks, false);
  ++ticket;
  posted.notify_all();
  std::vector<uint32_t> missing;
  while (!finished.wait_for(lock, std::chrono::milliseconds(20),
                            [&] { return running == 0; })) {
    missing.clear();
    for (uint32_t rank = 0; rank < ranks; ++rank)
      if (!done[rank])
        missing.push_back(rank);
    lock.unlock();
    bool hopeless = giveUp(missing);
    lock.lock();
    if (hopeless && running != 0)
      return makeError(StatusCode::DeadlineExceeded,
                       "gave up on rank %u of %u ranks", missing[0], ranks);
  }
  for (const Status &status : results)
    if (!status.ok())
      return status;
  return {};
}

} // namespace saddle::session
