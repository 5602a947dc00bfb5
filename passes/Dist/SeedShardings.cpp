// Logical dimensions to mesh axes: the tensor-parallel plan of the MiniMax-M2
// family (column-parallel q/k/v and gate/up, row-parallel o and down, vocab
// split), after Shoeybi et al. 2019.

#include "passes/Dist/Passes.h"

#include "passes/Dist/ShardingRules.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace saddle::dist {
#define GEN_PASS_DEF_SEEDSHARDINGS
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

/// Widths up to 64 that `legal` accepts, for messages.
template <typename Predicate>
static std::string listLegal(Predicate legal) {
  std::string text;
  for (int64_t width = 1; width <= 64; ++width)
    if (legal(width))
      text += (text.empty() ? "" : ", ") + std::to_string(width);
  return text;
}

namespace {

/// Decides the axis of each logical dimension once, so that weights, norms and
/// caches agree. Attention replicas are the major factor of tp, expert groups
/// too; heads and expert widths are split by the minor factors.
class Plan {
public:
  Plan(ModuleOp module, const ShardingState &state)
      : module(module), mesh(state.mesh()), tp(mesh.axisSize("tp")),
        name(StringAttr::get(module.getContext(), "tp")) {}

  LogicalResult build() {
    auto config = module->getAttrOfType<DictionaryAttr>(
        model::ModelDialect::kConfigAttrName);
    auto topology =
        module->getAttrOfType<DictionaryAttr>(DistDialect::kTopologyAttrName);
    auto get = [&](StringRef field, int64_t &value) -> LogicalResult {
      auto attr = config ? config.getAs<IntegerAttr>(field) : IntegerAttr();
      if (!attr)
        return module.emitError("'model.config' needs an integer '")
               << field << "'";
      value = attr.getInt();
      return success();
    };
    auto ways = [&](StringRef field) -> int64_t {
      auto attr = topology ? topology.getAs<IntegerAttr>(field) : IntegerAttr();
      return attr ? attr.getInt() : 1;
    };
    if (failed(get("num_attention_heads", heads)) ||
        failed(get("num_key_value_heads", kvHeads)) ||
        failed(get("intermediate_size", width)) ||
        failed(get("num_local_experts", experts)) ||
        failed(get("vocab_size", vocab)))
      return failure();
    dp = ways("dp");
    ep = ways("ep");
    if (failed(planAttention()) || failed(planExperts()))
      return failure();
    planVocabulary();
    return success();
  }

  AxisRef axisOf(StringRef dim) const { return axes.lookup(dim); }
  /// The axis over which replicas hold different tokens.
  AxisRef replicas() const { return factor(1, dp); }

private:
  AxisRef factor(int64_t pre, int64_t size) const {
    return mesh.simplify(AxisRef{name, pre, size});
  }

  /// Whether `ways` ranks can share the heads: whole query heads for each, and
  /// KV heads either partitioned or replicated evenly.
  bool placesHeads(int64_t ways) const {
    return heads % ways == 0 && (kvHeads % ways == 0 || ways % kvHeads == 0);
  }

  LogicalResult planAttention() {
    int64_t wanted = tp / dp;
    // More ranks than heads: groups of ranks repeat one share.
    int64_t ways = wanted;
    if (wanted > heads)
      for (ways = heads; ways > 1; --ways)
        if (wanted % ways == 0 && placesHeads(ways))
          break;
    if (heads % ways != 0)
      return refuse("num_attention_heads", heads, "dp", dp);
    if (!placesHeads(ways))
      return refuse("num_key_value_heads", kvHeads, "dp", dp);
    axes["q_heads"] = factor(dp, ways);
    axes["kv_heads"] = factor(dp, std::min(ways, kvHeads));
    return success();
  }

  LogicalResult planExperts() {
    if (experts % ep != 0)
      return module.emitError("num_local_experts = ")
             << experts << " cannot be dealt to ep = " << ep
             << " groups; legal ep: " << listLegal([&](int64_t n) {
                  return tp % n == 0 && experts % n == 0;
                });
    if (!placesWidth(tp))
      return refuse("intermediate_size", width, "ep", ep);
    axes["experts"] = factor(1, ep);
    axes["expert_width"] = factor(ep, tp / ep);
    return success();
  }

  bool placesWidth(int64_t ranks) const {
    return ranks % ep == 0 && width % (ranks / ep) == 0;
  }

  /// The table is read for a replica's own tokens, so it is split inside the
  /// replica; logits are computed for everybody's rows, so lm_head is split
  /// over all ranks.
  void planVocabulary() {
    auto split = [&](StringRef dim, int64_t pre, int64_t ways,
                     StringRef tensor) {
      if (vocab % ways == 0)
        axes[dim] = factor(pre, ways);
      else
        module.emitRemark("vocab_size = ")
            << vocab << " does not divide by " << ways << "; " << tensor
            << " is replicated";
    };
    split("embedding_vocab", dp, tp / dp, "the embedding");
    split("vocab", 1, tp, "lm_head");
  }

  /// Messages offer widths that place everything, not just the field at hand.
  LogicalResult refuse(StringRef field, int64_t value, StringRef divisor,
                       int64_t by) {
    InFlightDiagnostic diag = module.emitError(field)
                              << " = " << value
                              << " cannot be split over tp = " << tp;
    if (by > 1)
      diag << ", " << divisor << " = " << by;
    return diag << "; legal tp: " << listLegal([&](int64_t n) {
             return n % dp == 0 && placesHeads(n / dp) && placesWidth(n);
           });
  }

  ModuleOp module;
  const Mesh &mesh;
  int64_t tp, dp = 1, ep = 1;
  int64_t heads = 0, kvHeads = 0, width = 0, experts = 0, vocab = 0;
  StringAttr name;
  llvm::StringMap<AxisRef> axes;
};

struct SeedShardings : saddle::dist::impl::SeedShardingsBase<SeedShardings> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    ShardingState state(module);
    if (!state.hasMesh() || state.mesh().axisSize("tp") == 0) {
      module.emitError("module has no mesh with an axis \"tp\"; run "
                       "dist-attach-mesh first");
      return signalPassFailure();
    }
    Plan plan(module, state);
    if (failed(plan.build()))
      return signalPassFailure();
    auto set = [&](Operation *op, ArrayRef<AxisRef> dims) {
      op->setAttr(DistDialect::kShardingAttrName,
                  ShardingAttr::get(&getContext(), state.meshName(), dims, {}));
    };
    for (auto weight : module.getOps<model::WeightOp>()) {
      SmallVector<AxisRef> dims;
      for (StringRef dim : weight.getDims().getAsValueRange<StringAttr>())
        dims.push_back(plan.axisOf(dim));
      set(weight, dims);
    }
    for (auto cached : module.getOps<model::StateOpInterface>())
      set(cached, plan.axisOf(cached.getStateHeadsDim()));
    // Replicas differ in their tokens: every index tensor is split by them.
    if (AxisRef replicas = plan.replicas())
      for (auto function : module.getOps<func::FuncOp>())
        for (BlockArgument argument : function.getArguments())
          if (auto type = dyn_cast<RankedTensorType>(argument.getType())) {
            SmallVector<AxisRef> dims(type.getRank());
            dims[0] = replicas;
            function.setArgAttr(
                argument.getArgNumber(), DistDialect::kShardingAttrName,
                ShardingAttr::get(&getContext(), state.meshName(), dims, {}));
          }
  }
};

} // namespace
