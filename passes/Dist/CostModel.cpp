#include "passes/Dist/CostModel.h"

#include <algorithm>

using namespace saddle::dist;

// Against what we measured on 8 H200s (a naive one-shot push, PyTorch's
// two-shot in parentheses), in microseconds, model first: 6 KB 3.8 / 4.3, 48
// KB 4.6 / 8.5, 384 KB 9.2 / (12.2), 1.5 MB 14.5 / (15.9), 12 MB 63 / (82). The
// link rate is that of a peer copy. The model is optimistic where kernels are
// not yet at the links' speed; both sides of a choice share that.
LinkModel saddle::dist::h200Links() {
  return {/*hop=*/3.7,         /*link=*/391e3,
          /*memory=*/4.55e6,   /*ranks=*/8,
          /*fartherHop=*/15.0, /*farther=*/50e3};
}

static double hop(const LinkModel &links, int64_t ranks) {
  return ranks > links.ranks ? links.fartherHopMicroseconds
                             : links.hopMicroseconds;
}

static double bandwidth(const LinkModel &links, int64_t ranks) {
  return ranks > links.ranks ? links.fartherBytesPerMicrosecond
                             : links.linkBytesPerMicrosecond;
}

double saddle::dist::scatterTime(const LinkModel &links, int64_t ranks,
                                 double bytes) {
  if (ranks == 1)
    return 0;
  double share = bytes / static_cast<double>(ranks);
  return hop(links, ranks) +
         share * static_cast<double>(ranks - 1) / bandwidth(links, ranks);
}

double saddle::dist::allReduceTime(const LinkModel &links, int64_t ranks,
                                   double bytes) {
  if (ranks == 1)
    return 0;
  double oneShot = hop(links, ranks) + bytes * static_cast<double>(ranks - 1) /
                                           bandwidth(links, ranks);
  return std::min(oneShot, 2 * scatterTime(links, ranks, bytes));
}

double saddle::dist::memoryTime(const LinkModel &links, double bytes) {
  return bytes / links.memoryBytesPerMicrosecond;
}
