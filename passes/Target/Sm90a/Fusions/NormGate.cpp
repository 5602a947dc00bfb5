// The norm behind a recurrence and the gate of its output, with sums over the
// ranks where these hold different heads.

#include "passes/Target/Matchers.h"
#include "passes/Target/Sm90a/Fusions/AcrossRanks.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "passes/Target/Sm90a/Plans/Exchange.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/RowPlan.h"
#include "runtime/kernels/shared/limits.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

static constexpr llvm::StringLiteral kOnOneRank = "norm_gate",
                                     kAcrossRanks = "norm_all_reduce_gate",
                                     kHeader = "impls/norm_gate.cuh";

namespace {

class NormGate : public DeviceFusion {
public:
  NormGate() : DeviceFusion(kOnOneRank, NormGateOps::pattern()) {}

  SmallVector<Operation *> match(Operation *anchor) const override {
    auto found = matchNormGate(anchor);
    if (!found || !found->keepsTheRest() ||
        (found->reduce && !fitsAWarp(found->reduce)))
      return {};
    return found->ops();
  }

  std::string signature(ArrayRef<Operation *> ops) const override {
    return NormGateOps::signature(ops);
  }

  ArrayRef<llvm::StringLiteral> signatures() const override {
    static constexpr llvm::StringLiteral all[] = {kOnOneRank, kAcrossRanks};
    return all;
  }

  // impls/norm_gate.cuh, Operand; then the sums (those of all ranks behind
  // this one's), and the scaled rows.
  std::vector<std::vector<int64_t>> values(StringRef signature) const override {
    if (signature == kOnOneRank)
      return {{0, 4}, {0, 4, 1, 5}, {5, 2, 3}};
    return {{0, 4}, {4, 5}, {0, 5, 1, 6}, {6, 2, 3}};
  }

  FailureOr<KernelPlan> plan(const LaunchDesc &launch,
                             std::string &error) const override {
    const Operand &x = launch.operands[0], &gate = launch.operands[2],
                  &out = launch.operands[3];
    const LaunchStep &scale = launch.body.rbegin()[1];
    uint32_t threads = threadsOfManyRows(launch, {&x, &gate, &out}, error);
    if (threads == 0)
      return failure();
    std::string types = matrixType(x) + ",\n    " + matrixType(gate) +
                        ",\n    " + matrixType(out);
    std::string arguments =
        llvm::formatv("(p, {0}, {1});", floatLiteral(scale.integer("divisor")),
                      floatLiteral(scale.real("eps")));
    int extent = static_cast<int>(launch.extent);
    auto ofRows = [&](StringRef function) -> std::string {
      return llvm::formatv("{0}<{1}, {2}, {3}>{4}", function, extent, threads,
                           types, arguments);
    };
    if (launch.groupSize < 2) {
      KernelPlan plan = planOfRows(launch, ofRows("normGate"), threads);
      plan.headers = {kHeader.str()};
      return plan;
    }
    int64_t vectors = x.shape[1] / commonVector({&x, &gate, &out});
    bool waitingFits = x.shape[1] <= kWaitingThreads * device::kRowValues;
    uint32_t waiting = waitingFits ? threadsFor(vectors, kWaitingThreads) : 0;
    const Operand *summed[] = {&x};
    return planRowsAcrossRanks(
        launch,
        {kHeader, x.shape[0], summed, waiting,
         [&](uint64_t memory, uint32_t blocks) -> std::string {
           return llvm::formatv("normAllReduceGate<{0}, {1}, {2}, {3}, {4}, "
                                "{5}>{6}",
                                launch.groupSize, memory, blocks, extent,
                                waiting, types, arguments);
         },
         "normGateSums",
         [&](uint64_t memory) -> std::string {
           return llvm::formatv("normGateExchange<{0}, {1}, {2}, {3}>(p);",
                                launch.groupSize, memory, extent,
                                matrixType(x));
         },
         [&]() -> FailureOr<FunctionPlan> {
           FunctionPlan plan;
           plan.block = threads;
           plan.grid[0] = blocksOfRows(launch);
           plan.body = ofRows("normGateFinish");
           return plan;
         }});
  }
};

} // namespace

const DeviceFusion *saddle::cuda::normGate() {
  static const NormGate fusion;
  return &fusion;
}
