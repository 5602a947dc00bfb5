// Linears with one input become one linear over concatenated shards; so do an
// expert's gate and up stacks. The weights are never touched: the shard's
// recipe says how to lay them down.

#include "passes/Dist/Passes.h"
#include "passes/StraightLine.h"

#include "dialects/Dist/IR/DistDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"

#include <numeric>

namespace saddle::dist {
#define GEN_PASS_DEF_FUSEPROJECTIONS
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

namespace {

class Fuser {
public:
  explicit Fuser(ModuleOp module)
      : module(module), symbols(module), builder(module.getContext()) {}

  void run() {
    for (auto function : module.getOps<func::FuncOp>()) {
      fuseLinears(function);
      function.walk([&](model::ExpertsOp op) { fuseGateUp(op); });
    }
    // All uses at once: asking for each symbol would walk the module as often.
    llvm::DenseSet<StringAttr> used;
    if (auto uses = SymbolTable::getSymbolUses(&module.getBodyRegion()))
      for (SymbolTable::SymbolUse use : *uses)
        used.insert(use.getSymbolRef().getRootReference());
    for (WeightShardOp shard : replaced)
      if (!used.contains(shard.getSymNameAttr()))
        symbols.erase(shard);
  }

private:
  /// What linears must share to be one launch.
  using Key = std::tuple<Value, Type, Type, Attribute, int64_t>;

  void fuseLinears(func::FuncOp function) {
    llvm::MapVector<Key, SmallVector<model::LinearOp>> byInput;
    function.walk([&](model::LinearOp op) {
      auto shard = symbols.lookup<WeightShardOp>(op.getWeight());
      if (!shard)
        return;
      Key key{op.getInput(),
              cast<RankedTensorType>(op.getType()).getElementType(),
              shard.getWeightType().getElementType(),
              shard.getWeightStorage().mapCompanions(
                  [](model::CompanionAttr companion) {
                    return companion.withBlocks({1, 1});
                  }),
              op.getActGroup().value_or(0)};
      byInput[key].push_back(op);
    });
    for (auto &[key, linears] : byInput)
      if (linears.size() > 1)
        fuse(linears);
  }

  void fuse(MutableArrayRef<model::LinearOp> linears) {
    SmallVector<FlatSymbolRefAttr> weights;
    SmallVector<Type> types;
    int64_t columns = 0;
    for (model::LinearOp op : linears) {
      weights.push_back(op.getWeightAttr());
      types.push_back(op.getType());
      columns += cast<RankedTensorType>(op.getType()).getDimSize(1);
    }
    model::LinearOp first = linears.front();
    auto type = cast<RankedTensorType>(first.getType());
    builder.setInsertionPoint(first);
    auto fused = model::LinearOp::create(
        builder, first.getLoc(),
        RankedTensorType::get({type.getDimSize(0), columns},
                              type.getElementType()),
        first.getInput(), concatenate(weights, joinDim(first)),
        first.getActGroupAttr());
    auto split = model::SplitOp::create(builder, first.getLoc(), types, fused);
    for (auto [op, result] : llvm::zip_equal(linears, split.getResults())) {
      op.replaceAllUsesWith(result);
      op->erase();
    }
  }

  void fuseGateUp(model::ExpertsOp op) {
    if (op.getGateUp().size() != 2)
      return;
    SmallVector<FlatSymbolRefAttr> weights;
    for (Attribute symbol : op.getGateUp())
      weights.push_back(cast<FlatSymbolRefAttr>(symbol));
    auto gate = symbols.lookup<WeightShardOp>(weights[0].getValue());
    auto up = symbols.lookup<WeightShardOp>(weights[1].getValue());
    if (!gate || !up ||
        gate.getWeightType().getElementType() !=
            up.getWeightType().getElementType() ||
        !gate.getWeightStorage().isLike(up.getWeightStorage()))
      return;
    op.setGateUpAttr(builder.getArrayAttr(concatenate(weights, joinDim(op))));
  }

  /// The dimension along which an op's first weight may be joined with others.
  static int64_t joinDim(model::WeightUserOpInterface op) {
    return op.getWeightUses().front().joins.value();
  }

  /// The storage of a weight of `storage` and `shape` with `next` behind it
  /// along `dim`: the finest blocks of both, so that the part starts at a block
  /// boundary of the whole.
  static model::StorageAttr join(model::StorageAttr storage,
                                 ArrayRef<int64_t> shape, WeightShardOp next,
                                 int64_t dim) {
    size_t axis = dim + 2 - shape.size(), i = 0;
    ArrayRef<int64_t> nextShape = next.getWeightType().getShape();
    return storage.mapCompanions([&](model::CompanionAttr companion) {
      model::CompanionAttr other = next.getWeightStorage().getCompanions()[i++];
      std::array<int64_t, 2> blocks = companion.getBlocks(shape),
                             others = other.getBlocks(nextShape);
      for (size_t each = 0; each < 2; ++each)
        blocks[each] = std::gcd(blocks[each], others[each]);
      blocks[axis] = std::gcd(blocks[axis], shape[dim]);
      return companion.withBlocks(blocks);
    });
  }

  /// The shard that holds the parts of `weights` one after another along
  /// `dim`; made once for all functions.
  FlatSymbolRefAttr concatenate(ArrayRef<FlatSymbolRefAttr> weights,
                                int64_t dim) {
    std::string name;
    SmallVector<Attribute> parts, shardings;
    model::StorageAttr storage;
    SmallVector<Location> locs;
    RankedTensorType type;
    SmallVector<int64_t> shape;
    WeightShardOp last;
    for (FlatSymbolRefAttr symbol : weights) {
      auto shard = symbols.lookup<WeightShardOp>(symbol.getValue());
      last = shard;
      name += (name.empty() ? "" : "+") + symbol.getValue().str();
      llvm::append_range(parts, shard.getParts());
      llvm::append_range(shardings, shard.getShardings());
      type = shard.getWeightType();
      if (shape.empty()) {
        shape.assign(type.getShape().begin(), type.getShape().end());
        storage = shard.getWeightStorage();
      } else {
        storage = join(storage, shape, shard, dim);
        shape[dim] += type.getDimSize(dim);
      }
      locs.push_back(shard.getLoc());
      replaced.insert(shard);
    }
    if (symbols.lookup(name))
      return FlatSymbolRefAttr::get(module.getContext(), name);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfter(last);
    auto op = WeightShardOp::create(
        builder, locs.front(), builder.getStringAttr(name),
        builder.getArrayAttr(parts), builder.getArrayAttr(shardings),
        builder.getI64IntegerAttr(dim),
        storage.isPlain() ? model::StorageAttr() : storage,
        TypeAttr::get(RankedTensorType::get(shape, type.getElementType())));
    symbols.insert(op);
    return FlatSymbolRefAttr::get(op.getSymNameAttr());
  }

  ModuleOp module;
  SymbolTable symbols;
  OpBuilder builder;
  llvm::SetVector<WeightShardOp> replaced;
};

struct FuseProjections
    : saddle::dist::impl::FuseProjectionsBase<FuseProjections> {
  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    Fuser(getOperation()).run();
  }
};

} // namespace
