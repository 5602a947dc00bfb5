// Closes the kernel level.

#include "passes/Kernel/Passes.h"

#include "dialects/Dist/IR/DistDialect.h"
#include "dialects/Kernel/IR/KernelDialect.h"
#include "passes/StraightLine.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace saddle::kernel {
#define GEN_PASS_DEF_VERIFYGROUPS
#include "passes/Kernel/Passes.h.inc"
} // namespace saddle::kernel

using namespace mlir;
using namespace saddle;
using namespace saddle::kernel;

namespace {

struct VerifyGroups : saddle::kernel::impl::VerifyGroupsBase<VerifyGroups> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (failed(verifyStraightLine(function)))
        return signalPassFailure();
      WalkResult result = function.walk([&](Operation *op) {
        return failed(verify(op)) ? WalkResult::interrupt()
                                  : WalkResult::advance();
      });
      if (result.wasInterrupted())
        return signalPassFailure();
    }
  }

private:
  static LogicalResult verify(Operation *op) {
    if (auto group = dyn_cast<GroupOp>(op)) {
      if (group.getImplementation())
        return success();
      return group.emitError("group \"")
             << group.getSignature()
             << "\" has no implementation; run kernel-form-groups";
    }
    if (isa<func::FuncOp, func::ReturnOp>(op) ||
        isa<model::ModelDialect, dist::DistDialect, KernelDialect>(
            op->getDialect()))
      return success();
    return op->emitError("op '")
           << op->getName() << "' is not allowed at the kernel level";
  }
};

} // namespace
