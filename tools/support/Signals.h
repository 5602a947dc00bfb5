// What signals do to a tool that has something to lose.

#ifndef SADDLE_TOOLS_SUPPORT_SIGNALS_H
#define SADDLE_TOOLS_SUPPORT_SIGNALS_H

#include <atomic>
#include <csignal>
#include <iterator>
#include <unistd.h>

namespace saddle::tools {

/// From now on a file that grows beyond the limit of the process is an error of
/// whoever writes it, who then says so and removes it, and not the end.
inline void makeFileSizeAnError() { std::signal(SIGXFSZ, SIG_IGN); }

/// While it lives, the first INT, TERM or HUP is noted, so that what is there
/// can be written before the process ends; a second one ends it at once. One
/// that the process ignores stays ignored. One object at a time.
class Interruption {
public:
  Interruption() {
    noted() = 0;
    for (size_t i = 0; i < std::size(kSignals); ++i) {
      ::sigaction(kSignals[i], nullptr, &before[i]);
      if (before[i].sa_handler == SIG_IGN)
        continue;
      struct sigaction noting = {};
      noting.sa_handler = [](int number) { noted() = number; };
      noting.sa_flags = int(SA_RESETHAND) | SA_RESTART;
      ::sigaction(kSignals[i], &noting, nullptr);
    }
  }
  Interruption(const Interruption &) = delete;
  Interruption &operator=(const Interruption &) = delete;
  ~Interruption() {
    for (size_t i = 0; i < std::size(kSignals); ++i)
      ::sigaction(kSignals[i], &before[i], nullptr);
  }

  static bool isNoted() { return noted() != 0; }

  /// Ends the process by the signal that was noted, so that whoever started it
  /// sees what happened; returns when there was none.
  static void passOn() {
    int number = noted();
    if (number == 0)
      return;
    std::signal(number, SIG_DFL);
    ::kill(::getpid(), number);
  }

private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  static std::atomic<int> &noted() {
    static std::atomic<int> number{0};
    return number;
  }
  struct sigaction before[std::size(kSignals)];
};

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_SIGNALS_H
