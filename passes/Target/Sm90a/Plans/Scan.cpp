// decay_scan: token by token, which is what decodes want, or in blocks.

#include "runtime/kernels/shared/scan.h"
#include "passes/Target/Sm90a/Plans/Literals.h"
#include "passes/Target/Sm90a/Plans/Plans.h"
#include "runtime/src/base/Slopes.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

namespace {

struct ScanShape {
  explicit ScanShape(const LaunchDesc &launch)
      : qkv(launch.operands[0]), state(launch.operands[3]),
        out(launch.operands[4]), heads(state.shape[1]), rows(state.shape[2]),
        cols(state.shape[3]) {}

  const Operand &qkv, &state, &out;
  int64_t heads, rows, cols;
  bool activates = false; // as the kernel's Scan has it

  std::string alias(const LaunchDesc &launch) const {
    return llvm::formatv("using S = Scan<{0}, {1}, {2}, {3}, {4},\n"
                         "               {5},\n"
                         "               {6}{7}>;\n",
                         static_cast<int>(launch.extent), launch.sequences,
                         heads, rows, cols, matrixType(qkv), matrixType(out),
                         activates ? ", /*activates=*/true" : "");
  }
};

} // namespace

/// "static __constant__ const double slopes[] = {...};" of all heads of the
/// model. What they are multiplied by comes with a launch (abi.h, reals), so
/// that layers share a kernel.
static std::string slopesOf(const LaunchDesc &launch) {
  std::string text = "static __constant__ const double slopes[] = {";
  llvm::raw_string_ostream os(text);
  int64_t heads = launch.integer("heads");
  for (int64_t head = 0; head < heads; ++head)
    os << (head % 3 == 0 ? "\n    " : " ")
       << llvm::format("%.17g", alibiSlope(head, heads))
       << (head + 1 < heads ? "," : "};\n");
  return text;
}

/// Rows of CTAs that a launch may have.
static constexpr int64_t kMostRows = 65535;

/// Rows of CTAs that take runs of tokens in turn: one for each sequence.
static uint32_t runsOf(const LaunchDesc &launch) {
  int64_t sequences = std::min(launch.sequences, launch.capacity);
  return static_cast<uint32_t>(std::clamp<int64_t>(sequences, 1, kMostRows));
}

/// Token by token. `everyToken`: no sequence has many tokens.
static FailureOr<KernelPlan> planTokens(const LaunchDesc &launch,
                                        const ScanShape &shape, bool everyToken,
                                        std::string &error) {
  if (shape.rows > device::kScanMostRows) {
    error = llvm::formatv("decay_scan has states of {0} rows, expected {1} at "
                          "most",
                          shape.rows, device::kScanMostRows);
    return failure();
  }
  int64_t count = shape.cols % 4 == 0 ? 4 : 1;
  int64_t pieces = llvm::divideCeil(shape.cols, count);
  auto valuesOf = [&](int64_t lanes) {
    return llvm::divideCeil(shape.rows, device::kScanThreads / lanes) * count;
  };
  int64_t most = std::min<int64_t>(32, llvm::bit_ceil(uint64_t(pieces)));
  while (most > 1 && valuesOf(most) > device::kScanValues)
    most /= 2;
  // Parts of 128 bytes or more that fill the machine.
  int64_t lanes = most, others = shape.heads * launch.capacity;
  while (lanes > 8 &&
         others * llvm::divideCeil(pieces, lanes) < kMultiprocessors)
    lanes /= 2;

  FunctionPlan only;
  only.body = slopesOf(launch) + shape.alias(launch);
  only.body +=
      llvm::formatv("scanTokens<S, {0}, {1}, /*everyToken=*/{2}>(p, slopes);",
                    lanes * count, count, everyToken ? "true" : "false");
  only.block = device::kScanThreads;
  // As many as registers allow without spills: runs need more of them, and so
  // does whatever goes with many rows.
  constexpr int64_t kFewRows = 512;
  only.residentBlocks = everyToken && shape.rows <= kFewRows ? 2 : 1;
  only.grid[0] =
      static_cast<uint32_t>(shape.heads * llvm::divideCeil(pieces, lanes));
  only.grid[1] =
      everyToken ? static_cast<uint32_t>(launch.capacity) : runsOf(launch);
  KernelPlan plan;
  plan.headers = {"impls/scan.cuh"};
  plan.functions.push_back(std::move(only));
  return plan;
}

/// Whether blocks of tokens can be taken on warpgroups.
static bool canTakeBlocks(const ScanShape &shape) {
  return shape.qkv.element.isBF16() && shape.out.element.isBF16() &&
         commonVector({&shape.qkv, &shape.out}) == 8 && shape.rows % 8 == 0 &&
         shape.rows <= device::kScanRows && shape.cols % 8 == 0;
}

/// In blocks of tokens that follow one another.
static KernelPlan planBlocks(const LaunchDesc &launch, const ScanShape &shape) {
  device::ScanLayout layout = {shape.rows};
  int64_t ctas =
      shape.heads * llvm::divideCeil(shape.cols, device::kScanColumns);
  // Spans of tokens that fill the machine, but none of a block or two.
  constexpr int64_t kLeast = 2 * device::kScanBlock;
  int64_t most = std::max<int64_t>(kMultiprocessors / ctas, 1);
  int64_t span = std::max(llvm::alignTo(llvm::divideCeil(launch.capacity, most),
                                        device::kScanBlock),
                          uint64_t(kLeast));
  int64_t spans = llvm::divideCeil(launch.capacity, span);

  KernelPlan plan;
  plan.headers = {"impls/scan_tiles.cuh"};
  auto add = [&](StringRef suffix, StringRef called, int64_t rows) {
    FunctionPlan function;
    function.suffix = suffix.str();
    function.body =
        slopesOf(launch) + shape.alias(launch) +
        llvm::formatv("{0}<S, /*sharedBytes=*/{1}, /*span=*/{2}, /*spans=*/{3}>"
                      "(p, slopes);",
                      called, layout.sharedBytes(), span, spans)
            .str();
    function.block = device::ScanLayout::kThreads;
    function.residentBlocks = 1;
    function.sharedBytes = static_cast<uint32_t>(layout.sharedBytes());
    function.grid[0] = static_cast<uint32_t>(ctas);
    function.grid[1] = static_cast<uint32_t>(rows);
    function.cluster = device::scanShares(shape.activates, shape.cols) ? 2 : 1;
    plan.functions.push_back(std::move(function));
  };
  if (spans == 1) {
    add("", "scanSpans", 1);
    return plan;
  }
  add("sums", "scanSpanSums", spans - 1);
  add("spans", "scanSpans", spans);
  plan.workspaceBytes = uint64_t(device::scanSpanBytes(
      spans, shape.heads * shape.rows * shape.cols, ctas));
  return plan;
}

static LogicalResult checkState(const ScanShape &shape, std::string &error) {
  if (shape.state.isContiguous())
    return success();
  error = "decay_scan needs a dense state, but \"" + shape.state.name +
          "\" has gaps between heads or rows";
  return failure();
}

/// As many tokens as slots: those of decodes. Else some sequence has several.
static bool isOfSingleTokens(const LaunchDesc &launch) {
  return launch.capacity <= launch.sequences && launch.capacity <= kMostRows;
}

static FailureOr<KernelPlan> planScan(const LaunchDesc &launch, bool activates,
                                      std::string &error) {
  ScanShape shape(launch);
  shape.activates = activates;
  if (failed(checkState(shape, error)))
    return failure();
  if (isOfSingleTokens(launch))
    return planTokens(launch, shape, /*everyToken=*/true, error);
  if (canTakeBlocks(shape))
    return planBlocks(launch, shape);
  return planTokens(launch, shape, /*everyToken=*/false, error);
}

FailureOr<KernelPlan> saddle::cuda::planSiLUDecayScan(const LaunchDesc &scan,
                                                      std::string &error) {
  return planScan(scan, /*activates=*/true, error);
}

FailureOr<KernelPlan> saddle::cuda::planDecayScan(const LaunchDesc &launch,
                                                  std::string &error) {
  return planScan(launch, /*activates=*/false, error);
}
