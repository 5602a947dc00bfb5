#include "tools/support/Progress.h"

#include "tools/support/Runtime.h"

#include <cstdio>
#include <unistd.h>

namespace saddle::tools {

Progress::Progress(std::string what, uint64_t total, bool enabled)
    : what(std::move(what)), total(total),
      visible(enabled && total > 0 && isatty(STDERR_FILENO)), start(now()),
      last(start) {}

Progress::Progress(std::string what, Unit)
    : what(std::move(what)), total(0), areBytes(true),
      visible(isatty(STDERR_FILENO)), start(now()), last(start) {}

Progress::~Progress() {
  if (printed)
    std::fputs("\r\033[K", stderr);
}

void Progress::update(uint64_t done, uint64_t all) {
  if (total == 0)
    first = done;
  total = all;
  update(done);
}

void Progress::update(uint64_t done) {
  double time = now();
  if (!visible || total == 0 || done <= first || time - start < 2 ||
      time - last < 0.1)
    return;
  last = time;
  printed = true;
  constexpr int kWidth = 30;
  int filled = int(kWidth * done / total);
  double rate = double(done - first) / (time - start);
  double left = double(total - done) / rate;
  std::fprintf(stderr, "\r\033[K%s [%.*s%*s] %d %%, ", what.c_str(), filled,
               "##############################", kWidth - filled, "",
               int(100 * done / total));
  if (areBytes)
    std::fprintf(stderr, "%.2f GB/s, ", rate / 1e9);
  std::fprintf(stderr, "%.0f s left", left);
}

} // namespace saddle::tools
