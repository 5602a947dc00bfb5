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

void saddle::engine::createSources(OpBuilder &builder, model::WeightOp weight) {
  RankedTensorType type = weight.getWeightType();
  IntegerAttr stack =
      builder.getI64IntegerAttr(type.getRank() == 3 ? type.getDimSize(0) : 0);
  RankedTensorType member = memberType(type, type.getElementType());
  SourceOp::create(builder, weight.getLoc(), weight.getSymNameAttr(),
                   weight.getSourceAttr(), stack,
                   /*companion=*/model::CompanionKindAttr(),
                   /*of=*/FlatSymbolRefAttr(), /*ignored=*/StringAttr(),
                   TypeAttr::get(member));
  for (model::CompanionAttr companion :
       weight.getWeightStorage().getCompanions()) {
    auto kind = model::CompanionKindAttr::get(builder.getContext(),
                                              companion.getKind());
    auto grid = RankedTensorType::get(companion.getShape(member.getShape()),
                                      companion.getType());
    SourceOp::create(builder, weight.getLoc(),
                     builder.getStringAttr(companionName(weight.getSymName(),
                                                         companion.getKind())),
                     companion.getSource(), stack, kind,
                     FlatSymbolRefAttr::get(weight.getSymNameAttr()),
                     StringAttr(), TypeAttr::get(grid));
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
static PieceAttr companionPiece(model::WeightOp weight,
                                model::CompanionAttr stored, const Part &part,
                                std::array<int64_t, 2> blocks,
                                bool alongColumns, int64_t offset) {
  std::array<int64_t, 2> from =
      stored.getBlocks(weight.getWeightType().getShape());
  MLIRContext *context = weight.getContext();
  return PieceAttr::get(
      context,
      FlatSymbolRefAttr::get(
          context, companionName(weight.getSymName(), stored.getKind())),
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
                                            const SymbolTable &symbols) {
  MLIRContext *context = builder.getContext();
  RankedTensorType type = shard.getWeightType();
  model::StorageAttr storage = shard.getWeightStorage();
  if (std::optional<std::string> reason = whyNotExecutable(storage))
    return shard.emitError("storage ")
           << storage << " cannot be executed: " << *reason;
  // The last dimension counts columns, also of a vector, which is one row.
  int64_t concat = shard.getConcat();
  bool alongColumns = concat == type.getRank() - 1;
  if (shard.getParts().size() > 1 && concat < type.getRank() - 2)
    return shard.emitError("a recipe cannot concatenate members of stacks");
  SmallVector<Attribute> values;
  SmallVector<SmallVector<Attribute>> pieces(storage.getCompanions().size());
  int64_t offset = 0;
  for (auto [symbol, attr] :
       llvm::zip_equal(shard.getParts(), shard.getShardings())) {
    auto source = cast<FlatSymbolRefAttr>(symbol);
    auto sharding = cast<dist::ShardingAttr>(attr);
    auto weight = symbols.lookup<model::WeightOp>(source.getValue());
    dist::Mesh mesh = dist::toMesh(
        symbols.lookup<dist::MeshOp>(sharding.getMesh().getValue()));
    Part part = describePart(weight, sharding, mesh);
    values.push_back(PieceAttr::get(context, source, part.member, part.members,
                                    part.row, part.rows, part.col, part.cols,
                                    alongColumns ? 0 : offset,
                                    alongColumns ? offset : 0, {1, 1, 1, 1}));
    for (auto [list, ours, stored] :
         llvm::zip_equal(pieces, storage.getCompanions(),
                         weight.getWeightStorage().getCompanions()))
      list.push_back(companionPiece(weight, stored, part,
                                    ours.getBlocks(type.getShape()),
                                    alongColumns, offset));
    offset += alongColumns ? part.cols : part.rows;
  }
  WeightOp::create(
      builder, shard.getLoc(), shard.getSymNameAttr(), arena,
      /*offset=*/IntegerAttr(), builder.getArrayAttr(values),
      TypeAttr::get(MemRefType::get(type.getShape(), type.getElementType())));
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
