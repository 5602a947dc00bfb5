// A residual add with factors and the norm behind it, where the norm is the
// next residual: nobody else reads the sum, which never reaches memory.

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

namespace {

class ScaledAddRMSNorm : public DeviceFusion {
public:
  ScaledAddRMSNorm()
      : DeviceFusion("scaled_add_rms_norm",
                     {part<model::ScaledAddOp>(), part<model::RMSNormOp>()}) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto ops = matchAddNorm<model::ScaledAddOp>(anchor);
    if (!ops || ops->sumLeaves())
      return {};
    return {ops->add, ops->norm};
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {"scaled_add_rms_norm"};
    return all;
  }

  // a, b, weight; out. The sum is between the steps.
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 1, 4}, {4, 2, 3}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    const Operand &a = launch.operands[0], &b = launch.operands[1],
                  &out = launch.operands[3];
    uint32_t threads = threadsOfManyRows(launch, {&a, &b, &out}, error);
    if (threads == 0)
      return failure();
    return planOfRows(
        launch,
        llvm::formatv(
            "scaledAddRmsNorm<{0}, {1}, {2}, {3}, {4}>(p, {5}, {6}, {7});",
            static_cast<int>(launch.extent), threads, matrixType(a),
            matrixType(b), matrixType(out),
            floatLiteral(launch.body[0].real("alpha")),
            floatLiteral(launch.body[0].real("beta")),
            floatLiteral(launch.body[1].real("eps"))),
        threads);
  }
};

} // namespace

const DeviceFusion *saddle::cuda::scaledAddRMSNorm() {
  static const ScaledAddRMSNorm fusion;
  return &fusion;
}
