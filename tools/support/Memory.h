// What a tool does when memory runs out where no status can say so: a line on
// standard error and exit status 1, as for any other failure.

#ifndef SADDLE_TOOLS_SUPPORT_MEMORY_H
#define SADDLE_TOOLS_SUPPORT_MEMORY_H

#include "runtime/src/base/Status.h"

#include <cstdio>
#include <new>
#include <unistd.h>

namespace saddle::tools {

/// Ends the process.
[[noreturn]] inline void sayOutOfMemory() {
  constexpr char kShortageText[] =
      "out of memory; raise the limit of memory (ulimit -v), or use a smaller "
      "model, batch or context";
  // Nothing that may allocate, and no destructors: threads still run.
  char line[sizeof kShortageText + 32];
  int size = std::snprintf(line, sizeof line, "error: %s [D%06x]\n",
                           kShortageText, unsigned(identify(kShortageText)));
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, line, size_t(size));
  ::_exit(1);
}

/// From now on every allocation that fails ends the process.
inline void endWhenOutOfMemory() { std::set_new_handler(sayOutOfMemory); }

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SUPPORT_MEMORY_H
