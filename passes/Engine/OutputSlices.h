// Which ops of a step only one of its outputs needs.

#ifndef SADDLE_PASSES_ENGINE_OUTPUTSLICES_H
#define SADDLE_PASSES_ENGINE_OUTPUTSLICES_H

#include "runtime/ops/Bindings.h"

#include "mlir/IR/Block.h"
#include "llvm/ADT/DenseMap.h"

namespace saddle::engine {

/// The name of the output (ops::Output) for each op of the body that leads to
/// no other one and changes no state: whole logits are gathered for those who
/// read them, while candidates come from the ranks' own parts. `yields` are the
/// terminator's operands. Empty with a single output.
llvm::DenseMap<mlir::Operation *, llvm::StringRef>
opsOfOneOutput(mlir::Block &body, llvm::ArrayRef<const ops::Binding *> yields);

} // namespace saddle::engine

#endif // SADDLE_PASSES_ENGINE_OUTPUTSLICES_H
