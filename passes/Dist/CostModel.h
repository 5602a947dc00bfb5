// Predicted time of collectives and of memory traffic on a target, for passes
// that choose between equivalent programs.

#ifndef SADDLE_PASSES_DIST_COSTMODEL_H
#define SADDLE_PASSES_DIST_COSTMODEL_H

#include <cstdint>

namespace saddle::dist {

/// A machine: every rank reaches every other over links of one kind.
struct LinkModel {
  /// One exchange in which every rank writes to its peers and waits for them,
  /// in microseconds.
  double hopMicroseconds;
  /// Per rank and direction, in bytes per microsecond.
  double linkBytesPerMicrosecond;
  /// Of a rank's memory, in bytes per microsecond.
  double memoryBytesPerMicrosecond;
  /// Ranks that the links join; larger groups cross `farther`.
  int64_t ranks;
  /// The same between such islands.
  double fartherHopMicroseconds;
  double fartherBytesPerMicrosecond;
};

/// H200 with NVLink 4 all to all, 8 in an island. Hop, link and memory are our
/// measurements (CostModel.cpp); farther is InfiniBand 400 Gb/s, assumed, not
/// measured.
LinkModel h200Links();

/// Microseconds of an all-reduce of `bytes` per rank over `ranks`: one-shot
/// (everybody sends everything) or two-shot (scatter, then gather), whichever
/// is faster.
double allReduceTime(const LinkModel &links, int64_t ranks, double bytes);

/// Microseconds of a reduce-scatter from, or an all-gather to, `bytes` per
/// rank: each rank sends a share to every other.
double scatterTime(const LinkModel &links, int64_t ranks, double bytes);

/// Microseconds of moving `bytes` through a rank's memory.
double memoryTime(const LinkModel &links, double bytes);

} // namespace saddle::dist

#endif // SADDLE_PASSES_DIST_COSTMODEL_H
