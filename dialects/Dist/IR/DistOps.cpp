// Verifiers of the `dist` dialect. Ids in comments are those of the
// constraints in DistOps.td.

#include "dialects/Dist/IR/DistDialect.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

static ParseResult parseMeshAxes(OpAsmParser &parser, ArrayAttr &axes,
                                 DenseI64ArrayAttr &sizes) {
  SmallVector<Attribute> names;
  SmallVector<int64_t> extents;
  auto parseAxis = [&]() -> ParseResult {
    StringAttr name;
    if (parser.parseAttribute(name) || parser.parseEqual() ||
        parser.parseInteger(extents.emplace_back()))
      return failure();
    names.push_back(name);
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseAxis))
    return failure();
  axes = parser.getBuilder().getArrayAttr(names);
  sizes = parser.getBuilder().getDenseI64ArrayAttr(extents);
  return success();
}

static void printMeshAxes(OpAsmPrinter &printer, MeshOp, ArrayAttr axes,
                          DenseI64ArrayAttr sizes) {
  printer << '[';
  llvm::interleaveComma(
      llvm::zip(axes, sizes.asArrayRef()), printer, [&](auto axis) {
        printer << std::get<0>(axis) << " = " << std::get<1>(axis);
      });
  printer << ']';
}

#define GET_OP_CLASSES
#include "dialects/Dist/IR/DistOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Meshes
//===----------------------------------------------------------------------===//

Mesh saddle::dist::toMesh(MeshOp op) {
  Mesh mesh;
  for (auto name : op.getAxes().getAsValueRange<StringAttr>())
    mesh.names.push_back(name.str());
  llvm::append_range(mesh.sizes, op.getSizes());
  return mesh;
}

FailureOr<Mesh> saddle::dist::lookupMesh(Operation *op,
                                         FlatSymbolRefAttr symbol,
                                         SymbolTableCollection &symbols) {
  auto mesh = symbols.lookupNearestSymbolFrom<MeshOp>(op, symbol);
  if (!mesh)
    return op->emitOpError() << "mesh " << symbol << " is not defined";
  return toMesh(mesh);
}

RankedTensorType saddle::dist::localType(RankedTensorType type,
                                         ShardingAttr sharding,
                                         const Mesh &mesh) {
  SmallVector<int64_t> shape(type.getShape());
  for (auto [extent, axis] : llvm::zip_equal(shape, sharding.getDims())) {
    int64_t factor = mesh.factor(axis);
    if (factor == 1)
      continue;
    if (ShapedType::isDynamic(extent) || extent % factor != 0)
      return {};
    extent /= factor;
  }
  return RankedTensorType::get(shape, type.getElementType());
}

/// Every axis is on the mesh, and no two of them overlap.
static LogicalResult verifyOnMesh(Operation *op, ArrayRef<AxisRef> axes,
                                  FlatSymbolRefAttr symbol, const Mesh &mesh) {
  auto print = [&](AxisRef axis) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    printAxes(stream, axis);
    return text;
  };
  for (auto [i, axis] : llvm::enumerate(axes)) {
    if (!mesh.has(axis))
      return op->emitOpError("axis ")
             << print(axis) << " is not part of mesh " << symbol;
    for (AxisRef other : axes.take_front(i))
      if (!mesh.disjoint(other, axis))
        return op->emitOpError("axis ")
               << print(axis) << " overlaps axis " << print(other);
  }
  return success();
}

LogicalResult MeshOp::verify() {
  // mesh_c1
  if (getAxes().empty() || getAxes().size() != getSizes().size())
    return emitOpError("expected at least one axis and a size for each, but "
                       "got ")
           << getAxes().size() << " names and " << getSizes().size()
           << " sizes";
  llvm::StringSet<> seen;
  for (auto [name, size] :
       llvm::zip(getAxes().getAsValueRange<StringAttr>(), getSizes())) {
    // mesh_c2
    if (size <= 0)
      return emitOpError("expected a positive size of axis \"")
             << name << "\", but got " << size;
    // mesh_c3
    if (!seen.insert(name).second)
      return emitOpError("axis \"") << name << "\" is named twice";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// WeightShardOp
//===----------------------------------------------------------------------===//

RankedTensorType WeightShardOp::getWeightType() {
  return cast<RankedTensorType>(getType());
}

model::StorageAttr WeightShardOp::getWeightStorage() {
  return getStorageAttr() ? getStorageAttr()
                          : model::StorageAttr::getPlain(getContext());
}

/// weight_shard_c7, of one part.
static LogicalResult verifyStorage(WeightShardOp shard, model::WeightOp part) {
  model::StorageAttr storage = shard.getWeightStorage(),
                     stored = part.getWeightStorage();
  auto differs = [&] {
    return shard.emitOpError("expected the storage of part @")
           << part.getSymName() << ", " << stored << ", but got " << storage;
  };
  RankedTensorType type = shard.getWeightType(), global = part.getWeightType();
  model::StorageAttr held = stored.held(global.getElementType());
  auto withoutBlocks = [](model::CompanionAttr companion) {
    return companion.withBlocks({1, 1});
  };
  if (storage.mapCompanions(withoutBlocks) != held.mapCompanions(withoutBlocks))
    return differs();
  for (auto [ours, theirs] :
       llvm::zip_equal(storage.getCompanions(), held.getCompanions())) {
    std::array<int64_t, 2> local = ours.getBlocks(type.getShape()),
                           whole = theirs.getBlocks(global.getShape());
    if (whole[0] % local[0] != 0 || whole[1] % local[1] != 0)
      return shard.emitOpError("expected blocks that divide [")
             << whole[0] << ", " << whole[1] << "] of part @"
             << part.getSymName() << ", but got " << storage;
  }
  if (type.getShape().back() % storage.getValuesPerElement() != 0)
    return shard.emitOpError("expected whole bytes of ")
           << storage.getValuesPerElement() << " values in a row, but got "
           << type << "; split part @" << part.getSymName() << " less finely";
  if (type.getShape().back() % storage.getColumnGrain() != 0)
    return shard.emitOpError("expected whole groups of ")
           << storage.getColumnGrain()
           << " columns, which are rotated together, but got " << type
           << "; split part @" << part.getSymName() << " less finely";
  if (!stored.isPlain() && type.getElementType() != global.getElementType())
    return shard.emitOpError("part @")
           << part.getSymName() << " is stored as " << stored
           << ", so it cannot be widened to " << type.getElementType();
  return success();
}

LogicalResult WeightShardOp::verify() {
  // weight_shard_c1
  if (getParts().empty() || getParts().size() != getShardings().size())
    return emitOpError("expected at least one part and a sharding for each, "
                       "but got ")
           << getParts().size() << " parts and " << getShardings().size()
           << " shardings";
  // weight_shard_c2
  int64_t concat = getConcat();
  if (concat < 0 || concat >= getWeightType().getRank())
    return emitOpError("expected concat to be a dimension of ")
           << getType() << ", but got " << concat;
  return success();
}

LogicalResult WeightShardOp::verifySymbolUses(SymbolTableCollection &symbols) {
  RankedTensorType type = getWeightType();
  int64_t concat = getConcat();
  int64_t total = 0;
  for (auto [symbol, attr] : llvm::zip_equal(getParts(), getShardings())) {
    auto part = symbols.lookupNearestSymbolFrom<model::WeightOp>(
        *this, cast<FlatSymbolRefAttr>(symbol));
    auto sharding = cast<ShardingAttr>(attr);
    // weight_shard_c3
    if (!part)
      return emitOpError() << symbol << " is not a 'model.weight'";
    RankedTensorType global = part.getWeightType();
    if (global.getRank() != type.getRank() ||
        sharding.getDims().size() != static_cast<size_t>(type.getRank()))
      return emitOpError("expected part ")
             << symbol << " and its sharding of rank " << type.getRank()
             << ", but got " << global << " and " << sharding;
    auto mesh = lookupMesh(*this, sharding.getMesh(), symbols);
    if (failed(mesh))
      return failure();
    // weight_shard_c4
    SmallVector<AxisRef> axes;
    llvm::copy_if(sharding.getDims(), std::back_inserter(axes),
                  [](AxisRef axis) { return bool(axis); });
    if (failed(verifyOnMesh(*this, axes, sharding.getMesh(), *mesh)))
      return failure();
    RankedTensorType local = localType(global, sharding, *mesh);
    if (!local || !sharding.getUnreduced().empty())
      return emitOpError("part ") << symbol << " of type " << global
                                  << " cannot be split by " << sharding;
    // weight_shard_c5
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      if (dim != concat && local.getDimSize(dim) != type.getDimSize(dim))
        return emitOpError("expected part ")
               << symbol << " to have extent " << type.getDimSize(dim)
               << " in dimension " << dim << ", but its share is " << local;
    total += local.getDimSize(concat);
    // weight_shard_c6
    Type element = type.getElementType();
    if (element != global.getElementType() && !element.isF32())
      return emitOpError("expected storage of part ")
             << symbol << " (" << global.getElementType()
             << ") or f32, but got " << element;
    // weight_shard_c7
    if (failed(verifyStorage(*this, part)))
      return failure();
  }
  // weight_shard_c5
  if (total != type.getDimSize(concat))
    return emitOpError("expected parts of ")
           << type.getDimSize(concat) << " in all along dimension " << concat
           << ", but got " << total;
  return success();
}

//===----------------------------------------------------------------------===//
// Resharding and collectives
//===----------------------------------------------------------------------===//

LogicalResult ReshardOp::verify() {
  // reshard_c1
  for (auto [sharding, type] : {std::pair(getFrom(), getInput().getType()),
                                std::pair(getTo(), getResult().getType())})
    if (static_cast<int64_t>(sharding.getDims().size()) !=
        cast<RankedTensorType>(type).getRank())
      return emitOpError("expected ")
             << sharding << " to have one entry for each dimension of " << type;
  // reshard_c2
  if (getFrom().getMesh() != getTo().getMesh())
    return emitOpError("expected one mesh, but got ")
           << getFrom().getMesh() << " and " << getTo().getMesh();
  return success();
}

/// all_reduce_c1, all_gather_c1, reduce_scatter_c1. Returns the group size.
static FailureOr<int64_t> verifyAxes(Operation *op, AxesAttr axes,
                                     SymbolTableCollection &symbols) {
  auto mesh = lookupMesh(op, axes.getMesh(), symbols);
  if (failed(mesh) ||
      failed(verifyOnMesh(op, axes.getAxes(), axes.getMesh(), *mesh)))
    return failure();
  int64_t size = 1;
  for (AxisRef axis : axes.getAxes())
    size *= mesh->factor(axis);
  return size;
}

/// all_gather_c2, all_gather_c3, reduce_scatter_c2 and reduce_scatter_c3:
/// `whole` has `dim` multiplied.
static LogicalResult verifyGathered(Operation *op, int64_t dim, Type shareType,
                                    StringRef share, Type wholeType,
                                    StringRef whole, int64_t groupSize) {
  auto from = cast<RankedTensorType>(shareType);
  if (dim < 0 || dim >= from.getRank())
    return op->emitOpError("expected dim below ")
           << from.getRank() << ", but got " << dim;
  SmallVector<int64_t> shape(from.getShape());
  if (!ShapedType::isDynamic(shape[dim]))
    shape[dim] *= groupSize;
  auto expected = RankedTensorType::get(shape, from.getElementType());
  if (expected == wholeType)
    return success();
  return op->emitOpError("expected the ")
         << whole << " to be " << expected << " (the " << share << " " << from
         << " times " << groupSize << " along dimension " << dim
         << "), but got " << wholeType;
}

/// all_gather_c4, reduce_scatter_c4.
template <typename OpTy>
static LogicalResult verifyRows(OpTy op) {
  bool alongRows = op.getDim() == 0;
  if (alongRows == op.getRows().has_value())
    return success();
  return op.emitOpError(alongRows ? "needs 'rows' along dimension 0"
                                  : "has 'rows', but not along dimension 0");
}

LogicalResult AllReduceOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyAxes(*this, getAxesAttr(), symbols);
}

LogicalResult AllGatherOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto size = verifyAxes(*this, getAxesAttr(), symbols);
  if (failed(size) || failed(verifyRows(*this)))
    return failure();
  return verifyGathered(*this, getDim(), getInput().getType(), "input",
                        getResult().getType(), "result", *size);
}

LogicalResult
ReduceScatterOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto size = verifyAxes(*this, getAxesAttr(), symbols);
  if (failed(size) || failed(verifyRows(*this)))
    return failure();
  return verifyGathered(*this, getDim(), getResult().getType(), "result",
                        getInput().getType(), "input", *size);
}
