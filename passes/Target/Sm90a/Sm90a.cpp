#include "passes/Target/Sm90a/Sm90a.h"

#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Machine.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

namespace {

class Sm90aTarget : public Target {
public:
  Sm90aTarget() : all(deviceFusions().begin(), deviceFusions().end()) {}

  StringRef name() const override { return "sm_90a"; }
  const Machine &machine() const override { return kH200; }
  ArrayRef<const Fusion *> fusions() const override { return all; }
  // A step reads nearly all experts from some 64 tokens on. M2.5, three layers,
  // 8192 tokens in chunks of 512, 1024, 2048, 4096 and 8192: 70, 42, 33, 29 and
  // 27 ms; prompts shorter than a chunk take the same (docs/benchmarks.md).
  int64_t prefillChunk() const override { return 8192; }
  DeviceCode deviceCode() const override { return DeviceCode::Cuda; }
  LogicalResult specializeKernels(ModuleOp module,
                                  const KernelOptions &options) const override {
    return cuda::specializeKernels(module, options);
  }

private:
  SmallVector<const Fusion *> all;
};

} // namespace

const Target &saddle::cuda::sm90a() {
  static const Sm90aTarget target;
  return target;
}
