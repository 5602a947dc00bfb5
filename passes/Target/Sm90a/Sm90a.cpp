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
  DeviceCode deviceCode() const override { return DeviceCode::Cuda; }
  LogicalResult specializeKernels(ModuleOp module) const override {
    return cuda::specializeKernels(module);
  }

private:
  SmallVector<const Fusion *> all;
};

} // namespace

const Target &saddle::cuda::sm90a() {
  static const Sm90aTarget target;
  return target;
}
