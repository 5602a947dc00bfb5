// The `engine` dialect: when things run, and at which byte. Reference:
// docs/Dialects/Engine.md.

#ifndef SADDLE_DIALECTS_ENGINE_IR_ENGINEDIALECT_H
#define SADDLE_DIALECTS_ENGINE_IR_ENGINEDIALECT_H

#include "dialects/Dist/IR/DistDialect.h"

#include "dialects/Engine/IR/EngineDialect.h.inc"
#include "dialects/Engine/IR/EngineEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Engine/IR/EngineAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/Engine/IR/EngineOps.h.inc"

namespace saddle::engine {
/// Bytes that a densely laid out buffer of this type takes.
int64_t denseBytes(mlir::MemRefType type);
} // namespace saddle::engine

#endif // SADDLE_DIALECTS_ENGINE_IR_ENGINEDIALECT_H
