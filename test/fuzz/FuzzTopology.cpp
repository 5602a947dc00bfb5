// --topology: what is taken has counts within bounds, and says the same when it
// is written down and read again.

#include "compiler/Driver/Topology.h"

using namespace saddle;

static std::string textOf(const Topology &topology) {
  return "tp=" + std::to_string(topology.tp) +
         ",dp=" + std::to_string(topology.dp) +
         ",ep=" + std::to_string(topology.ep) +
         ",pp=" + std::to_string(topology.pp);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string text(reinterpret_cast<const char *>(data), size);
  StatusOr<Topology> topology = parseTopology(text);
  if (!topology.ok()) {
    if (topology.status().message().empty())
      __builtin_trap();
    return 0;
  }
  for (int64_t count : {topology->tp, topology->dp, topology->ep, topology->pp})
    if (count < 1 || count > 65536)
      __builtin_trap();
  StatusOr<Topology> again = parseTopology(textOf(*topology));
  if (!again.ok() || textOf(*again) != textOf(*topology))
    __builtin_trap();
  return 0;
}
