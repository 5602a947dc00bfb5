#include "passes/Dist/ExchangePlan.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::dist;

bool saddle::dist::isConsistent(const LayerShape &shape,
                                const ExchangePlan &plan) {
  if (shape.replicas > 1)
    return plan.experts == kGathered && plan.reduction != kReduceScatter;
  return (plan.experts == kGathered) == (plan.reduction == kReduceScatter);
}

double saddle::dist::gatheredRows(const LayerShape &shape,
                                  llvm::StringRef rows) {
  auto replicas = static_cast<double>(shape.replicas);
  auto largest = static_cast<double>(shape.tokens);
  if (rows == kPadded)
    return replicas * largest;
  // Counts uniform over `spread` below the largest, which one replica has: the
  // others are half of it lower on average.
  double spread =
      shape.decode ? kDecodeCountSpread : kPrefillCountSpread * largest;
  return replicas * largest - (replicas - 1) * spread / 2;
}

namespace {

/// One op of what follows a branch, by its part in the residual stream.
enum class Step { Scatter, Sum, Add, Norm, Gather };

/// Adds up the launches of one plan. Tensors are counted in passes over memory,
/// by what a launch reads and writes; what a gather reads and writes is in its
/// exchange.
class Layer {
public:
  Layer(const Target &target, const LayerShape &shape, const ExchangePlan &plan)
      : target(target), machine(target.machine()), shape(shape), plan(plan),
        bytes(static_cast<double>(shape.tokens) * shape.rowBytes) {}

  Cost cost() {
    if (shape.replicas == 1) {
      // Behind attention and behind the experts.
      branch();
      branch();
    } else {
      behindAttention();
      behindExperts();
    }
    return sum;
  }

private:
  void branch() {
    if (plan.reduction != kReduceScatter) {
      exchange(allReduceTime(machine, shape.all, bytes));
      return steps({Step::Sum, Step::Add, Step::Norm}, bytes, bytes);
    }
    exchange(2 * scatterTime(machine, shape.all, bytes));
    double own = bytes / static_cast<double>(shape.all.ranks);
    if (plan.norm == kEarly)
      steps({Step::Scatter, Step::Add, Step::Norm, Step::Gather}, own, bytes);
    else
      steps({Step::Scatter, Step::Add, Step::Gather, Step::Norm}, own, bytes);
  }

  /// The sum inside a replica, add, norm, and the gather of all tokens. On the
  /// links packed and padded rows are alike: the busiest rank sends its rows to
  /// every other.
  void behindAttention() {
    double all = gatheredRows(shape, plan.rows) * shape.rowBytes;
    exchange(allReduceTime(machine, shape.attention, bytes));
    exchange(scatterTime(machine, shape.across, everybody()));
    // Router and experts read the rows, the experts write as many.
    passes(3, all);
    if (plan.norm == kEarly)
      steps({Step::Sum, Step::Add, Step::Norm, Step::Gather}, bytes, all);
    else
      steps({Step::Sum, Step::Add, Step::Gather, Step::Norm}, bytes, all);
  }

  /// Back to the replicas, the sum inside one, add, and the norm of own rows.
  void behindExperts() {
    exchange(scatterTime(machine, shape.across, everybody()));
    exchange(allReduceTime(machine, shape.attention, bytes));
    steps({Step::Scatter, Step::Sum, Step::Add, Step::Norm}, bytes, bytes);
  }

  /// What follows a branch, in launches of the target. `own` bytes of rows
  /// until they are gathered, `all` afterwards. Sums inside a replica of one
  /// rank vanish.
  void steps(std::initializer_list<Step> list, double own, double all) {
    SmallVector<Step> left(list);
    if (shape.replicas > 1 && shape.attention.ranks == 1)
      llvm::erase(left, Step::Sum);
    double rows = own;
    for (size_t size : launchSizes(left)) {
      launch(ArrayRef(left).take_front(size), rows, all);
      left.erase(left.begin(), left.begin() + size);
    }
  }

  /// Where the sum is finished alone, its collectives are in no launch with
  /// what follows.
  SmallVector<size_t> launchSizes(ArrayRef<Step> list) const {
    SmallVector<TypeID> ops = llvm::map_to_vector(list, opOf);
    if (plan.reduction != kAllReduce)
      return target.launches(ops);
    size_t alone =
        llvm::find_if(list, [](Step step) { return !reduces(step); }) -
        list.begin();
    SmallVector<size_t> sizes =
        target.launches(ArrayRef(ops).take_front(alone));
    llvm::append_range(sizes, target.launches(ArrayRef(ops).drop_front(alone)));
    return sizes;
  }

  void launch(ArrayRef<Step> list, double &rows, double all) {
    bool exchanges = false;
    if (list.front() != Step::Gather)
      passes(1, rows);
    for (Step step : list) {
      exchanges |= reduces(step) || step == Step::Gather;
      if (step == Step::Add)
        passes(2, rows); // the stream, read and written
      else if (step == Step::Norm || (reduces(step) && step == list.back()))
        passes(1, rows);
      else if (step == Step::Gather)
        rows = all;
    }
    if (!exchanges)
      sum.launch += machine.launchMicroseconds;
  }

  static bool reduces(Step step) {
    return step == Step::Scatter || step == Step::Sum;
  }

  static TypeID opOf(Step step) {
    switch (step) {
    case Step::Scatter:
      return TypeID::get<ReduceScatterOp>();
    case Step::Sum:
      return TypeID::get<AllReduceOp>();
    case Step::Add:
      return TypeID::get<model::AddOp>();
    case Step::Norm:
      return TypeID::get<model::RMSNormOp>();
    case Step::Gather:
      return TypeID::get<AllGatherOp>();
    }
    llvm_unreachable("all steps are listed");
  }

  void exchange(double time) { sum.exchange += time; }
  void passes(double count, double size) {
    sum.memory += memoryTime(machine, count * size);
  }
  double everybody() const {
    return bytes * static_cast<double>(shape.replicas);
  }

  const Target &target;
  const Machine &machine;
  const LayerShape &shape;
  const ExchangePlan &plan;
  double bytes;
  Cost sum;
};

} // namespace

Cost saddle::dist::layerCost(const Target &target, const LayerShape &shape,
                             const ExchangePlan &plan) {
  return Layer(target, shape, plan).cost();
}
