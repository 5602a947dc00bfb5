// What the assembler says about the functions that it has compiled.

#ifndef SADDLE_COMPILER_CUDA_PTXASREPORT_H
#define SADDLE_COMPILER_CUDA_PTXASREPORT_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <string>
#include <vector>

namespace saddle::cuda {

struct FunctionResources {
  std::string name;
  uint32_t registers = 0;
  uint32_t stackBytes = 0;  // local memory, spills included
  uint32_t spillBytes = 0;  // stored; what is loaded was stored before
  uint32_t sharedBytes = 0; // static
};

/// The entry functions of a `ptxas -v` log, in its order. Lines that are not
/// understood are skipped: versions differ.
std::vector<FunctionResources> parsePtxasReport(llvm::StringRef log);

} // namespace saddle::cuda

#endif // SADDLE_COMPILER_CUDA_PTXASREPORT_H
