// Passes of device targets. Reference: docs/Passes.md.

#ifndef SADDLE_PASSES_TARGET_SM90A_PASSES_H
#define SADDLE_PASSES_TARGET_SM90A_PASSES_H

#include "mlir/Pass/Pass.h"

namespace saddle::cuda {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Target/Sm90a/Passes.h.inc"

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_PASSES_H
