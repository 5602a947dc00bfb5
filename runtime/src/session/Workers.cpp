#include "runtime/src/session/Workers.h"

#include "runtime/src/base/Guard.h"

#include <cstring>

namespace saddle::session {

Workers::Workers(uint32_t ranks)
    : ranks(ranks), results(ranks), done(ranks, true) {
  missing.reserve(ranks);
}

Status Workers::start() {
  stopping = false; // of an attempt that failed
  seats.resize(ranks);
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    seats[rank] = {this, rank, {}};
    auto enter = [](void *seat) -> void * {
      static_cast<Seat *>(seat)->workers->serve(
          static_cast<Seat *>(seat)->rank);
      return nullptr;
    };
    int error =
        pthread_create(&seats[rank].thread, nullptr, enter, &seats[rank]);
    if (error == 0)
      continue;
    stop(rank);
    return makeError(StatusCode::ResourceExhausted,
                     "rank %u: no thread could be started: %s; raise the "
                     "limits of memory and of threads, or compile for fewer "
                     "than %u ranks",
                     rank, std::strerror(error), ranks);
  }
  return {};
}

void Workers::stop(size_t count) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stopping = true;
  }
  posted.notify_all();
  for (size_t i = 0; i < count; ++i)
    pthread_join(seats[i].thread, nullptr);
  seats.clear();
}

Workers::~Workers() { stop(seats.size()); }

void Workers::serve(uint32_t rank) {
  uint64_t served = 0;
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    posted.wait(lock, [&] { return stopping || ticket != served; });
    if (ticket == served)
      return; // stopping, and nothing is left to do
    served = ticket;
    lock.unlock();
    Status status = guard([&] { return job(rank); });
    lock.lock();
    results[rank] = std::move(status);
    done[rank] = true;
    if (--running == 0)
      finished.notify_one();
  }
}

Status Workers::run(Job newJob, const GiveUp &giveUp) {
  if (ranks == 1)
    return guard([&] { return newJob(0); });
  if (seats.empty())
    SADDLE_RETURN_IF_ERROR(start());
  std::unique_lock<std::mutex> lock(mutex);
  if (running != 0)
    return makeError(StatusCode::Aborted,
                     "a rank is still stuck in an earlier step");
  job = std::move(newJob);
  running = ranks;
  done.assign(ranks, false);
  ++ticket;
  posted.notify_all();
  while (!finished.wait_for(lock, std::chrono::milliseconds(20),
                            [&] { return running == 0; })) {
    missing.clear();
    for (uint32_t rank = 0; rank < ranks; ++rank)
      if (!done[rank])
        missing.push_back(rank);
    lock.unlock();
    // Whoever cannot even look waits on: ranks must not outlive this call
    // unless they are given up.
    bool hopeless = false;
    (void)guard([&] {
      hopeless = giveUp(missing);
      return Status();
    });
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
