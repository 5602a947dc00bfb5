// Groups what the target runs as one launch. Which ops these are is said by its
// fusions; whether they may move together, and forming the group, is common to
// all.

#include "passes/Kernel/Passes.h"
#include "passes/StraightLine.h"

#include "passes/Kernel/Groups.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace saddle::kernel {
#define GEN_PASS_DEF_FORMGROUPS
#include "passes/Kernel/Passes.h.inc"
} // namespace saddle::kernel

using namespace mlir;
using namespace saddle;
using namespace saddle::kernel;

/// Whether the ops, in block order, can run as one at the place of the last:
/// nothing in between may use what they produce or touch memory that they
/// touch.
static bool canGroup(ArrayRef<Operation *> ops) {
  llvm::SmallDenseSet<Operation *> members(ops.begin(), ops.end());
  bool touchesMemory =
      llvm::any_of(ops, [](Operation *op) { return !isMemoryEffectFree(op); });
  for (Operation *op = ops.front(); op != ops.back(); op = op->getNextNode()) {
    if (members.contains(op))
      continue;
    if (touchesMemory && !isMemoryEffectFree(op))
      return false;
    for (Value operand : op->getOperands())
      if (members.contains(operand.getDefiningOp()))
        return false;
  }
  return true;
}

/// Forms the group of a fusion that `anchor` belongs to, if there is one and it
/// may be formed.
static void tryGroup(Operation *anchor, const Fusion &fusion) {
  SmallVector<Operation *> ops = fusion.match(anchor);
  if (ops.empty() || !canGroup(ops))
    return;
  GroupOp group = formGroup(fusion.signature(ops), ops);
  group->setLoc(anchor->getLoc());
  group.setImplementation(
      fusion.isOneLaunch() ? fusion.name() : StringRef(kInlineImplementation));
}

namespace {

struct FormGroups : saddle::kernel::impl::FormGroupsBase<FormGroups> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    const Target *found = findTarget(target, getOperation());
    if (!found)
      return signalPassFailure();
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      Block &body = function.getBody().front();
      SmallVector<Operation *> anchors =
          llvm::to_vector(llvm::make_pointer_range(body.getOperations()));
      for (Operation *anchor : anchors)
        for (const Fusion *fusion : found->fusions())
          if (anchor->getBlock() == &body) // in no group yet
            tryGroup(anchor, *fusion);
    }
  }
};

} // namespace
