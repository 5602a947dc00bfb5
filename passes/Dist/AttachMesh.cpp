// Topology to mesh.

#include "passes/Dist/Passes.h"

#include "dialects/Dist/IR/DistDialect.h"
#include "dialects/Dist/Interfaces/Sharding.h"
#include "passes/UserError.h"

#include "mlir/IR/Builders.h"

namespace saddle::dist {
#define GEN_PASS_DEF_ATTACHMESH
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

/// Of each count of a topology; what is listed and looped over stays small.
static constexpr int64_t kMost = 65536;

static std::string listDivisors(int64_t value) {
  std::string text;
  for (int64_t i = 1; i <= value; ++i)
    if (value % i == 0)
      text += (text.empty() ? "" : ", ") + std::to_string(i);
  return text;
}

namespace {

struct AttachMesh : saddle::dist::impl::AttachMeshBase<AttachMesh> {
  using Base::Base;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::pair<StringRef, int64_t> sizes[] = {
        {"tp", tp}, {"dp", dp}, {"ep", ep}, {"pp", pp}};
    OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
    SmallVector<NamedAttribute> topology;
    for (auto [name, size] : sizes) {
      if (size < 1 || size > kMost) {
        asUserError("D7f1d01", module.emitError("topology: expected "))
            << name << " from 1 to " << kMost << ", but got " << size;
        return signalPassFailure();
      }
      if ((name == "dp" || name == "ep") && tp % size != 0) {
        asUserError("Dae317e", module.emitError("topology: "))
            << name << " = " << size
            << " does not divide tp = " << tp.getValue()
            << "; its divisors: " << listDivisors(tp);
        return signalPassFailure();
      }
      topology.push_back(
          builder.getNamedAttr(name, builder.getI64IntegerAttr(size)));
    }
    if (module.lookupSymbol(kMeshName)) {
      module.emitError("module has a symbol @") << kMeshName << " already";
      return signalPassFailure();
    }
    MeshOp::create(builder, module.getLoc(), builder.getStringAttr(kMeshName),
                   builder.getStrArrayAttr({"tp"}),
                   builder.getDenseI64ArrayAttr({tp}));
    module->setAttr(DistDialect::kTopologyAttrName,
                    builder.getDictionaryAttr(topology));
  }
};

} // namespace
