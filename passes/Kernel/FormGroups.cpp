// Groups ops that one launch may do together. Each pattern lists the ops it
// wants, starting from an anchor; forming the group is common to all.

#include "passes/Kernel/Passes.h"

#include "passes/Kernel/Groups.h"

#include "dialects/Dist/IR/DistDialect.h"
#include "dialects/Kernel/IR/KernelDialect.h"
#include "dialects/Model/IR/ModelDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace saddle::kernel {
#define GEN_PASS_DEF_FORMGROUPS
#include "passes/Kernel/Passes.h.inc"
} // namespace saddle::kernel

using namespace mlir;
using namespace saddle;
using namespace saddle::kernel;

//===----------------------------------------------------------------------===//
// What may be a group
//===----------------------------------------------------------------------===//

/// Whether the ops, in block order, can run as one at the place of the last:
/// nothing in between may use what they produce or touch memory that they
/// touch.
static bool canGroup(ArrayRef<Operation *> ops) {
  llvm::SmallDenseSet<Operation *> members(ops.begin(), ops.end());
  bool touchesMemory =
      llvm::any_of(ops, [](Operation *op) { return !isMemoryEffectFree(op); });
  for (Operation *op = ops.front(); op != ops.back(); op = op->getNextNode()) {
    if (members.contains(op))
      continue;
    if (touchesMemory && !isMemoryEffectFree(op))
      return false;
    for (Value operand : op->getOperands())
      if (members.contains(operand.getDefiningOp()))
        return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

namespace {
/// A candidate: its signature and its ops in block order.
struct Candidate {
  std::string signature;
  SmallVector<Operation *> ops;
};
} // namespace

/// The only user of kind OpTy of `value`, if there is exactly one.
template <typename OpTy>
static OpTy soleUser(Value value) {
  OpTy found;
  for (Operation *user : value.getUsers())
    if (auto op = dyn_cast<OpTy>(user)) {
      if (found)
        return {};
      found = op;
    }
  return found;
}

/// sum_of_squares, (all_reduce), both rms_scales, both ropes, kv_append. Each
/// value must play its part: column 0 scales the first input, column 1 the
/// second, which ends up as keys in the cache.
static std::optional<Candidate> matchQKNorm(model::SumOfSquaresOp sum) {
  if (sum.getInputs().size() != 2)
    return std::nullopt;
  Candidate candidate{"qk_norm_rope_kv_append", {sum}};
  Value sums = sum.getResult();
  if (auto reduce = soleUser<dist::AllReduceOp>(sums)) {
    candidate.signature = "qk_norm_all_reduce_rope_kv_append";
    candidate.ops.push_back(reduce);
    sums = reduce.getResult();
  }
  model::RMSScaleOp scales[2];
  for (Operation *user : sums.getUsers())
    if (auto scale = dyn_cast<model::RMSScaleOp>(user);
        scale && scale.getColumn() < 2) {
      if (scales[scale.getColumn()])
        return std::nullopt; // not clear which one the norm means
      scales[scale.getColumn()] = scale;
    }
  for (auto [scale, input] : llvm::zip_equal(scales, sum.getInputs()))
    if (!scale || scale.getInput() != input)
      return std::nullopt;
  auto ropeQ = soleUser<model::RopeOp>(scales[0].getResult());
  auto ropeK = soleUser<model::RopeOp>(scales[1].getResult());
  if (!ropeQ || !ropeK)
    return std::nullopt;
  auto append = soleUser<model::KVAppendOp>(ropeK.getResult());
  if (!append || append.getK() != ropeK.getResult())
    return std::nullopt;
  candidate.ops.append({scales[0], scales[1], ropeQ, ropeK, append});
  return candidate;
}

/// The collectives that finish a partial sum, last one first: an all-reduce, a
/// reduce-scatter, or a reduce-scatter followed by an all-reduce. Empty when
/// `value` is none of these or something else reads it on the way.
static SmallVector<Operation *> finishedSum(Value value) {
  SmallVector<Operation *> ops;
  Operation *op = value.getDefiningOp();
  while (isa_and_nonnull<dist::AllReduceOp, dist::ReduceScatterOp>(op)) {
    if (!ops.empty() && !op->hasOneUse())
      return ops;
    ops.push_back(op);
    op = op->getOperand(0).getDefiningOp();
  }
  return ops;
}

static std::string nameOf(Operation *op) {
  return op->getName().stripDialect().str();
}

/// Whether sums of the function are to be finished in launches of their own:
/// what dist-choose-exchanges calls "all_reduce".
static bool finishesSumsAlone(Operation *op) {
  auto choices =
      op->getParentOfType<func::FuncOp>()->getAttrOfType<DictionaryAttr>(
          dist::DistDialect::kChoicesAttrName);
  auto reduction =
      choices ? choices.getAs<StringAttr>("reduction") : StringAttr();
  return reduction && reduction == "all_reduce";
}

/// (reduce_scatter), (all_reduce), (add), rms_norm, (all_gather); the norm
/// alone is not worth a group.
static std::optional<Candidate> matchNorm(model::RMSNormOp norm) {
  Candidate candidate{"", {norm}};
  auto prepend = [&](ArrayRef<Operation *> lastFirst) {
    for (Operation *op : lastFirst)
      candidate.ops.insert(candidate.ops.begin(), op);
  };
  Value input = norm.getInput();
  bool alone = finishesSumsAlone(norm);
  if (auto add = input.getDefiningOp<model::AddOp>()) {
    prepend(add.getOperation());
    for (Value operand : add.getOperands()) {
      SmallVector<Operation *> sum = finishedSum(operand);
      if (alone || sum.empty() || !sum.front()->hasOneUse())
        continue;
      prepend(sum);
      break;
    }
  } else if (!alone) {
    prepend(finishedSum(input));
  }
  // The gather belongs here when nothing reads the norm before it.
  if (norm->hasOneUse())
    if (auto gather = dyn_cast<dist::AllGatherOp>(*norm->user_begin()))
      candidate.ops.push_back(gather);
  if (candidate.ops.size() < 2)
    return std::nullopt;
  for (Operation *op : candidate.ops)
    candidate.signature +=
        (candidate.signature.empty() ? "" : "_") + nameOf(op);
  return candidate;
}

/// linear, router.
static std::optional<Candidate> matchRouter(model::RouterOp router) {
  auto linear = router.getLogits().getDefiningOp<model::LinearOp>();
  if (!linear || !linear->hasOneUse())
    return std::nullopt;
  return Candidate{"router_top_k", {linear, router}};
}

static std::optional<Candidate> match(Operation *op) {
  if (auto sum = dyn_cast<model::SumOfSquaresOp>(op))
    return matchQKNorm(sum);
  if (auto norm = dyn_cast<model::RMSNormOp>(op))
    return matchNorm(norm);
  if (auto router = dyn_cast<model::RouterOp>(op))
    return matchRouter(router);
  return std::nullopt;
}

namespace {

struct FormGroups : saddle::kernel::impl::FormGroupsBase<FormGroups> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      Block &body = function.getBody().front();
      SmallVector<Operation *> anchors;
      for (Operation &op : body)
        if (isa<model::SumOfSquaresOp, model::RMSNormOp, model::RouterOp>(op))
          anchors.push_back(&op);
      for (Operation *anchor : anchors) {
        auto candidate = match(anchor);
        if (!candidate)
          continue;
        // An op that an earlier group took is in another block.
        if (!llvm::all_of(candidate->ops, [&](Operation *op) {
              return op->getBlock() == &body;
            }))
          continue;
        llvm::sort(candidate->ops, [](Operation *a, Operation *b) {
          return a->isBeforeInBlock(b);
        });
        if (canGroup(candidate->ops))
          formGroup(candidate->signature, candidate->ops);
      }
    }
  }
};

} // namespace
