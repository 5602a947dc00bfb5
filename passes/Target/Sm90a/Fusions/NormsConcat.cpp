// Norms of several rows that one concatenation alone reads: the taps of a
// draft, or its two inputs.

#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

/// Each has a row and a weight, and the launch one output more.
static constexpr int64_t kMostNorms = 7;

static SmallVector<Fusion::Part> patternOf() {
  SmallVector<Fusion::Part> parts = {Fusion::part<model::RMSNormOp>(),
                                     Fusion::part<model::RMSNormOp>()};
  for (int64_t i = 2; i < kMostNorms; ++i)
    parts.push_back(Fusion::optionalPart<model::RMSNormOp>());
  parts.push_back(Fusion::part<model::ConcatOp>());
  return parts;
}

namespace {

class NormsConcat : public DeviceFusion {
public:
  NormsConcat() : DeviceFusion("norms_concat", patternOf()) {}

  /// The anchor is the first norm in the block, and norms stand there in the
  /// order of their columns.
  SmallVector<Operation *> match(Operation *anchor) const override {
    if (!isa<model::RMSNormOp>(anchor) || !anchor->hasOneUse())
      return {};
    auto concat = dyn_cast<model::ConcatOp>(*anchor->user_begin());
    if (!concat || concat.getInputs().size() < 2 ||
        concat.getInputs().size() > kMostNorms)
      return {};
    SmallVector<Operation *> ops;
    Type type = anchor->getResult(0).getType();
    for (Value input : concat.getInputs()) {
      auto norm = input.getDefiningOp<model::RMSNormOp>();
      if (!norm || !norm->hasOneUse() || norm->getBlock() != anchor->getBlock())
        return {};
      // One loop over rows of one width, with one epsilon.
      if (norm.getType() != type ||
          norm.getEps() != cast<model::RMSNormOp>(anchor).getEps() ||
          (!ops.empty() && !ops.back()->isBeforeInBlock(norm)))
        return {};
      ops.push_back(norm);
    }
    if (ops.front() != anchor)
      return {};
    ops.push_back(concat);
    return ops;
  }

  std::string signature(ArrayRef<Operation *> ops) const override {
    return signatures()[ops.size() - 3].str();
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {
        "two_norms_concat",  "three_norms_concat", "four_norms_concat",
        "five_norms_concat", "six_norms_concat",   "seven_norms_concat"};
    return all;
  }

  // Row and weight of each, then the joined rows; behind them the norms.
  std::vector<std::vector<int64_t>> values(StringRef signature) const override {
    int64_t count =
        2 + (llvm::find(signatures(), signature) - signatures().begin());
    std::vector<std::vector<int64_t>> steps;
    std::vector<int64_t> joined;
    for (int64_t i = 0; i < count; ++i) {
      int64_t normed = 2 * count + 1 + i;
      steps.push_back({2 * i, 2 * i + 1, normed});
      joined.push_back(normed);
    }
    joined.push_back(2 * count);
    steps.push_back(joined);
    return steps;
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    const Operand &out = launch.operands.back();
    std::string types = matrixType(out);
    size_t count = launch.operands.size() / 2;
    for (size_t i = 0; i < count; ++i)
      types += ",\n    " + matrixType(launch.operands[2 * i]);
    uint32_t threads = threadsOfRow(launch, {&launch.operands[0]}, error);
    if (threads == 0)
      return failure();
    KernelPlan plan = planOfRows(
        launch,
        llvm::formatv("normsConcat<{0}, {1}, {2}>(p, {3});",
                      static_cast<int>(launch.extent), threads, types,
                      floatLiteral(launch.body[0].real("eps"))),
        threads);
    // A CTA for each norm of a row.
    plan.functions[0].grid[1] = static_cast<uint32_t>(count);
    return plan;
  }
};

} // namespace

const DeviceFusion *saddle::cuda::normsConcat() {
  static const NormsConcat fusion;
  return &fusion;
}
