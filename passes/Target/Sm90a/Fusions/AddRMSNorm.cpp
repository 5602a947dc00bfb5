// The residual add and the norm behind it: the sum is a result, too.

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

namespace {

class AddRMSNorm : public DeviceFusion {
public:
  AddRMSNorm()
      : DeviceFusion("add_rms_norm",
                     {part<model::AddOp>(), part<model::RMSNormOp>()}) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto ops = matchAddNorm(anchor);
    if (!ops || !ops->sumLeaves())
      return {};
    return {ops->add, ops->norm};
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {"add_rms_norm"};
    return all;
  }

  // a, b, weight; sum, out
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 1, 3}, {3, 2, 4}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    const Operand &a = launch.operands[0], &b = launch.operands[1],
                  &sum = launch.operands[3], &out = launch.operands[4];
    uint32_t threads = threadsOfManyRows(launch, {&a, &b, &sum, &out}, error);
    if (threads == 0)
      return failure();
    return planOfRows(
        launch,
        llvm::formatv("addRmsNorm<{0}, {1}, {2}, {3}, {4}, {5}>(p, {6});",
                      static_cast<int>(launch.extent), threads, matrixType(a),
                      matrixType(b), matrixType(sum), matrixType(out),
                      floatLiteral(launch.body[1].real("eps"))),
        threads);
  }
};

} // namespace

const DeviceFusion *saddle::cuda::addRMSNorm() {
  static const AddRMSNorm fusion;
  return &fusion;
}
