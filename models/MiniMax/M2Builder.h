// A MiniMax-M2 description to a `model` module.

#ifndef SADDLE_MODELS_MINIMAX_M2BUILDER_H
#define SADDLE_MODELS_MINIMAX_M2BUILDER_H

#include "models/BuildOptions.h"
#include "models/MiniMax/M2Model.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace saddle {

/// Builds `@step` over token count `?` with weights, caches, `model.config` and
/// `model.limits`. Every op's location names its place ("layers.3.self_attn").
/// `name` stands in reports. The context must have the model and func dialects
/// loaded.
mlir::OwningOpRef<mlir::ModuleOp> buildM2(mlir::MLIRContext &context,
                                          const M2Model &model,
                                          const std::string &name,
                                          const BuildOptions &options);

} // namespace saddle

#endif // SADDLE_MODELS_MINIMAX_M2BUILDER_H
