// Logical dimensions to mesh axes: tensor parallelism after Shoeybi et al. 2019
// (column-parallel q/k/v and gate/up, row-parallel o and down, vocab split).
// The table of dimension names is the only place that knows how one is split;
// how many units there are to share out, weights and states say themselves.

#include "passes/Dist/Passes.h"

#include "dialects/Dist/Interfaces/Sharding.h"
#include "passes/UserError.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

#include <numeric>

namespace saddle::dist {
#define GEN_PASS_DEF_SEEDSHARDINGS
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

//===----------------------------------------------------------------------===//
// Dimension names
//===----------------------------------------------------------------------===//

namespace {

/// How the units of a dimension are shared out. Attention replicas are the
/// major factor of tp, expert groups too; the others are split by the minor
/// factors.
enum class Split {
  Whole,       // every rank holds all of them
  Heads,       // by the attention width tp / dp
  KVHeads,     // likewise, or neighbouring ranks hold the same ones
  Experts,     // by ep
  ExpertWidth, // by tp / ep
  // The table is read for a replica's own tokens, and a dense network works on
  // them, so they are split inside the replica; logits are computed for
  // everybody's rows.
  InReplica,   // by tp / dp where it divides, else whole
  Vocab,       // by tp where it divides, else whole
  SharedWidth, // by tp: everybody's tokens, and one stack of one
};

struct DimensionName {
  StringLiteral name;
  Split split;
  /// The field of config.json that counts its units, and the tensor that has
  /// it: words for messages.
  StringLiteral field = "";
  StringLiteral tensor = "";
};

/// A program with sizes of its own puts its name before those of its
/// dimensions, "draft.q_heads": only dimensions of one prefix are planned
/// together.
constexpr DimensionName kDimensions[] = {
    {"hidden", Split::Whole},
    {"features", Split::Whole},
    {"drafted_vocab", Split::Whole},
    {"router_experts", Split::Whole},
    {"scale", Split::Whole},
    {"q_heads", Split::Heads, "num_attention_heads"},
    {"kv_heads", Split::KVHeads, "num_key_value_heads"},
    {"experts", Split::Experts, "num_local_experts"},
    {"expert_width", Split::ExpertWidth, "intermediate_size"},
    {"shared_experts", Split::Whole},
    {"shared_width", Split::SharedWidth, "shared_intermediate_size"},
    {"dense_width", Split::InReplica, "intermediate_size", "the dense network"},
    {"embedding_vocab", Split::InReplica, "vocab_size", "the embedding"},
    {"vocab", Split::Vocab, "vocab_size", "lm_head"},
};

/// "draft." of "draft.q_heads"; empty without one.
StringRef prefixOf(StringRef name) {
  return name.take_front(name.rfind('.') + 1);
}

const DimensionName *findDimension(StringRef name) {
  for (const DimensionName &known : kDimensions)
    if (known.name == name.drop_front(prefixOf(name).size()))
      return &known;
  return nullptr;
}

std::string listKnownNames() {
  std::string text;
  for (const DimensionName &known : kDimensions)
    text += (text.empty() ? "" : ", ") + known.name.str();
  return text;
}

/// Widths up to `most` that `legal` accepts, for messages.
template <typename Predicate>
std::string listLegal(int64_t most, Predicate legal) {
  std::string text;
  for (int64_t width = 1; width <= most; ++width)
    if (legal(width))
      text += (text.empty() ? "" : ", ") + std::to_string(width);
  return text;
}

//===----------------------------------------------------------------------===//
// Plan
//===----------------------------------------------------------------------===//

/// A split dimension of this module.
struct Dimension {
  StringRef symbol; // with its prefix
  const DimensionName *name;
  int64_t units;
  /// Shares hold a multiple of so many units: those of a byte, or those that
  /// are rotated together.
  int64_t grain;
  /// The symbol that was seen first with it.
  Operation *first;

  /// Into equal shares of whole grains.
  bool splits(int64_t ways) const {
    return units % ways == 0 && units / ways % grain == 0;
  }
};

/// Decides the axis of each logical dimension once, so that weights, norms and
/// states agree.
class Plan {
public:
  Plan(ModuleOp module, const ShardingState &state)
      : module(module), mesh(state.mesh()), tp(mesh.axisSize("tp")),
        axis(StringAttr::get(module.getContext(), "tp")) {}

  LogicalResult build() {
    auto topology =
        module->getAttrOfType<DictionaryAttr>(DistDialect::kTopologyAttrName);
    auto ways = [&](StringRef field) -> int64_t {
      auto attr = topology ? topology.getAs<IntegerAttr>(field) : IntegerAttr();
      return attr ? attr.getInt() : 1;
    };
    dp = ways("dp");
    ep = ways("ep");
    if (failed(countUnits()))
      return failure();
    SmallVector<StringRef> prefixes = {""};
    for (const Dimension &dim : dimensions)
      if (!llvm::is_contained(prefixes, prefixOf(dim.symbol)))
        prefixes.push_back(prefixOf(dim.symbol));
    for (StringRef each : prefixes) {
      prefix = each;
      if (failed(planAttention()) || failed(planExperts()))
        return failure();
      planDividing();
    }
    return success();
  }

  AxisRef axisOf(StringRef dim) const { return axes.lookup(dim); }
  /// The axis over which replicas hold different tokens.
  AxisRef replicas() const { return factor(1, dp); }

private:
  AxisRef factor(int64_t pre, int64_t size) const {
    return mesh.simplify(AxisRef{axis, pre, size});
  }

  //===--- Units ---------------------------------------------------------===//

  LogicalResult countUnits() {
    for (auto weight : module.getOps<model::WeightOp>()) {
      RankedTensorType type = weight.getWeightType();
      int64_t together = weight.getWeightStorage()
                             .held(type.getElementType())
                             .getColumnGrain();
      for (auto [index, dim] :
           llvm::enumerate(weight.getDims().getAsRange<model::DimAttr>())) {
        int64_t extent = type.getDimSize(index), unit = dim.getUnit();
        bool inRow = static_cast<int64_t>(index) + 1 == type.getRank();
        if (failed(count(weight, dim.getName(), extent / unit,
                         inRow ? together / std::gcd(together, unit) : 1)))
          return failure();
      }
    }
    for (auto held : module.getOps<model::StateOpInterface>())
      if (StringRef dim = held.getStateHeadsDim(); !dim.empty())
        if (failed(count(held, dim, held.getStateHeads())))
          return failure();
    return success();
  }

  /// `grain` units of a dimension stay together besides.
  LogicalResult count(Operation *symbol, StringRef name, int64_t units,
                      int64_t grain = 1) {
    const DimensionName *known = findDimension(name);
    if (!known)
      return symbol->emitError("no rule splits a dimension named \"")
             << name << "\"; known names: " << listKnownNames();
    if (known->split == Split::Whole)
      return success();
    for (Dimension &seen : dimensions) {
      if (seen.symbol != name)
        continue;
      seen.grain = std::max(seen.grain, grain);
      if (seen.units == units)
        return success();
      InFlightDiagnostic diag = symbol->emitError("has ")
                                << units << " units of \"" << name
                                << "\", but another symbol has " << seen.units;
      diag.attachNote(seen.first->getLoc()) << "it is defined here";
      return diag;
    }
    dimensions.push_back({name, known, units, grain, symbol});
    return success();
  }

  template <typename Predicate>
  bool allOf(Split split, Predicate holds) const {
    return llvm::all_of(dimensions, [&](const Dimension &dim) {
      return !isPlanned(dim, split) || holds(dim.units);
    });
  }

  /// Calls `visit` for each dimension that is split so.
  template <typename Visitor>
  void forEach(Split split, Visitor visit) const {
    for (const Dimension &dim : dimensions)
      if (isPlanned(dim, split))
        visit(dim);
  }
  /// Whether it is split so, and now.
  bool isPlanned(const Dimension &dim, Split split) const {
    return dim.name->split == split && prefixOf(dim.symbol) == prefix;
  }

  /// The first dimension that is split so and for which `holds` is false.
  template <typename Predicate>
  const Dimension *findFailing(Split split, Predicate holds) const {
    for (const Dimension &dim : dimensions)
      if (isPlanned(dim, split) && !holds(dim.units))
        return &dim;
    return nullptr;
  }

  //===--- Attention -----------------------------------------------------===//

  static bool placesKVHeads(int64_t heads, int64_t ways) {
    return heads % ways == 0 || ways % heads == 0;
  }

  /// Whether `ways` ranks can share the heads: whole query heads for each, and
  /// KV heads either partitioned or replicated evenly.
  bool placesHeads(int64_t ways) const {
    return allOf(Split::Heads,
                 [&](int64_t heads) { return heads % ways == 0; }) &&
           allOf(Split::KVHeads,
                 [&](int64_t heads) { return placesKVHeads(heads, ways); });
  }

  /// Into how many shares `wanted` ranks split the heads. More ranks than
  /// heads: groups of ranks repeat one share.
  int64_t sharesOfHeads(int64_t wanted) const {
    int64_t fewest = wanted;
    forEach(Split::Heads, [&](const Dimension &dim) {
      fewest = std::min(fewest, dim.units);
    });
    if (wanted <= fewest)
      return wanted;
    int64_t ways = fewest;
    while (ways > 1 && (wanted % ways != 0 || !placesHeads(ways)))
      --ways;
    return ways;
  }

  LogicalResult planAttention() {
    int64_t ways = sharesOfHeads(tp / dp);
    if (const Dimension *dim = findFailing(
            Split::Heads, [&](int64_t heads) { return heads % ways == 0; }))
      return refuse(*dim, "dp", dp);
    if (const Dimension *dim = findFailing(Split::KVHeads, [&](int64_t heads) {
          return placesKVHeads(heads, ways);
        }))
      return refuse(*dim, "dp", dp);
    forEach(Split::Heads,
            [&](const Dimension &dim) { axes[dim.symbol] = factor(dp, ways); });
    forEach(Split::KVHeads, [&](const Dimension &dim) {
      axes[dim.symbol] = factor(dp, std::min(ways, dim.units));
    });
    return success();
  }

  //===--- Experts -------------------------------------------------------===//

  LogicalResult planExperts() {
    bool any = false;
    forEach(Split::Experts, [&](const Dimension &) { any = true; });
    if (!any && ep > 1 && prefix.empty())
      return asUserError(
                 "D208f65",
                 module.emitError("the model has no experts to deal to ep = "))
             << ep << " groups; use ep = 1";
    auto deals = [](int64_t groups) {
      return [groups](int64_t experts) { return experts % groups == 0; };
    };
    if (const Dimension *dim = findFailing(Split::Experts, deals(ep)))
      return asUserError("D3ba988", module.emitError(dim->name->field))
             << " = " << dim->units << " cannot be dealt to ep = " << ep
             << " groups; legal ep: " << listLegal(tp, [&](int64_t n) {
                  return tp % n == 0 && allOf(Split::Experts, deals(n)) &&
                         placesWidth(tp, n);
                });
    for (const Dimension &dim : dimensions)
      if (isPlanned(dim, Split::ExpertWidth) &&
          !(tp % ep == 0 && dim.splits(tp / ep)))
        return refuse(dim, "ep", ep);
    if (const Dimension *dim = unsplitShared(tp))
      return refuse(*dim, "", 1);
    forEach(Split::Experts,
            [&](const Dimension &dim) { axes[dim.symbol] = factor(1, ep); });
    forEach(Split::ExpertWidth, [&](const Dimension &dim) {
      axes[dim.symbol] = factor(ep, tp / ep);
    });
    forEach(Split::SharedWidth,
            [&](const Dimension &dim) { axes[dim.symbol] = factor(1, tp); });
    return success();
  }

  /// A shared expert that `ranks` cannot share out.
  const Dimension *unsplitShared(int64_t ranks) const {
    const auto *found = llvm::find_if(dimensions, [&](const Dimension &dim) {
      return isPlanned(dim, Split::SharedWidth) && !dim.splits(ranks);
    });
    return found == dimensions.end() ? nullptr : found;
  }

  bool placesWidth(int64_t ranks, int64_t groups) const {
    return ranks % groups == 0 && !unsplitShared(ranks) &&
           llvm::all_of(dimensions, [&](auto &dim) {
             return !isPlanned(dim, Split::ExpertWidth) ||
                    dim.splits(ranks / groups);
           });
  }

  //===--- Where it divides ----------------------------------------------===//

  void planDividing() {
    auto split = [&](int64_t pre, int64_t ways) {
      return [=](const Dimension &dim) {
        if (dim.units % ways == 0)
          axes[dim.symbol] = factor(pre, ways);
        else
          module.emitRemark(dim.name->field)
              << " = " << dim.units << " does not divide by " << ways << "; "
              << dim.name->tensor << " is replicated";
      };
    };
    forEach(Split::InReplica, split(dp, tp / dp));
    forEach(Split::Vocab, split(1, tp));
  }

  /// Messages offer widths that place everything, not just the dimension at
  /// hand. There is no largest one: shares of heads can be repeated.
  LogicalResult refuse(const Dimension &dim, StringRef divisor, int64_t by) {
    constexpr int64_t kMostListed = 64;
    InFlightDiagnostic diag =
        asUserError("Dd79d6c", module.emitError(dim.name->field))
        << " = " << dim.units << " cannot be split over tp = " << tp;
    if (by > 1)
      diag << ", " << divisor << " = " << by;
    if (dim.grain > 1)
      diag << " in shares of " << dim.grain
           << ", which share a byte or are rotated together";
    return diag << "; legal tp up to " << kMostListed << ": "
                << listLegal(kMostListed, [&](int64_t n) {
                     return n % dp == 0 && placesHeads(sharesOfHeads(n / dp)) &&
                            placesWidth(n, ep);
                   });
  }

  ModuleOp module;
  const Mesh &mesh;
  int64_t tp, dp = 1, ep = 1;
  StringRef prefix; // of the dimensions that are being planned
  StringAttr axis;
  SmallVector<Dimension> dimensions;
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
      for (auto dim : weight.getDims().getAsRange<model::DimAttr>())
        dims.push_back(plan.axisOf(dim.getName()));
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
