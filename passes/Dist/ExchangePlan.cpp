#include "passes/Dist/ExchangePlan.h"

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

/// Adds up the launches of one plan; tensors are counted in passes over memory,
/// by what a launch reads and writes.
class Layer {
public:
  Layer(const TargetModel &target, const LayerShape &shape,
        const ExchangePlan &plan)
      : target(target), shape(shape), plan(plan),
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
  void exchange(double time) { sum.exchange += time; }
  void launches(int count) { sum.launch += count * target.launchMicroseconds; }
  void passes(double count, double size) {
    sum.memory += memoryTime(target, count * size);
  }

  void branch() {
    if (plan.reduction != kReduceScatter) {
      exchange(allReduceTime(target, shape.all, bytes));
      addAndNorm(bytes);
      return;
    }
    exchange(2 * scatterTime(target, shape.all, bytes));
    double own = bytes / static_cast<double>(shape.all.ranks);
    if (plan.norm == kEarly)
      passes(4, own);
    else
      separateAddAndNorm(/*reduced=*/true, own, bytes);
  }

  /// Deferred: one launch receives the sum, reads the stream, writes both
  /// results. Otherwise the sum is written and read once more.
  void addAndNorm(double size) {
    passes(4, size);
    if (plan.reduction == kAllReduce) {
      passes(2, size);
      launches(1);
    }
  }

  /// The gather stands between add and norm, so that no group forms: the sum,
  /// the add on own rows, and the norm on all are launches of their own.
  void separateAddAndNorm(bool reduced, double own, double all) {
    passes(reduced ? 2 + 3 : 3, own);
    passes(2, all);
    launches(2);
  }

  /// The sum inside a replica, add, norm, and the gather of all tokens. On the
  /// links packed and padded rows are alike: the busiest rank sends its rows to
  /// every other.
  void behindAttention() {
    bool reduces = shape.attention.ranks > 1;
    double all = gatheredRows(shape, plan.rows) * shape.rowBytes;
    exchange(allReduceTime(target, shape.attention, bytes));
    exchange(scatterTime(target, shape.across, everybody()));
    // Router and experts read the rows, the experts write as many.
    passes(3, all);
    if (plan.norm == kLate)
      return separateAddAndNorm(reduces, bytes, all);
    passes(4, bytes);
    // The launch of the gather holds add and norm in any case.
    if (reduces && plan.reduction == kAllReduce)
      passes(2, bytes);
  }

  /// Back to the replicas, the sum inside one, add, and the norm of own rows.
  void behindExperts() {
    exchange(scatterTime(target, shape.across, everybody()));
    exchange(allReduceTime(target, shape.attention, bytes));
    addAndNorm(bytes);
  }

  double everybody() const {
    return bytes * static_cast<double>(shape.replicas);
  }

  const TargetModel &target;
  const LayerShape &shape;
  const ExchangePlan &plan;
  double bytes;
  Cost sum;
};

} // namespace

Cost saddle::dist::layerCost(const TargetModel &target, const LayerShape &shape,
                             const ExchangePlan &plan) {
  return Layer(target, shape, plan).cost();
}
