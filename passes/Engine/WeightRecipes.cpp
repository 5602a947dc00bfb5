// A recipe is a list of rectangles (docs/EngineFormat.md, "Recipes"). Elements
// and companions use one formula: companions are rectangles whose entries cover
// blocks of cells instead of one.

#include "passes/Engine/WeightRecipes.h"

#include "passes/Target/KernelStorage.h"

#include "mlir/IR/Builders.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::engine;

std::string saddle::engine::companionName(StringRef weight,
                                          model::CompanionKind kind) {
  return (weight + "." + model::stringifyCompanionKind(kind)).str();
}

static RankedTensorType memberType(RankedTensorType type, Type element) {
  ArrayRef<int64_t> shape = type.getShape();
  return RankedTensorType::get(shape.size() == 3 ? shape.drop_front() : shape,
                               element);
}

/// How a stored tensor becomes a matrix of `shape` in memory, an element of
/// which holds `per` of its values; null when it is one.
static UnpackingAttr unpackingOf(MLIRContext *context,
                                 model::PackingAttr packing, bool transposed,
                                 int64_t per, int64_t plus,
                                 ArrayRef<int64_t> shape) {
  // Words of one value that is an element are read as they are.
  if (!packing && !transposed)
    return {};
  return UnpackingAttr::get(context, packing, transposed, per, plus, shape[0],
                            shape[1] / per);
}

/// The tensor of a checkpoint that a matrix of `type` is stored in.
static RankedTensorType
storedType(RankedTensorType type, model::PackingAttr packing, bool transposed) {
  SmallVector<int64_t> shape(type.getShape());
  Type element = type.getElementType();
  if (transposed)
    std::swap(shape[0], shape[1]);
  if (packing) {
    int64_t &along = shape[packing.getRows() ? 0 : 1];
    along = llvm::divideCeil(along, packing.getOrder().size());
    element = packing.getWord();
  }
  return RankedTensorType::get(shape, element);
}

SharedSources::SharedSources(ModuleOp module) {
  for (auto weight : module.getOps<model::WeightOp>())
    firsts.try_emplace({weight.getCheckpointAttr(), weight.getSourceAttr()},
                       weight);
}

model::WeightOp SharedSources::of(model::WeightOp weight) const {
  return firsts.lookup({weight.getCheckpointAttr(), weight.getSourceAttr()});
}

void saddle::engine::createSources(OpBuilder &builder, model::WeightOp weight) {
  RankedTensorType type = weight.getWeightType();
  // A stack of one may be a tensor of its own.
  bool isStack = type.getRank() == 3 && weight.getSource().contains("{}");
  IntegerAttr stack =
      builder.getI64IntegerAttr(isStack ? type.getDimSize(0) : 0);
  RankedTensorType member = memberType(type, type.getElementType());
  model::StorageAttr storage = weight.getWeightStorage();
  MLIRContext *context = builder.getContext();
  SourceOp::create(
      builder, weight.getLoc(), weight.getSymNameAttr(), weight.getSourceAttr(),
      weight.getCheckpointAttr(), stack,
      /*companion=*/model::CompanionKindAttr(),
      /*of=*/FlatSymbolRefAttr(), /*ignored=*/StringAttr(),
      /*group=*/IntegerAttr(), /*zero=*/UnitAttr(), /*over=*/IntegerAttr(),
      unpackingOf(context, storage.getPacking(), storage.getTransposed(),
                  storage.held(type.getElementType()).getValuesPerElement(),
                  storage.getPlus(), member.getShape()),
      TypeAttr::get(
          storedType(member, storage.getPacking(), storage.getTransposed())));
  for (model::CompanionAttr companion : storage.getCompanions()) {
    auto kind = model::CompanionKindAttr::get(context, companion.getKind());
    auto grid = RankedTensorType::get(companion.getShape(member.getShape()),
                                      companion.getType());
    SourceOp::create(
        builder, weight.getLoc(),
        builder.getStringAttr(
            companionName(weight.getSymName(), companion.getKind())),
        companion.getSource(), weight.getCheckpointAttr(), stack, kind,
        FlatSymbolRefAttr::get(weight.getSymNameAttr()), StringAttr(),
        IntegerAttr(), UnitAttr(),
        companion.getOver() ? builder.getI64IntegerAttr(companion.getOver())
                            : IntegerAttr(),
        unpackingOf(context, companion.getPacking(), companion.getTransposed(),
                    /*per=*/1, companion.getPlus(), grid.getShape()),
        TypeAttr::get(storedType(grid, companion.getPacking(),
                                 companion.getTransposed())));
  }
}

namespace {

/// One part of a shard, as [members, rows, cols] whatever the rank.
struct Part {
  dist::RankValueAttr member, row, col;
  int64_t members = 1, rows = 1, cols = 1;
};

} // namespace

static Part describePart(model::WeightOp weight, dist::ShardingAttr sharding,
                         const dist::Mesh &mesh) {
  RankedTensorType type = weight.getWeightType();
  RankedTensorType local = dist::localType(type, sharding, mesh);
  MLIRContext *context = weight.getContext();
  auto start = [&](int64_t dim) {
    dist::RankIndex index = mesh.rankIndex(sharding.getDims()[dim]);
    int64_t step = index.modulus > 1 ? local.getDimSize(dim) : 0;
    return dist::RankValueAttr::get(context, 0, index.divisor, index.modulus,
                                    step);
  };
  Part part;
  part.member = part.row = part.col =
      dist::RankValueAttr::getConstant(context, 0);
  int64_t last = type.getRank() - 1;
  part.col = start(last);
  part.cols = local.getDimSize(last);
  if (last >= 1) {
    part.row = start(last - 1);
    part.rows = local.getDimSize(last - 1);
  }
  if (last >= 2) {
    part.member = start(0);
    part.members = local.getDimSize(0);
  }
  return part;
}

/// The piece of a companion's grid that serves `part`, with its first cell at
/// `offset` of the whole weight.
static PieceAttr companionPiece(model::WeightOp weight, StringRef source,
                                model::CompanionAttr stored, const Part &part,
                                std::array<int64_t, 2> blocks,
                                bool alongColumns, int64_t offset) {
  std::array<int64_t, 2> from =
      stored.getBlocks(weight.getWeightType().getShape());
  MLIRContext *context = weight.getContext();
  return PieceAttr::get(
      context,
      FlatSymbolRefAttr::get(context, companionName(source, stored.getKind())),
      part.member, part.members, part.row,
      llvm::divideCeil(part.rows, blocks[0]), part.col,
      llvm::divideCeil(part.cols, blocks[1]),
      alongColumns ? 0 : offset / blocks[0],
      alongColumns ? offset / blocks[1] : 0,
      {from[0], from[1], blocks[0], blocks[1]});
}

LogicalResult saddle::engine::createWeights(OpBuilder &builder,
                                            dist::WeightShardOp shard,
                                            FlatSymbolRefAttr arena,
                                            const SymbolTable &symbols,
                                            const SharedSources &sources) {
  MLIRContext *context = builder.getContext();
  RankedTensorType type = shard.getWeightType();
  model::StorageAttr storage = shard.getWeightStorage();
  if (std::optional<std::string> reason =
          whyNotExecutable(type.getElementType(), storage))
    return shard.emitError("storage ")
           << storage << " of " << type.getElementType()
           << " cannot be executed: " << *reason;
  // The last dimension counts columns, also of a vector, which is one row.
  int64_t concat = shard.getConcat();
  bool alongColumns = concat == type.getRank() - 1;
  if (shard.getParts().size() > 1 && concat < type.getRank() - 2)
    return shard.emitError("a recipe cannot concatenate members of stacks");
  int64_t per = storage.getValuesPerElement();
  RankedTensorType held = storage.inMemory(type);
  SmallVector<Attribute> values;
  SmallVector<SmallVector<Attribute>> pieces(storage.getCompanions().size());
  int64_t offset = 0;
  for (auto [symbol, attr] :
       llvm::zip_equal(shard.getParts(), shard.getShardings())) {
    auto sharding = cast<dist::ShardingAttr>(attr);
    auto weight = symbols.lookup<model::WeightOp>(
        cast<FlatSymbolRefAttr>(symbol).getValue());
    auto source = FlatSymbolRefAttr::get(sources.of(weight).getSymNameAttr());
    Type element = weight.getWeightType().getElementType();
    if (weight.getWeightStorage().getPacking() &&
        !element.isUnsignedInteger() && per == 1)
      return shard.emitError("storage ")
             << weight.getWeightStorage() << " of " << element
             << " cannot be executed: only integers and numbers of four bits "
                "may share words";
    dist::Mesh mesh = dist::toMesh(
        symbols.lookup<dist::MeshOp>(sharding.getMesh().getValue()));
    Part part = describePart(weight, sharding, mesh);
    // Elements in memory may hold several values of a row.
    auto col = dist::RankValueAttr::get(
        context, part.col.getBase() / per, part.col.getDivisor(),
        part.col.getModulus(), part.col.getStep() / per);
    values.push_back(PieceAttr::get(
        context, source, part.member, part.members, part.row, part.rows, col,
        part.cols / per, alongColumns ? 0 : offset,
        alongColumns ? offset / per : 0, {1, 1, 1, 1}));
    for (auto [list, ours, stored] :
         llvm::zip_equal(pieces, storage.getCompanions(),
                         weight.getWeightStorage().getCompanions()))
      list.push_back(companionPiece(weight, source.getValue(), stored, part,
                                    ours.getBlocks(type.getShape()),
                                    alongColumns, offset));
    offset += alongColumns ? part.cols : part.rows;
  }
  WeightOp::create(
      builder, shard.getLoc(), shard.getSymNameAttr(), arena,
      /*offset=*/IntegerAttr(), builder.getArrayAttr(values),
      TypeAttr::get(MemRefType::get(held.getShape(), held.getElementType())));
  for (auto [list, companion] :
       llvm::zip_equal(pieces, storage.getCompanions()))
    WeightOp::create(
        builder, shard.getLoc(),
        builder.getStringAttr(
            companionName(shard.getSymName(), companion.getKind())),
        arena, IntegerAttr(), builder.getArrayAttr(list),
        TypeAttr::get(MemRefType::get(companion.getShape(type.getShape()),
                                      companion.getType())));
  return success();
}
