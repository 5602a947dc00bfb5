// What a step yields, and which of its ops only one of its outputs needs.

#ifndef SADDLE_PASSES_STEPOUTPUTS_H
#define SADDLE_PASSES_STEPOUTPUTS_H

#include "runtime/ops/Bindings.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"

namespace saddle {

/// The bindings of a step's results, in order: those that 'model.outputs'
/// names, or the first of the table. Empty where they are no outputs of a step:
/// more than there are, others than the table's, or a part of one.
llvm::SmallVector<const ops::Binding *> outputsOf(mlir::func::FuncOp step);

/// The name of the output (ops::Output) for each op of the body that leads to
/// no other one and changes no state: whole logits are gathered for those who
/// read them, while candidates come from the ranks' own parts. `yields` are the
/// terminator's operands. Empty with a single output.
llvm::DenseMap<mlir::Operation *, llvm::StringRef>
opsOfOneOutput(mlir::Block &body, llvm::ArrayRef<const ops::Binding *> yields);

} // namespace saddle

#endif // SADDLE_PASSES_STEPOUTPUTS_H
