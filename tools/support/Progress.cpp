#include "tools/support/Progress.h"

#include "tools/support/Runtime.h"

#include <cstdio>
#include <unistd.h>

namespace saddle::tools {

Progress::Progress(std::string what, uint64_t total, bool enabled)
    : what(std::move(what)), total(total),
      visible(enabled && total > 0 && isatty(STDERR_FILENO)), start(now()),
      last(start) {}

Progress::~Progress() {
  if (printed)
    std::fputs("\r\033[K", stderr);
}

void Progress::update(uint64_t done) {
  double time = now();
  if (!visible || done == 0 || time - start < 2 || time - last < 0.1)
    return;
  last = time;
  printed = true;
  constexpr int kWidth = 30;
  int filled = int(kWidth * done / total);
  double left = (time - start) / double(done) * double(total - done);
  std::fprintf(stderr, "\r\033[K%s [%.*s%*s] %d %%, %.0f s left", what.c_str(),
               filled, "##############################", kWidth - filled, "",
               int(100 * done / total), left);
}

} // namespace saddle::tools
