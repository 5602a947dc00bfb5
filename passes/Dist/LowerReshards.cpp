// Reshards to collectives.

#include "passes/Dist/Passes.h"
#include "passes/StraightLine.h"

#include "dialects/Dist/Interfaces/Sharding.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace saddle::dist {
#define GEN_PASS_DEF_LOWERRESHARDS
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle::dist;

namespace {

class Lowering {
public:
  Lowering(const Mesh &mesh, bool replicas, RowLayout ragged)
      : mesh(mesh), replicas(replicas), ragged(ragged) {}

  /// The value that replaces a reshard. First the partial sums along axes that
  /// the target splits its rows by are scattered, then the others are summed:
  /// the sum then moves fewer rows. Gathers come last.
  FailureOr<Value> lower(ReshardOp op) {
    OpBuilder builder(op);
    ShardingAttr from = op.getFrom(), to = op.getTo();
    Value value = op.getInput();
    // Axes of one rank split nothing.
    SmallVector<AxisRef> unreduced = mesh.merge(from.getUnreduced());
    SmallVector<AxisRef> dims = simplified(from.getDims());
    const SmallVector<AxisRef> target = simplified(to.getDims());

    for (auto [dim, wanted] : llvm::enumerate(target)) {
      AxisRef added = addedFactor(dims[dim], wanted);
      if (!added || !covers(unreduced, added))
        continue;
      value = reduceScatter(builder, op, value, dim, added);
      unreduced = mesh.remove(unreduced, added);
      dims[dim] = wanted;
    }
    SmallVector<AxisRef> summed = mesh.merge(unreduced);
    if (to.getUnreduced().empty() && !unreduced.empty()) {
      if (!summed.empty())
        value = AllReduceOp::create(builder, op.getLoc(), value.getType(),
                                    value, axes(op, summed));
      unreduced.clear();
    }
    for (auto [dim, wanted] : llvm::enumerate(target)) {
      if (dims[dim] == wanted)
        continue;
      AxisRef gathered = addedFactor(wanted, dims[dim]);
      if (!gathered)
        continue;
      value = allGather(builder, op, value, dim, gathered);
      dims[dim] = wanted;
    }
    if (dims != target || unreduced != mesh.merge(to.getUnreduced()) ||
        value.getType() != op.getType())
      return op.emitOpError("has no collective from ") << from << " to " << to;
    return value;
  }

private:
  static AxesAttr axes(ReshardOp op, ArrayRef<AxisRef> refs) {
    return AxesAttr::get(op.getContext(), op.getFrom().getMesh(), refs);
  }

  SmallVector<AxisRef> simplified(ArrayRef<AxisRef> refs) {
    return llvm::map_to_vector(
        refs, [&](AxisRef axis) { return mesh.simplify(axis); });
  }

  /// The factor by which `fine` splits more than `coarse`, where `coarse` is
  /// nothing or a major factor of it.
  AxisRef addedFactor(AxisRef coarse, AxisRef fine) {
    if (!fine || coarse == fine)
      return {};
    if (!coarse)
      return fine;
    if (!mesh.isMajorFactor(coarse, fine))
      return {};
    SmallVector<AxisRef> left = mesh.remove(fine, coarse);
    return left.size() == 1 ? left.front() : AxisRef();
  }

  bool covers(ArrayRef<AxisRef> unreduced, AxisRef axis) {
    int64_t before = 1, after = 1;
    for (AxisRef ref : unreduced)
      before *= mesh.factor(ref);
    for (AxisRef ref : mesh.remove(unreduced, axis))
      after *= mesh.factor(ref);
    return before == after * mesh.factor(axis);
  }

  /// Rows of replicas are ragged; rows of one replica's ranks are
  /// shares.
  RowLayoutAttr layout(OpBuilder &builder, size_t dim) {
    if (dim != 0)
      return {};
    return RowLayoutAttr::get(builder.getContext(),
                              replicas ? ragged : RowLayout::Shares);
  }

  static RankedTensorType scaled(Value value, size_t dim, int64_t times,
                                 int64_t over) {
    auto type = cast<RankedTensorType>(value.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[dim] = shape[dim] * times / over;
    return RankedTensorType::get(shape, type.getElementType());
  }

  Value reduceScatter(OpBuilder &builder, ReshardOp op, Value value, size_t dim,
                      AxisRef axis) {
    return ReduceScatterOp::create(
        builder, op.getLoc(), scaled(value, dim, 1, mesh.factor(axis)), value,
        builder.getI64IntegerAttr(dim), axes(op, axis), layout(builder, dim));
  }

  Value allGather(OpBuilder &builder, ReshardOp op, Value value, size_t dim,
                  AxisRef axis) {
    return AllGatherOp::create(
        builder, op.getLoc(), scaled(value, dim, mesh.factor(axis), 1), value,
        builder.getI64IntegerAttr(dim), axes(op, axis), layout(builder, dim));
  }

  const Mesh &mesh;
  bool replicas;
  RowLayout ragged;
};

struct LowerReshards : saddle::dist::impl::LowerReshardsBase<LowerReshards> {
  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    ShardingState state(getOperation());
    auto topology = getOperation()->getAttrOfType<DictionaryAttr>(
        DistDialect::kTopologyAttrName);
    auto dp = topology ? topology.getAs<IntegerAttr>("dp") : IntegerAttr();
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      auto ragged = raggedLayout(function);
      if (failed(ragged))
        return signalPassFailure();
      Lowering lowering(state.mesh(), dp && dp.getInt() > 1, *ragged);
      WalkResult result = function.walk([&](ReshardOp op) {
        auto value = lowering.lower(op);
        if (failed(value))
          return WalkResult::interrupt();
        op.replaceAllUsesWith(*value);
        op.erase();
        return WalkResult::advance();
      });
      if (result.wasInterrupted())
        return signalPassFailure();
    }
  }

private:
  /// How rows of replicas lie: what dist-choose-exchanges chose, or packed.
  static FailureOr<RowLayout> raggedLayout(func::FuncOp function) {
    auto choices =
        function->getAttrOfType<DictionaryAttr>(DistDialect::kChoicesAttrName);
    auto rows = choices ? choices.getAs<StringAttr>("rows") : StringAttr();
    if (!rows)
      return RowLayout::Packed;
    auto layout = symbolizeRowLayout(rows.getValue());
    if (layout && *layout != RowLayout::Shares)
      return *layout;
    return function.emitError("'dist.choices' rows must be packed or padded, "
                              "but got \"")
           << rows.getValue() << "\"";
  }
};

} // namespace
