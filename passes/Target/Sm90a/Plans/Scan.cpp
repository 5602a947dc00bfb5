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

/// How many warps a CTA has that takes blocks of tokens; 0 when none can.
static int64_t warpsOfBlocks(const ScanShape &shape) {
  bool isFast = shape.qkv.element.isBF16() && shape.out.element.isBF16() &&
                commonVector({&shape.qkv, &shape.out}) == 8 &&
                shape.rows % 16 == 0 && shape.rows <= device::kScanRows &&
                shape.cols % device::kScanColumns == 0;
  if (!isFast)
    return 0;
  // They share the weights that tokens have for each other.
  int64_t pieces = shape.cols / device::kScanColumns, warps = 4;
  while (pieces % warps != 0)
    warps /= 2;
  return warps;
}

/// In blocks of tokens that follow one another.
static KernelPlan planBlocks(const LaunchDesc &launch, const ScanShape &shape,
                             int64_t warps) {
  constexpr int64_t kResident = 2; // CTAs of a multiprocessor
  int64_t columns = warps * device::kScanColumns;
  int64_t bytes = device::scanSharedBytes(shape.rows, columns);
  int64_t ctas = shape.heads * (shape.cols / columns);
  // Spans of tokens that fill the machine, but none of a block or two.
  constexpr int64_t kLeast = 2 * device::kScanBlock;
  int64_t most = std::max<int64_t>(kResident * kMultiprocessors / ctas, 1);
  int64_t span = std::max(llvm::alignTo(llvm::divideCeil(launch.capacity, most),
                                        device::kScanBlock),
                          uint64_t(kLeast));
  int64_t spans = llvm::divideCeil(launch.capacity, span);

  FunctionPlan only;
  std::string head = slopesOf(launch) + shape.alias(launch);
  only.block = static_cast<uint32_t>(warps * 32);
  only.residentBlocks = kResident;
  only.sharedBytes = static_cast<uint32_t>(bytes);
  only.grid[0] = static_cast<uint32_t>(ctas);
  KernelPlan plan;
  if (spans == 1) {
    only.body = head + llvm::formatv("scanBlocks<S, {0}, /*sharedBytes=*/{1}>"
                                     "(p, slopes);",
                                     warps, bytes)
                           .str();
    only.grid[1] = runsOf(launch);
    plan.headers = {"impls/scan_blocks.cuh"};
    plan.functions = {std::move(only)};
    return plan;
  }
  auto bodyOf = [&](StringRef function) {
    return head +
           llvm::formatv("{0}<S, {1}, /*sharedBytes=*/{2}, /*span=*/{3}, "
                         "/*spans=*/{4}>(p, slopes);",
                         function, warps, bytes, span, spans)
               .str();
  };
  FunctionPlan sums = only;
  sums.suffix = "sums";
  sums.body = bodyOf("scanSpanSums");
  sums.grid[1] = static_cast<uint32_t>(spans - 1);
  only.suffix = "spans";
  only.body = bodyOf("scanSpans");
  only.grid[1] = static_cast<uint32_t>(spans);
  plan.headers = {"impls/scan_spans.cuh"};
  plan.functions = {std::move(sums), std::move(only)};
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

FailureOr<KernelPlan> saddle::cuda::planSiLUDecayScan(const LaunchDesc &scan,
                                                      std::string &error) {
  ScanShape shape(scan);
  shape.activates = true;
  if (failed(checkState(shape, error)))
    return failure();
  return planTokens(scan, shape, isOfSingleTokens(scan), error);
}

FailureOr<KernelPlan> saddle::cuda::planDecayScan(const LaunchDesc &launch,
                                                  std::string &error) {
  ScanShape shape(launch);
  if (failed(checkState(shape, error)))
    return failure();
  if (isOfSingleTokens(launch))
    return planTokens(launch, shape, /*everyToken=*/true, error);
  if (int64_t warps = warpsOfBlocks(shape))
    return planBlocks(launch, shape, warps);
  return planTokens(launch, shape, /*everyToken=*/false, error);
}
