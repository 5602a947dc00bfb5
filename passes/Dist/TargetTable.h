// What passes know of a target's speed: one row for each machine, with the
// source and the date of every number (TargetTable.cpp).

#ifndef SADDLE_PASSES_DIST_TARGETTABLE_H
#define SADDLE_PASSES_DIST_TARGETTABLE_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>

namespace saddle::dist {

/// One exchange in which every rank writes to its peers and waits for them.
struct LinkModel {
  /// Of the exchange without its bytes, the launch that does it included.
  double hopMicroseconds;
  /// Per rank and direction, in bytes per microsecond.
  double bytesPerMicrosecond;
};

/// A machine whose ranks stand in islands of `islandRanks`, every rank of an
/// island joined to every other by `near` links; groups that leave one use
/// `far` links.
struct TargetModel {
  llvm::StringLiteral name;
  LinkModel near;
  LinkModel far;
  int64_t islandRanks;
  /// Of a rank's memory.
  double memoryBytesPerMicrosecond;
  /// Between the end of a kernel and the start of the next in a graph.
  double launchMicroseconds;
};

/// H200. It predicts for the CPU target too: there nothing would differ.
const TargetModel &h200();

} // namespace saddle::dist

#endif // SADDLE_PASSES_DIST_TARGETTABLE_H
