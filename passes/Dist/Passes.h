// Passes of the `dist` level. Reference: docs/Passes.md.

#ifndef SADDLE_PASSES_DIST_PASSES_H
#define SADDLE_PASSES_DIST_PASSES_H

#include "passes/Target/Target.h"

#include "mlir/Pass/Pass.h"

namespace saddle::dist {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Dist/Passes.h.inc"

} // namespace saddle::dist

#endif // SADDLE_PASSES_DIST_PASSES_H
