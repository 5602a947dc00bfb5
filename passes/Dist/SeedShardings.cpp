// Logical dimensions to mesh axes: the tensor-parallel plan of the MiniMax-M2
// family (column-parallel q/k/v and gate/up, row-parallel o and down, vocab
// split), after Shoeybi et al. 2019.

#include "passes/Dist/Passes.h"

#include "passes/Dist/ShardingRules.h"

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
/// caches agree.
class Plan {
public:
  Plan(ModuleOp module, const ShardingState &state)
      : module(module), tp(state.mesh().axisSize("tp")),
        axis{StringAttr::get(module.getContext(), "tp")} {}

  LogicalResult build() {
    auto config = module->getAttrOfType<DictionaryAttr>(
        model::ModelDialect::kConfigAttrName);
    auto get = [&](StringRef name) -> FailureOr<int64_t> {
      auto value = config ? config.getAs<IntegerAttr>(name) : IntegerAttr();
      if (!value)
        return module.emitError("'model.config' needs an integer '")
               << name << "'";
      return value.getInt();
    };
    auto heads = get("num_attention_heads");
    if (failed(heads))
      return failure();
    auto kvHeads = get("num_key_value_heads");
    if (failed(kvHeads))
      return failure();
    auto width = get("intermediate_size");
    if (failed(width))
      return failure();
    auto vocab = get("vocab_size");
    if (failed(vocab))
      return failure();
    if (tp == 1)
      return success();

    auto placesKV = [kv = *kvHeads](int64_t ways) {
      return kv % ways == 0 || ways % kv == 0;
    };
    // Messages offer widths that place everything, not just the field at hand.
    std::string legal = listLegal([&](int64_t ways) {
      return *heads % ways == 0 && placesKV(ways) && *width % ways == 0;
    });
    auto refuse = [&](StringRef field, int64_t value) {
      return module.emitError(field)
             << " = " << value << " cannot be split over tp = " << tp
             << "; legal tp: " << legal;
    };
    if (*heads % tp != 0)
      return refuse("num_attention_heads", *heads);
    axes["q_heads"] = axis;
    if (!placesKV(tp))
      return refuse("num_key_value_heads", *kvHeads);
    if (*kvHeads % tp == 0)
      axes["kv_heads"] = axis;
    else if (*kvHeads > 1)
      axes["kv_heads"] = AxisRef{axis.name, 1, *kvHeads};
    // One KV head is held by every rank: no axis.
    if (*width % tp != 0)
      return refuse("intermediate_size", *width);
    axes["expert_width"] = axis;
    if (*vocab % tp == 0)
      axes["vocab"] = axis;
    else
      module.emitRemark("vocab_size = ")
          << *vocab << " does not divide by tp = " << tp
          << "; embedding and lm_head are replicated";
    return success();
  }

  AxisRef axisOf(StringRef dim) const { return axes.lookup(dim); }

private:
  ModuleOp module;
  int64_t tp;
  AxisRef axis;
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
    for (auto cache : module.getOps<model::KVCacheOp>())
      set(cache, plan.axisOf("kv_heads"));
  }
};

} // namespace
