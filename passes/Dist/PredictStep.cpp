// A first-order prediction of each entry's step on the target's machine: what
// must be read from memory and what the collectives cost. It changes nothing;
// its remarks let topologies be compared before anything runs.

#include "passes/Dist/Passes.h"

#include "passes/Dist/CostModel.h"
#include "passes/Dist/ShardingRules.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/TypeSwitch.h"
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

namespace {

struct Step {
  double weightBytes = 0;
  int64_t collectives = 0;
  double collectiveTime = 0;
};

class Predictor {
public:
  Predictor(ModuleOp module, const Machine &machine)
      : symbols(module), machine(machine), state(module) {}

  Step predict(func::FuncOp function) {
    Step step;
    function.walk([&](Operation *op) {
      llvm::TypeSwitch<Operation *>(op)
          .Case<model::LinearOp>([&](auto op) {
            step.weightBytes += bytesOf(shard(op.getWeight()));
          })
          .Case<model::ExpertsOp>(
              [&](auto op) { step.weightBytes += expertBytes(op); })
          .Case<AllReduceOp>([&](auto op) {
            exchange(step, allReduceTime(machine, group(op.getAxesAttr()),
                                         bytesOf(op.getResult())));
          })
          .Case<AllGatherOp>([&](auto op) {
            exchange(step, scatterTime(machine, group(op.getAxesAttr()),
                                       bytesOf(op.getResult())));
          })
          .Case<ReduceScatterOp>([&](auto op) {
            exchange(step, scatterTime(machine, group(op.getAxesAttr()),
                                       bytesOf(op.getInput())));
          });
    });
    return step;
  }

  double readTime(const Step &step) const {
    return memoryTime(machine, step.weightBytes);
  }

private:
  RankedTensorType shard(StringRef name) const {
    return symbols.lookup<model::WeightOpInterface>(name).getWeightType();
  }

  /// Experts that T tokens of k choices touch, if the router were uniform over
  /// all of them: a share 1 - (1 - k/E)^T of those that a rank holds.
  double expertBytes(model::ExpertsOp op) const {
    auto choice = cast<RankedTensorType>(op.getExperts().getType());
    RankedTensorType down = shard(op.getDown());
    double bytes = bytesOf(down);
    for (auto symbol : op.getGateUp().getAsRange<FlatSymbolRefAttr>())
      bytes += bytesOf(shard(symbol.getValue()));
    double experts = static_cast<double>(down.getDimSize(0));
    if (auto start =
            op->getAttrOfType<RankValueAttr>(DistDialect::kExpertStartAttrName))
      experts *= static_cast<double>(start.getModulus());
    double missed =
        std::pow(1 - static_cast<double>(choice.getDimSize(1)) / experts,
                 static_cast<double>(choice.getDimSize(0)));
    return bytes * (1 - missed);
  }

  RankGroup group(AxesAttr axes) const {
    return rankGroup(machine, state.mesh(), axes.getAxes());
  }

  static void exchange(Step &step, double time) {
    ++step.collectives;
    step.collectiveTime += time;
  }

  SymbolTable symbols;
  const Machine &machine;
  ShardingState state;
};

struct PredictStep : saddle::dist::impl::PredictStepBase<PredictStep> {
  using Base::Base;

  void runOnOperation() override {
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
          "collectives %.3f ms; caches and activations not counted",
          (read + step.collectiveTime) / 1e3, machine.name.data(),
          step.weightBytes / 1e6, read / 1e3,
          static_cast<int>(step.collectives), step.collectiveTime / 1e3);
      function.emitRemark("@") << function.getName() << ": " << text;
    }
  }
};

} // namespace
