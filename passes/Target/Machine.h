// What passes know of a machine: its size and its speed. Each target has one,
// with the source and the date of every number.

#ifndef SADDLE_PASSES_TARGET_MACHINE_H
#define SADDLE_PASSES_TARGET_MACHINE_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>

namespace saddle {

/// One exchange in which every rank writes to its peers and waits for them.
struct Link {
  /// Of the exchange without its bytes, the launch that does it included.
  double hopMicroseconds;
  /// Per rank and direction, in bytes per microsecond.
  double bytesPerMicrosecond;
};

/// A machine whose ranks stand in islands of `islandRanks`, every rank of an
/// island joined to every other by `near` links; groups that leave one use
/// `far` links.
struct Machine {
  llvm::StringLiteral name;
  Link near;
  Link far;
  int64_t islandRanks;
  /// Of a rank's memory.
  double memoryBytesPerMicrosecond;
  /// Between the end of a kernel and the start of the next in a graph.
  double launchMicroseconds;
  /// Of a rank's device.
  int64_t multiprocessors;
  /// Shared memory of a CTA at most, in bytes.
  int64_t sharedBytes;
};

} // namespace saddle

#endif // SADDLE_PASSES_TARGET_MACHINE_H
