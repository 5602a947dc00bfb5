// Attaches an implementation to every group.

#include "passes/Kernel/Passes.h"

#include "dialects/Kernel/IR/KernelDialect.h"

#include "mlir/IR/BuiltinOps.h"

namespace saddle::kernel {
#define GEN_PASS_DEF_SELECT
#include "passes/Kernel/Passes.h.inc"
} // namespace saddle::kernel

using namespace mlir;
using namespace saddle::kernel;

namespace {

struct Select : saddle::kernel::impl::SelectBase<Select> {
  using Base::Base;

  void runOnOperation() override {
    if (target != "cpu" && target != "sm_90a") {
      getOperation().emitError("target \"")
          << target << "\" is not known; targets of this version: cpu, sm_90a";
      return signalPassFailure();
    }
    getOperation().walk(
        [](GroupOp group) { group.setImplementation(kInlineImplementation); });
  }
};

} // namespace
