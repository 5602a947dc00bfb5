// Lets the target choose the kernel of every command.

#include "passes/Engine/Passes.h"

#include "dialects/Engine/IR/EngineDialect.h"

namespace saddle::engine {
#define GEN_PASS_DEF_SPECIALIZEKERNELS
#include "passes/Engine/Passes.h.inc"
} // namespace saddle::engine

using namespace mlir;
using namespace saddle;

namespace {

struct SpecializeKernels
    : saddle::engine::impl::SpecializeKernelsBase<SpecializeKernels> {
  using Base::Base;

  void runOnOperation() override {
    const Target *found = findTarget(target, getOperation());
    KernelOptions options;
    options.tuningCandidate = tuningCandidate;
    if (!found || failed(found->specializeKernels(getOperation(), options)))
      signalPassFailure();
  }
};

} // namespace
