#include "runtime/src/base/Prefetcher.h"

#include "runtime/src/base/Guard.h"

#include <algorithm>

namespace saddle {

Prefetcher::Prefetcher(size_t items, size_t places, Make make)
    : places(places), make(std::move(make)), state(items, State::Absent) {}

Prefetcher::~Prefetcher() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stops = true;
  }
  changed.notify_all();
  for (std::thread &thread : threads)
    thread.join();
}

Status Prefetcher::start(size_t wanted) {
  Status started;
  for (size_t i = 0; i < std::min(wanted, state.size()) && started.ok(); ++i)
    started = guard([&]() -> Status {
      threads.emplace_back([this] { work(); });
      return {};
    });
  return threads.empty() ? started : Status();
}

void Prefetcher::work() {
  std::unique_lock<std::mutex> lock(mutex);
  while (next < state.size()) {
    const size_t item = next++;
    changed.wait(lock, [&] {
      return stops || !error.ok() || item < places ||
             state[item - places] == State::Released;
    });
    if (stops || !error.ok())
      return;
    lock.unlock();
    Status status = guard([&] { return make(item); });
    lock.lock();
    state[item] = State::Made;
    if (!status.ok() && error.ok())
      error = std::move(status);
    changed.notify_all();
  }
}

Status Prefetcher::wait(size_t item) {
  std::unique_lock<std::mutex> lock(mutex);
  changed.wait(lock,
               [&] { return state[item] != State::Absent || !error.ok(); });
  return error;
}

void Prefetcher::release(size_t item) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    state[item] = State::Released;
  }
  changed.notify_all();
}

} // namespace saddle
