// Passes of the `engine` level. Reference: docs/Passes.md.

#ifndef SADDLE_PASSES_ENGINE_PASSES_H
#define SADDLE_PASSES_ENGINE_PASSES_H

#include "passes/Target/Target.h"

#include "mlir/Pass/Pass.h"

namespace saddle::engine {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Engine/Passes.h.inc"

} // namespace saddle::engine

#endif // SADDLE_PASSES_ENGINE_PASSES_H
