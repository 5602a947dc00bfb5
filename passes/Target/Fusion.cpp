#include "passes/Target/Fusion.h"

using namespace mlir;
using namespace saddle;

bool Fusion::covers(ArrayRef<TypeID> ops) const {
  if (ops.size() < 2)
    return false;
  for (const Part &part : pattern) {
    if (!ops.empty() && ops.front() == part.op)
      ops = ops.drop_front();
    else if (!part.optional)
      return false;
  }
  return ops.empty();
}

bool Fusion::matches(kernel::GroupOp group) const {
  SmallVector<Operation *> body;
  for (Operation &op : group.getBody().front().without_terminator())
    body.push_back(&op);
  return llvm::any_of(body, [&](Operation *anchor) {
    SmallVector<Operation *> ops = match(anchor);
    return ops.size() == body.size() && llvm::all_of(body, [&](Operation *op) {
             return llvm::is_contained(ops, op);
           });
  });
}
