// What becomes of each stored weight: how it lies in memory, and how the ops
// that read it multiply with it, and why.

#ifndef SADDLE_TOOLS_SADDLE_INSPECT_MODULES_H
#define SADDLE_TOOLS_SADDLE_INSPECT_MODULES_H

#include "runtime/schema/engine_generated.h"

#include <cstdint>
#include <string>
#include <vector>

namespace saddle::inspect {

struct ModuleFacts {
  std::string name;       // of the weight
  std::string checkpoint; // "2 x f8e4m3 with scale f32": what files have
  std::string stored;     // "u8 of two e2m1, scale f8e4m3 per 16 columns"
  uint64_t bytes = 0;     // of a rank, with companions
  std::string op;         // the first that reads it
  std::string executed;   // "dequantised to fp32 on the way: ..."
};

/// Of the weights that some launch of the program reads, in the order of its
/// first entry. For validated engines.
std::vector<ModuleFacts> modulesOf(const schema::Engine &engine,
                                   const schema::Program &program);

} // namespace saddle::inspect

#endif // SADDLE_TOOLS_SADDLE_INSPECT_MODULES_H
