// Passes of the `model` level. Reference: docs/Passes.md.

#ifndef SADDLE_PASSES_MODEL_PASSES_H
#define SADDLE_PASSES_MODEL_PASSES_H

#include "mlir/Pass/Pass.h"

namespace saddle::model {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Model/Passes.h.inc"

} // namespace saddle::model

#endif // SADDLE_PASSES_MODEL_PASSES_H
