// Passes of the `kernel` level. Reference: docs/Passes.md.

#ifndef SADDLE_PASSES_KERNEL_PASSES_H
#define SADDLE_PASSES_KERNEL_PASSES_H

#include "passes/Target/Target.h"

#include "mlir/Pass/Pass.h"

namespace saddle::kernel {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Kernel/Passes.h.inc"

} // namespace saddle::kernel

#endif // SADDLE_PASSES_KERNEL_PASSES_H
