// A first-order prediction of each entry's step on the target's machine: what
// must be read from memory and what the collectives cost. It changes nothing;
// its remarks let topologies be compared before anything runs.

#include "passes/Dist/Passes.h"
#include "passes/StraightLine.h"

#include "dialects/Dist/Interfaces/Sharding.h"
#include "passes/Dist/CostModel.h"
#include "passes/StepOutputs.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Format.h"

#include <cmath>

namespace saddle::dist {
#define GEN_PASS_DEF_PREDICTSTEP
#include "passes/Dist/Passes.h.inc"
} // namespace saddle::dist

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

static double bytesOf(RankedTensorType type) {
  return static_cast<double>(type.getNumElements()) *
         type.getElementTypeBitWidth() / 8;
}

static double bytesOf(Value value) {
  return bytesOf(cast<RankedTensorType>(value.getType()));
}

static int64_t bytesOf(MemRefType type) {
  return type.getNumElements() * type.getElementTypeBitWidth() / 8;
}

namespace {

struct Step {
  double weightBytes = 0;
  int64_t collectives = 0;
  double collectiveTime = 0;
  /// Whether collectives that only whole logits need are left out.
  bool leavesLogits = false;
  /// What a rank holds of a sequence, and of each of its tokens besides.
  int64_t stateBytes = 0, cacheBytes = 0;
};

class Predictor {
public:
  Predictor(ModuleOp module, const Machine &machine)
      : symbols(module), machine(machine), state(module) {}

  Step predict(func::FuncOp function) {
    Step step;
    llvm::SmallDenseSet<StringAttr> held;
    // A step reads candidates where there are some, and so nothing of what
    // only whole logits need.
    DenseMap<Operation *, StringRef> ofOneOutput =
        opsOfOneOutput(function.getBody().front(), outputsOf(function));
    StringRef logits = ops::bindingOf(ops::BindingId::Logits).output->name;
    function.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (auto found = ofOneOutput.find(op);
          found != ofOneOutput.end() && found->second == logits) {
        step.leavesLogits |= isa<CollectiveOpInterface>(op);
        return WalkResult::skip();
      }
      if (auto user = dyn_cast<model::StateUserOpInterface>(op))
        for (const model::StateUse &use : user.getStateUses())
          if (held.insert(use.symbol.getAttr()).second)
            addHeld(use, step);
      if (auto user = dyn_cast<model::WeightUserOpInterface>(op))
        for (const model::WeightUse &use : user.getWeightUses())
          step.weightBytes += bytesRead(use);
      if (auto collective = dyn_cast<CollectiveOpInterface>(op)) {
        ++step.collectives;
        step.collectiveTime += exchangeTime(collective);
      }
      return WalkResult::advance();
    });
    return step;
  }

  double readTime(const Step &step) const {
    return memoryTime(machine, step.weightBytes);
  }

private:
  void addHeld(const model::StateUse &use, Step &step) const {
    auto state = symbols.lookup<model::StateOpInterface>(use.symbol.getValue());
    int64_t &bytes = state.getStateKind() == model::StateKind::Paged
                         ? step.cacheBytes
                         : step.stateBytes;
    for (const model::StateBuffer &buffer : state.getStateBuffers(1))
      bytes += bytesOf(buffer.type);
  }

  /// Vectors and single rows of tables are not worth counting.
  double bytesRead(const model::WeightUse &use) const {
    auto weight =
        symbols.lookup<model::WeightOpInterface>(use.symbol.getValue());
    RankedTensorType type = weight.getWeightType();
    switch (use.read) {
    case model::WeightRead::Rows:
      return 0;
    case model::WeightRead::Whole:
      return type.getRank() > 1 ? bytesOf(type) : 0;
    case model::WeightRead::Members:
      return bytesOf(type) * touched(use.choice, members(weight));
    }
    llvm_unreachable("all cases return");
  }

  /// Members that T tokens of k choices touch, if the choice were uniform over
  /// all of them: a share 1 - (1 - k/E)^T of those that a rank holds.
  static double touched(Value choice, double members) {
    auto type = cast<RankedTensorType>(choice.getType());
    double missed =
        std::pow(1 - static_cast<double>(type.getDimSize(1)) / members,
                 static_cast<double>(type.getDimSize(0)));
    return 1 - missed;
  }

  /// Of the whole stack, of which a rank may hold a part.
  double members(model::WeightOpInterface weight) const {
    if (auto shard = dyn_cast<WeightShardOp>(*weight))
      weight = symbols.lookup<model::WeightOpInterface>(
          cast<FlatSymbolRefAttr>(shard.getParts()[0]).getValue());
    return static_cast<double>(weight.getWeightType().getDimSize(0));
  }

  double exchangeTime(CollectiveOpInterface op) const {
    RankGroup group =
        rankGroup(machine, state.mesh(), op.getAxesAttr().getAxes());
    double bytes =
        std::max(bytesOf(op->getOperand(0)), bytesOf(op->getResult(0)));
    return op.getKind() == CollectiveKind::AllReduce
               ? allReduceTime(machine, group, bytes)
               : scatterTime(machine, group, bytes);
  }

  SymbolTable symbols;
  const Machine &machine;
  ShardingState state;
};

struct PredictStep : saddle::dist::impl::PredictStepBase<PredictStep> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    const Target *found = findTarget(target, getOperation());
    if (!found)
      return signalPassFailure();
    const Machine &machine = found->machine();
    Predictor predictor(getOperation(), machine);
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      Step step = predictor.predict(function);
      double read = predictor.readTime(step);
      std::string text;
      llvm::raw_string_ostream(text) << llvm::format(
          "%.3f ms predicted for %s: %.1f MB of weights %.3f ms, %d "
          "collectives %.3f ms; not counted: activations, states (%lld bytes a "
          "sequence), caches (%lld bytes a token)%s",
          (read + step.collectiveTime) / 1e3, machine.name.data(),
          step.weightBytes / 1e6, read / 1e3,
          static_cast<int>(step.collectives), step.collectiveTime / 1e3,
          static_cast<long long>(step.stateBytes),
          static_cast<long long>(step.cacheBytes),
          step.leavesLogits ? ", collectives of whole logits, which a step "
                              "with candidates leaves out"
                            : "");
      function.emitRemark("@") << function.getName() << ": " << text;
    }
  }
};

} // namespace
