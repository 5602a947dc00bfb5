// A progress bar with ETA on stderr, for work of more than two seconds and
// people only: nothing is printed when stderr is not a terminal.

#ifndef SADDLE_TOOLS_SUPPORT_PROGRESS_H
#define SADDLE_TOOLS_SUPPORT_PROGRESS_H

#include <cstdint>
#include <string>

namespace saddle::tools {

class Progress {
public:
  /// `total` units of work; `enabled` false never prints.
  Progress(std::string what, uint64_t total, bool enabled = true);
  /// Of bytes, whose number `update` says; their rate is printed, too.
  enum Unit { Bytes };
  Progress(std::string what, Unit);
  /// Clears the line.
  ~Progress();
  void update(uint64_t done);
  void update(uint64_t done, uint64_t all);

private:
  std::string what;
  uint64_t total;
  bool areBytes = false;
  uint64_t first = 0; // done before the start
  bool visible;       // may print
  bool printed = false;
  double start, last;
};

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_PROGRESS_H
