// The residual add and the norm behind it, whose rows become codes: the norm
// itself leaves only where others than the encoding read it.

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

static constexpr llvm::StringLiteral kCodesAlone = "add_rms_norm_encode",
                                     kBoth = "add_rms_norm_and_encode";

namespace {

class AddRMSNormEncode : public DeviceFusion {
public:
  AddRMSNormEncode()
      : DeviceFusion(kCodesAlone,
                     {part<model::AddOp>(), part<model::RMSNormOp>(),
                      part<model::EncodeRowsOp>()}) {}

  // The norm is the anchor, as of the smaller fusion, which is tried later.
  SmallVector<Operation *> match(Operation *anchor) const override {
    constexpr int64_t kMostRowBytes = 32 * 1024; // static shared memory
    auto ops = matchAddNorm(anchor);
    auto encode = ops ? soleUser<model::EncodeRowsOp>(ops->norm.getResult())
                      : model::EncodeRowsOp();
    if (!encode || !ops->sumLeaves())
      return {};
    auto row = cast<RankedTensorType>(ops->norm.getType());
    if (row.getDimSize(1) * (row.getElementTypeBitWidth() / 8) > kMostRowBytes)
      return {};
    return {ops->add, ops->norm, encode};
  }

  std::string signature(ArrayRef<Operation *> ops) const override {
    return (ops[1]->hasOneUse() ? kCodesAlone : kBoth).str();
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {kBoth, kCodesAlone};
    return all;
  }

  // a, b, weight; sum, norm where it leaves, codes, factors
  std::vector<std::vector<int64_t>> values(StringRef signature) const override {
    if (signature == kBoth)
      return {{0, 1, 3}, {3, 2, 4}, {4, 5, 6}};
    return {{0, 1, 3}, {3, 2, 6}, {6, 4, 5}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    bool both = launch.op == kBoth;
    ArrayRef<Operand> operands(launch.operands);
    const Operand &a = operands[0], &b = operands[1], &sum = operands[3],
                  &codes = operands[both ? 5 : 4],
                  &factors = operands[both ? 6 : 5];
    SmallVector<const Operand *> rows = {&a, &b, &sum};
    if (both)
      rows.push_back(&operands[4]);
    uint32_t threads = threadsOfManyRows(launch, rows, error);
    if (threads == 0)
      return failure();
    std::string types;
    for (const Operand *row : rows)
      types += matrixType(*row) + ", ";
    return planOfRows(
        launch,
        llvm::formatv("{0}<{1}, {2}, {3}, {4}{5}, {6}>(p, {7}{8});",
                      both ? "addRmsNormAndEncode" : "addRmsNormEncode",
                      static_cast<int>(launch.extent), threads,
                      launch.body[2].integer("group"), types, matrixType(codes),
                      matrixType(factors),
                      floatLiteral(launch.body[1].real("eps")),
                      both ? "" : ", p.operands[4], p.operands[5]"),
        threads);
  }
};

} // namespace

const DeviceFusion *saddle::cuda::addRMSNormEncode() {
  static const AddRMSNormEncode fusion;
  return &fusion;
}
