#include "passes/Target/Cpu/Cpu.h"

#include "passes/Target/Sm90a/Machine.h"

using namespace mlir;
using namespace saddle;

namespace {

class CpuTarget : public Target {
public:
  StringRef name() const override { return "cpu"; }
  /// Topologies are tried out here for the machine that they are meant for.
  const Machine &machine() const override { return cuda::kH200; }
  ArrayRef<const Fusion *> fusions() const override { return cpu::fusions(); }
  bool takesCodes(model::MatmulOpInterface) const override { return true; }
};

} // namespace

const Target &saddle::cpu::target() {
  static const CpuTarget target;
  return target;
}
