// Reshards to collectives.

#include "passes/Dist/Passes.h"

#include "passes/Dist/ShardingRules.h"

#include "mlir/IR/Builders.h"

namespace saddle::dist {
#define GEN_PASS_DEF_LOWERRESHARDS
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle::dist;

/// The only dimension that is split, if exactly one is.
static std::optional<int64_t> splitDim(ShardingAttr sharding) {
  std::optional<int64_t> found;
  for (auto [dim, axis] : llvm::enumerate(sharding.getDims())) {
    if (!axis)
      continue;
    if (found)
      return std::nullopt;
    found = dim;
  }
  return found;
}

static FailureOr<Value> lower(ReshardOp op, const Mesh &mesh) {
  OpBuilder builder(op);
  ShardingAttr from = op.getFrom(), to = op.getTo();
  Type type = op.getResult().getType();
  auto axes = [&](ArrayRef<AxisRef> refs) {
    return AxesAttr::get(op.getContext(), from.getMesh(), refs);
  };
  auto groupSize = [&](ArrayRef<AxisRef> refs) {
    int64_t size = 1;
    for (AxisRef axis : refs)
      size *= mesh.factor(axis);
    return size;
  };
  if (from.isUnsplit() && !from.getUnreduced().empty()) {
    if (groupSize(from.getUnreduced()) == 1)
      return op.getInput();
    if (to.isReplicated())
      return Value(AllReduceOp::create(builder, op.getLoc(), type,
                                       op.getInput(),
                                       axes(from.getUnreduced())));
    auto dim = splitDim(to);
    if (dim && to.getUnreduced().empty() &&
        from.getUnreduced() == ArrayRef<AxisRef>(to.getDims()[*dim]))
      return Value(ReduceScatterOp::create(
          builder, op.getLoc(), type, op.getInput(),
          builder.getI64IntegerAttr(*dim), axes(from.getUnreduced())));
  }
  auto dim = splitDim(from);
  if (dim && from.getUnreduced().empty() && to.isReplicated()) {
    AxisRef axis = from.getDims()[*dim];
    if (groupSize(axis) == 1)
      return op.getInput();
    return Value(AllGatherOp::create(builder, op.getLoc(), type, op.getInput(),
                                     builder.getI64IntegerAttr(*dim),
                                     axes(axis)));
  }
  return op.emitOpError("has no collective from ") << from << " to " << to;
}

namespace {

struct LowerReshards : saddle::dist::impl::LowerReshardsBase<LowerReshards> {
  void runOnOperation() override {
    ShardingState state(getOperation());
    WalkResult result = getOperation().walk([&](ReshardOp op) {
      auto value = lower(op, state.mesh());
      if (failed(value))
        return WalkResult::interrupt();
      op.replaceAllUsesWith(*value);
      op.erase();
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
