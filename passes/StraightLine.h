// What every level may rely on: functions are straight-line code in one block.

#ifndef SADDLE_PASSES_STRAIGHTLINE_H
#define SADDLE_PASSES_STRAIGHTLINE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace saddle {

/// Fails with an error at the function unless its body is one block.
inline llvm::LogicalResult verifyStraightLine(mlir::func::FuncOp function) {
  if (function.isExternal())
    return function.emitError("function @")
           << function.getName() << " has no body";
  if (!function.getBody().hasOneBlock())
    return function.emitError("function @")
           << function.getName()
           << " has more than one block; expected straight-line code";
  return llvm::success();
}

/// The same of all functions. Every pass that looks into bodies begins with it:
/// IR that others write may enter anywhere.
inline llvm::LogicalResult verifyStraightLine(mlir::ModuleOp module) {
  for (auto function : module.getOps<mlir::func::FuncOp>())
    if (failed(verifyStraightLine(function)))
      return llvm::failure();
  return llvm::success();
}

} // namespace saddle

#endif // SADDLE_PASSES_STRAIGHTLINE_H
