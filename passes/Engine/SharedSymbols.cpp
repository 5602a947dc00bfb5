#include "passes/Engine/SharedSymbols.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::engine;

SharedSymbols::SharedSymbols(ModuleOp module, const SymbolTable &symbols,
                             int64_t stages)
    : module(module), symbols(symbols), stages(stages),
      builder(module.getContext()) {
  builder.setInsertionPointToEnd(module.getBody());
}

FlatSymbolRefAttr SharedSymbols::arena(StringRef name, ArenaKind kind) {
  ArenaOp::create(builder, module.getLoc(), builder.getStringAttr(name),
                  ArenaKindAttr::get(builder.getContext(), kind),
                  builder.getI64IntegerAttr(0), builder.getI64IntegerAttr(1));
  return ref(name);
}

FlatSymbolRefAttr SharedSymbols::kernel(StringRef op,
                                        ArrayRef<NamedAttribute> constants,
                                        ArrayAttr body, ArrayAttr temporaries) {
  auto dict = builder.getDictionaryAttr(constants);
  FlatSymbolRefAttr &symbol =
      kernels[{builder.getStringAttr(op), dict, body, temporaries}];
  if (!symbol) {
    std::string name = (op + "_" + Twine(counts[op]++)).str();
    KernelOp::create(builder, module.getLoc(), builder.getStringAttr(name),
                     builder.getStringAttr(op), dict, body, temporaries,
                     /*functions=*/ArrayAttr());
    symbol = ref(name);
  }
  return symbol;
}

/// What users read: factors of tp by their part in the topology, others as the
/// axis, what stands before the factor, and its size.
static std::string groupName(ModuleOp module, const dist::Mesh &mesh,
                             dist::AxisRef axis) {
  std::string name = axis.name.str();
  if (axis.isWhole())
    return name;
  auto topology = module->getAttrOfType<DictionaryAttr>(
      dist::DistDialect::kTopologyAttrName);
  auto dp = topology ? topology.getAs<IntegerAttr>("dp") : IntegerAttr();
  if (name == "tp" && dp) {
    int64_t replicas = dp.getInt();
    if (axis.pre == 1 && axis.size == replicas)
      return "replicas";
    if (axis.pre == replicas && axis.pre * axis.size == mesh.axisSize(name))
      return "attention";
  }
  return name + "." + std::to_string(axis.pre) + "." +
         std::to_string(axis.size);
}

FlatSymbolRefAttr SharedSymbols::rankGroups(dist::AxesAttr axes) {
  FlatSymbolRefAttr &symbol = groups[axes];
  if (!symbol) {
    dist::Mesh mesh =
        dist::toMesh(symbols.lookup<dist::MeshOp>(axes.getMesh().getValue()));
    std::string name;
    for (dist::AxisRef axis : axes.getAxes())
      name += (name.empty() ? "" : "_") + groupName(module, mesh, axis);
    SmallVector<int64_t> ranks;
    auto members = mesh.groups(axes.getAxes());
    for (int64_t stage = 0; stage < stages; ++stage)
      for (const std::vector<int64_t> &group : members)
        for (int64_t rank : group)
          ranks.push_back(stage * mesh.size() + rank);
    RankGroupsOp::create(builder, module.getLoc(),
                         builder.getStringAttr("groups." + name),
                         builder.getStringAttr(name),
                         builder.getI64IntegerAttr(members.front().size()),
                         builder.getDenseI64ArrayAttr(ranks));
    symbol = ref("groups." + name);
  }
  return symbol;
}

FlatSymbolRefAttr SharedSymbols::fusion(kernel::GroupOp group) {
  FlatSymbolRefAttr &symbol = fusions[group.getSignatureAttr()];
  if (!symbol) {
    SmallVector<Attribute> ops;
    for (Operation &op : group.getBody().front().without_terminator())
      ops.push_back(builder.getStringAttr(op.getName().getStringRef()));
    FusionOp::create(builder, module.getLoc(), group.getSignatureAttr(),
                     builder.getArrayAttr(ops));
    symbol = FlatSymbolRefAttr::get(group.getSignatureAttr());
  }
  return symbol;
}

FlatSymbolRefAttr SharedSymbols::ref(StringRef name) {
  return FlatSymbolRefAttr::get(builder.getContext(), name);
}
