// Times in which the process as a whole did not run: it was stopped (SIGSTOP,
// Ctrl-Z), its container was paused, the machine slept. Nobody is late then.

#ifndef SADDLE_RUNTIME_COMM_LAPSES_H
#define SADDLE_RUNTIME_COMM_LAPSES_H

#include "runtime/src/comm/Transport.h"

namespace saddle::comm {

/// Of one waiter, who sees a lapse by being much later than it wanted. That the
/// system was only busy looks the same, and is no rank's fault either.
class Lapses {
public:
  /// How often a waiter looks.
  static constexpr std::chrono::milliseconds kLook{50};
  /// How much later than that it may be without a lapse.
  static constexpr std::chrono::milliseconds kLate{200};

  explicit Lapses(Clock::time_point now) : last(now) {}

  /// At least every kLook.
  void look(Clock::time_point now) {
    if (now - last > kLook + kLate)
      sum += now - last - kLook;
    last = now;
  }
  /// Instead, after a wait that may take as long as it likes.
  void skip(Clock::time_point now) { last = now; }

  /// All lapses so far.
  Clock::duration total() const { return sum; }

private:
  Clock::time_point last;
  Clock::duration sum{0};
};

} // namespace saddle::comm

#endif // SADDLE_RUNTIME_COMM_LAPSES_H
