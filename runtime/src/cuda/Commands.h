// The commands of an entry resolved for one rank: for each the functions to
// launch and the one parameter that they take. Needs no device.

#ifndef SADDLE_RUNTIME_CUDA_COMMANDS_H
#define SADDLE_RUNTIME_CUDA_COMMANDS_H

#include "runtime/kernels/abi.h"
#include "runtime/schema/engine_generated.h"
#include "runtime/src/engine/States.h"

#include <vector>

namespace saddle::cuda {

/// Where things are in the devices' memory, as one rank sees it.
struct RankAddresses {
  const schema::Engine *engine = nullptr;
  engine::StateCounts counts;
  uint32_t rank = 0;
  std::vector<uint64_t> arenas; // by arena
  uint64_t step = 0;            // device::Step
  uint64_t groups = 0;          // device::Group[], as groupsOf() orders them
  uint64_t fault = 0;           // device::Fault

  uint64_t of(const schema::Slice &slice) const {
    return arenas[slice.arena()] + engine::offsetOf(*engine, slice, counts);
  }
};

/// What a command launches: the functions of `kernel`, one after the other.
struct DeviceCommand {
  uint32_t kernel;
  device::LaunchParams params;
};

/// Command `number` of `entry`. The engine is valid, so that everything has its
/// kernel and fits the parameters.
DeviceCommand resolveCommand(const schema::Engine &engine,
                             const schema::Entry &entry, uint32_t number,
                             const RankAddresses &addresses);

} // namespace saddle::cuda

#endif // SADDLE_RUNTIME_CUDA_COMMANDS_H
