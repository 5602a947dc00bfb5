// `tp=8,dp=2,ep=4,pp=1` on the command line.

#ifndef SADDLE_COMPILER_DRIVER_TOPOLOGY_H
#define SADDLE_COMPILER_DRIVER_TOPOLOGY_H

#include "runtime/src/base/Status.h"

#include <cstdint>
#include <string>

namespace saddle {

/// Defaults 1. World size is tp * pp.
struct Topology {
  int64_t tp = 1;
  int64_t dp = 1;
  int64_t ep = 1;
  int64_t pp = 1;
};

/// Parses `name=N` items separated by commas. Errors: unknown or repeated
/// names, counts that are not integers from 1 to 65536.
StatusOr<Topology> parseTopology(const std::string &text);

} // namespace saddle

#endif // SADDLE_COMPILER_DRIVER_TOPOLOGY_H
