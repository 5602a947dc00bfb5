#include "passes/Kernel/Groups.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::kernel;

GroupOp saddle::kernel::formGroup(StringRef signature,
                                  ArrayRef<Operation *> ops) {
  llvm::SmallDenseSet<Operation *> members(ops.begin(), ops.end());
  llvm::SetVector<Value> inputs, outputs;
  SmallVector<Location> locs;
  for (Operation *op : ops) {
    locs.push_back(op->getLoc());
    for (Value operand : op->getOperands())
      if (!members.contains(operand.getDefiningOp()))
        inputs.insert(operand);
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(), [&](Operation *user) {
            return !members.contains(user);
          }))
        outputs.insert(result);
  }

  OpBuilder builder(ops.back());
  auto types =
      llvm::map_to_vector(outputs, [](Value value) { return value.getType(); });
  auto group = GroupOp::create(
      builder, ops.front()->getLoc(), types, builder.getStringAttr(signature),
      /*implementation=*/StringAttr(), inputs.getArrayRef());
  Block &body = group.getBody().emplaceBlock();
  for (Value input : inputs) {
    BlockArgument argument = body.addArgument(input.getType(), input.getLoc());
    Value(input).replaceUsesWithIf(argument, [&](OpOperand &use) {
      return members.contains(use.getOwner());
    });
  }
  for (Operation *op : ops)
    op->moveBefore(&body, body.end());
  for (auto [output, result] : llvm::zip_equal(outputs, group.getResults()))
    Value(output).replaceUsesWithIf(result, [&](OpOperand &use) {
      return use.getOwner()->getParentOp() != group;
    });
  builder.setInsertionPointToEnd(&body);
  YieldOp::create(builder, group.getLoc(), outputs.getArrayRef());
  return group;
}
