// The list of targets.

#include "passes/Target/Cpu/Cpu.h"
#include "passes/Target/Sm90a/Sm90a.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace saddle;

ArrayRef<const Target *> saddle::allTargets() {
  static const Target *const targets[] = {&cpu::target(), &cuda::sm90a()};
  return targets;
}

std::string saddle::targetNames() {
  return llvm::join(
      llvm::map_range(allTargets(),
                      [](const Target *target) { return target->name(); }),
      ", ");
}

const Target &saddle::defaultTarget() { return cpu::target(); }

const Target *saddle::findTarget(StringRef name) {
  for (const Target *target : allTargets())
    if (target->name() == name)
      return target;
  return nullptr;
}

const Target *saddle::findTarget(StringRef name, Operation *at) {
  const Target *target = findTarget(name);
  if (!target)
    at->emitError("target \"")
        << name
        << "\" is not known; targets of this version: " << targetNames();
  return target;
}
