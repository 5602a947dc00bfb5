// Items that several threads make ahead of the one that takes them, in their
// order, in a bounded number of places.

#ifndef SADDLE_RUNTIME_BASE_PREFETCHER_H
#define SADDLE_RUNTIME_BASE_PREFETCHER_H

#include "runtime/src/base/Status.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace saddle {

class Prefetcher {
public:
  /// Puts item `item` where number `item` mod `places` is. Called by several
  /// threads at once, for different places.
  using Make = std::function<Status(size_t item)>;

  /// `places` is positive. What `make` uses must outlive the prefetcher.
  Prefetcher(size_t items, size_t places, Make make);
  Prefetcher(const Prefetcher &) = delete;
  Prefetcher &operator=(const Prefetcher &) = delete;
  /// Waits for what is being made, and no more is.
  ~Prefetcher();

  /// Once, before anything else. Fewer threads than wanted will do.
  /// ResourceExhausted when there is none to be had.
  Status start(size_t threads);

  /// Waits until item `item` lies in its place. The error of an item that could
  /// not be made, of whichever was the first.
  Status wait(size_t item);
  /// Nobody needs item `item` any more: its place is free for another. Once for
  /// each, after it was waited for.
  void release(size_t item);

private:
  enum class State : uint8_t { Absent, Made, Released };

  void work();

  const size_t places;
  const Make make;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<State> state; // guarded, as what follows
  size_t next = 0;
  bool stops = false;
  Status error;
  std::vector<std::thread> threads;
};

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_PREFETCHER_H
