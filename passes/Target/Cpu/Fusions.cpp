#include "passes/Target/Cpu/Cpu.h"
#include "passes/Target/Matchers.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace saddle;

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

/// Whether sums of the function are to be finished in launches of their own:
/// what dist-choose-exchanges calls "all_reduce".
static bool finishesSumsAlone(Operation *op) {
  auto function = op->getParentOfType<func::FuncOp>();
  auto choices = function ? function->getAttrOfType<DictionaryAttr>(
                                dist::DistDialect::kChoicesAttrName)
                          : DictionaryAttr();
  auto reduction =
      choices ? choices.getAs<StringAttr>("reduction") : StringAttr();
  return reduction && reduction == "all_reduce";
}

namespace {

/// A group that reports show. Nothing here runs several ops as one.
class Reported : public Fusion {
public:
  using Fusion::Fusion;
  bool isOneLaunch() const override { return false; }
};

/// The norm with what stands around it in a residual stream. The norm alone is
/// not worth a group.
class Norm : public Reported {
public:
  Norm()
      : Reported("norm",
                 {optionalPart<dist::ReduceScatterOp>(),
                  optionalPart<dist::AllReduceOp>(),
                  optionalPart<model::AddOp>(),
                  optionalPart<model::ScaledAddOp>(), part<model::RMSNormOp>(),
                  optionalPart<dist::AllGatherOp>()}) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto norm = dyn_cast<model::RMSNormOp>(anchor);
    if (!norm)
      return {};
    SmallVector<Operation *> ops = {norm};
    auto prepend = [&](ArrayRef<Operation *> lastFirst) {
      for (Operation *op : lastFirst)
        ops.insert(ops.begin(), op);
    };
    Value input = norm.getInput();
    bool alone = finishesSumsAlone(norm);
    Operation *add = input.getDefiningOp();
    if (isa_and_nonnull<model::AddOp, model::ScaledAddOp>(add)) {
      prepend(add);
      for (Value operand : add->getOperands()) {
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
        ops.push_back(gather);
    if (ops.size() < 2)
      return {};
    return ops;
  }

  std::string signature(ArrayRef<Operation *> ops) const override {
    return llvm::join(
        llvm::map_range(
            ops, [](Operation *op) { return op->getName().stripDialect(); }),
        "_");
  }
};

class QKNorm : public Reported {
public:
  QKNorm() : Reported("qk_norm_rope_kv_append", QKNormOps::pattern()) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto found = matchQKNorm(anchor);
    return found ? found->ops() : SmallVector<Operation *>();
  }

  std::string signature(ArrayRef<Operation *> ops) const override {
    return QKNormOps::signature(ops);
  }
};

class NormGate : public Reported {
public:
  NormGate() : Reported("norm_gate", NormGateOps::pattern()) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto found = matchNormGate(anchor);
    return found ? found->ops() : SmallVector<Operation *>();
  }

  std::string signature(ArrayRef<Operation *> ops) const override {
    return NormGateOps::signature(ops);
  }
};

/// Logits of all experts, and the choice among them.
template <typename RouterOp>
class RouterTopK : public Reported {
public:
  explicit RouterTopK(llvm::StringLiteral name)
      : Reported(name, {part<model::LinearOp>(), part<RouterOp>()}) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto router = dyn_cast<RouterOp>(anchor);
    if (!router)
      return {};
    auto linear = router.getLogits().template getDefiningOp<model::LinearOp>();
    if (!linear || !linear->hasOneUse())
      return {};
    return {linear, router};
  }
};

} // namespace

ArrayRef<const Fusion *> saddle::cpu::fusions() {
  static const QKNorm qkNorm;
  static const Norm norm;
  static const NormGate normGate;
  static const RouterTopK<model::RouterOp> router("router_top_k");
  static const RouterTopK<model::SoftmaxRouterOp> softmax("softmax_top_k");
  static const Fusion *const all[] = {&norm, &qkNorm, &normGate, &router,
                                      &softmax};
  return all;
}
