// The target of reference kernels: every command runs as it is.

#ifndef SADDLE_PASSES_TARGET_CPU_CPU_H
#define SADDLE_PASSES_TARGET_CPU_CPU_H

#include "passes/Target/Target.h"

namespace saddle::cpu {

const Target &target();

/// Groups that say which ops belong together. They run op by op, and stand in
/// reports: an engine of this target shows what one launch could do. So its
/// predictions count each as one.
llvm::ArrayRef<const Fusion *> fusions();

} // namespace saddle::cpu

#endif // SADDLE_PASSES_TARGET_CPU_CPU_H
