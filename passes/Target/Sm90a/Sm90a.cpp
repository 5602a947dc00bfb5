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
  // Codes of e4m3 with a scale for each block: those that products of encoded
  // tokens are planned for (planLinearOfEncoded, StreamPlanner).
  bool takesCodes(model::MatmulOpInterface reader) const override {
    constexpr uint64_t kMostColumns = 512;
    auto user = cast<model::WeightUserOpInterface>(*reader);
    return *reader.getActGroup() <= kMostColumns &&
           llvm::all_of(user.getWeightUses(), [&](const model::WeightUse &use) {
             auto weight =
                 SymbolTable::lookupNearestSymbolFrom<model::WeightOpInterface>(
                     reader, use.symbol);
             return isScaledCodes(weight);
           });
  }
  DeviceCode deviceCode() const override { return DeviceCode::Cuda; }
  LogicalResult specializeKernels(ModuleOp module,
                                  const KernelOptions &options) const override {
    return cuda::specializeKernels(module, options);
  }

private:
  static bool isScaledCodes(model::WeightOpInterface weight) {
    model::StorageAttr storage = weight.getWeightStorage();
    ArrayRef<model::CompanionAttr> companions = storage.getCompanions();
    return isa<Float8E4M3FNType>(weight.getWeightType().getElementType()) &&
           companions.size() == 1 &&
           companions[0].getKind() == model::CompanionKind::Scale &&
           companions[0].getType().isF32();
  }

  SmallVector<const Fusion *> all;
};

} // namespace

const Target &saddle::cuda::sm90a() {
  static const Sm90aTarget target;
  return target;
}
