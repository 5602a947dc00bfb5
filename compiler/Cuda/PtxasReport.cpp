#include "compiler/Cuda/PtxasReport.h"

#include "llvm/ADT/SmallVector.h"

using namespace saddle::cuda;
using llvm::StringRef;

/// The number in front of `unit` in a comma-separated list, or 0.
static uint32_t numberBefore(StringRef line, StringRef unit) {
  llvm::SmallVector<StringRef> parts;
  line.split(parts, ',');
  for (StringRef part : parts) {
    part = part.trim();
    part.consume_front("Used ");
    uint32_t number;
    if (part.consume_back(unit) && !part.getAsInteger(10, number))
      return number;
  }
  return 0;
}

std::vector<FunctionResources> saddle::cuda::parsePtxasReport(StringRef log) {
  std::vector<FunctionResources> functions;
  FunctionResources *current = nullptr;
  llvm::SmallVector<StringRef> lines;
  log.split(lines, '\n');
  for (StringRef line : lines) {
    line.consume_front("ptxas info    : ");
    line = line.trim();
    if (line.consume_front("Compiling entry function '")) {
      functions.push_back({line.split('\'').first.str()});
      current = &functions.back();
    } else if (current && line.ends_with("bytes spill loads")) {
      // "8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads"
      current->stackBytes = numberBefore(line, " bytes stack frame");
      current->spillBytes = numberBefore(line, " bytes spill stores");
    } else if (current && line.starts_with("Used ")) {
      // "Used 27 registers, used 1 barriers, 1024 bytes smem"
      current->registers = numberBefore(line, " registers");
      current->sharedBytes = numberBefore(line, " bytes smem");
      current = nullptr;
    }
  }
  return functions;
}
