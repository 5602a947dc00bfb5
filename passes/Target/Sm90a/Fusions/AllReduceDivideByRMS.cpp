// The sum of a product's parts over ranks, and the root mean square that it is
// divided by, whose sum of squares meets the same ranks: one exchange for both.

#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/Exchange.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "runtime/kernels/shared/exchange.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

/// The all-reduce that makes `value`, if nobody else reads it.
static dist::AllReduceOp sumBehind(Value value) {
  auto reduce = value.getDefiningOp<dist::AllReduceOp>();
  return reduce && reduce->hasOneUse() ? reduce : dist::AllReduceOp();
}

static int64_t groupSizeOf(dist::AllReduceOp reduce) {
  dist::AxesAttr axes = reduce.getAxesAttr();
  auto mesh = SymbolTable::lookupNearestSymbolFrom<dist::MeshOp>(
      reduce, axes.getMesh());
  return static_cast<int64_t>(
      dist::toMesh(mesh).groups(axes.getAxes()).front().size());
}

namespace {

class AllReduceDivideByRMS : public DeviceFusion {
public:
  AllReduceDivideByRMS()
      : DeviceFusion("all_reduce_divide_by_rms",
                     {part<dist::AllReduceOp>(), part<dist::AllReduceOp>(),
                      part<model::DivideByRMSOp>()}) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto divide = dyn_cast<model::DivideByRMSOp>(anchor);
    if (!divide)
      return {};
    dist::AllReduceOp product = sumBehind(divide.getInput()),
                      squares = sumBehind(divide.getSums());
    if (!product || !squares ||
        product.getAxesAttr() != squares.getAxesAttr() ||
        product->getBlock() != divide->getBlock() ||
        squares->getBlock() != divide->getBlock() ||
        !product->isBeforeInBlock(squares))
      return {};
    auto rows = cast<RankedTensorType>(product.getResult().getType()),
         sums = cast<RankedTensorType>(squares.getResult().getType());
    // A packet has a row's sum; many bytes go another way.
    if (rows.isDynamicDim(0) || sums.getDimSize(1) != 1 ||
        !fitsOneShot(rows.getNumElements() * rows.getElementTypeBitWidth() / 8,
                     groupSizeOf(product)))
      return {};
    return {product, squares, divide};
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {"all_reduce_divide_by_rms"};
    return all;
  }

  // x, squares, out; the sums of both are between the steps.
  std::vector<std::vector<int64_t>> values(StringRef) const override {
    return {{0, 3}, {1, 4}, {3, 4, 2}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &) const override {
    const Operand &x = launch.operands[0], &squares = launch.operands[1],
                  &out = launch.operands[2];
    const LaunchStep &divide = launch.body[2];
    int64_t bytes = x.element.getIntOrFloatBitWidth() / 8;
    int64_t units = x.shape[0] * llvm::divideCeil(x.shape[1] * bytes,
                                                  device::kPacketPayload);
    uint64_t memory =
        device::packetMemory(launch.groupSize * (units + x.shape[0]));
    return planWaiting(
        "impls/all_reduce_divide.cuh",
        llvm::formatv("allReduceDivideByRms<{0}, {1},\n    {2},\n    {3},\n   "
                      " {4}, {5}>(p, {6}, {7});",
                      launch.groupSize, static_cast<int>(launch.extent),
                      matrixType(x), matrixType(squares), matrixType(out),
                      memory, floatLiteral(divide.integer("divisor")),
                      floatLiteral(divide.real("eps"))),
        units, memory);
  }
};

} // namespace

const DeviceFusion *saddle::cuda::allReduceDivideByRMS() {
  static const AllReduceDivideByRMS fusion;
  return &fusion;
}
