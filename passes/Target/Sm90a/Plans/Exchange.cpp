// all_reduce_sum, all_gather, reduce_scatter_sum, send and receive: which of
// the protocols of runtime/kernels/impls, with how many CTAs and how much
// memory of the group.

#include "passes/Target/Sm90a/Plans/Exchange.h"

#include "passes/Target/Sm90a/Plans/Plans.h"
#include "runtime/kernels/shared/exchange.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;

/// Below this, one more CTA costs more than it saves.
static constexpr int64_t kLeastThreads = 128;

static_assert(kWaitingBlocks <= device::kMaxWaitingBlocks &&
                  kExclusiveBlocks <= device::kMaxWaitingBlocks,
              "the group's memory has flags for so many");

// The largest sums, in bytes of a rank's input, of each protocol. Predicted for
// H200 with NVLink at 400 GB/s each way, 1 us for a hop and 2 us for the fences
// of a bulk exchange (research: kernels.md 3.2 and 3.3; SGLang's one-shot
// limits are 2 MB, 384 KB and 160 KB with packets of half the size).
static int64_t oneShotLimit(int64_t groupSize) {
  return groupSize == 2   ? 512 << 10
         : groupSize <= 4 ? 96 << 10
         : groupSize <= 8 ? 32 << 10
                          : 16 << 10;
}
static constexpr int64_t kTwoShotsLimit = 512 << 10;
/// Of gathers and scatters, in bytes that a rank sends.
static constexpr int64_t kPacketsLimit = 512 << 10;
/// From these bytes on, of the joined side, bulk exchanges get more CTAs where
/// every rank has a device; sums in packets always do. Measured on 4 H200: a
/// sum of 1 MB 14.9 us with 32 CTAs, 13.3 with 64 or 128; of 3
/// MB 31.3, 27.4, 25.0; of 48 MB 406, 281, 268.
static constexpr int64_t kExclusiveLimit = 1 << 20;

namespace {

/// Rows of an exchange: dimension 0, and all others together as columns.
struct Rows {
  Operand matrix;
  int64_t units(int64_t bytes) const {
    int64_t size = matrix.element.getIntOrFloatBitWidth() / 8;
    return matrix.shape[0] * llvm::divideCeil(matrix.shape[1] * size, bytes);
  }
  int64_t bytes() const {
    return matrix.shape[0] * matrix.shape[1] *
           (matrix.element.getIntOrFloatBitWidth() / 8);
  }
};

} // namespace

static FailureOr<Rows> rowsOf(const LaunchDesc &launch, const Operand &operand,
                              std::string &error) {
  Rows rows{operand};
  int64_t cols = 1;
  for (size_t i = operand.shape.size(); i-- > 1;) {
    if (operand.strides[i] != cols && operand.shape[i] != 1) {
      error =
          llvm::formatv("operand \"{0}\" of {1}: elements of dimension {2} "
                        "are {3} apart, expected {4}; only rows may lie "
                        "apart in an exchange",
                        operand.name, launch.op, i, operand.strides[i], cols);
      return failure();
    }
    cols *= operand.shape[i];
  }
  rows.matrix.shape = {operand.shape[0], cols};
  rows.matrix.strides = {operand.strides[0], 1};
  return rows;
}

bool saddle::cuda::fitsOneShot(int64_t bytes, int64_t groupSize) {
  return bytes <= oneShotLimit(groupSize);
}

KernelPlan saddle::cuda::planWaiting(StringRef header, std::string body,
                                     int64_t items, uint64_t memory) {
  FunctionPlan only;
  only.body = std::move(body);
  int64_t blocks = std::clamp<int64_t>(llvm::divideCeil(items, kLeastThreads),
                                       1, kWaitingBlocks);
  only.grid[0] = static_cast<uint32_t>(blocks);
  only.block = static_cast<uint32_t>(std::min<int64_t>(
      llvm::alignTo(llvm::divideCeil(items, blocks), 32), kWaitingThreads));
  only.residentBlocks = kWaitingResidentBlocks;
  KernelPlan plan;
  plan.headers = {header.str()};
  plan.functions.push_back(std::move(only));
  plan.exchangeBytes = memory;
  return plan;
}

/// The same in as many CTAs as are of use where every rank has a device.
static KernelPlan planExclusive(StringRef header, std::string body,
                                int64_t items, uint64_t memory) {
  KernelPlan plan = planWaiting(header, std::move(body), items, memory);
  FunctionPlan &only = plan.functions[0];
  int64_t blocks = std::min<int64_t>(llvm::divideCeil(items, kWaitingThreads),
                                     kExclusiveBlocks);
  if (blocks > only.grid[0])
    only.exclusiveGrid = static_cast<uint32_t>(blocks);
  return plan;
}

/// The same, of a bulk protocol that moves `bytes` in all. Threads without work
/// are of no use, so CTAs are full.
static KernelPlan planBulk(StringRef header, std::string body, int64_t items,
                           int64_t bytes) {
  return bytes >= kExclusiveLimit
             ? planExclusive(header, std::move(body), items,
                             device::kBulkMemory)
             : planWaiting(header, std::move(body), items, device::kBulkMemory);
}

static bool isSummable(const LaunchDesc &launch, std::string &error) {
  Type element = launch.operands[0].element;
  if (element.isF32() || element.isBF16() || element.isF16())
    return true;
  llvm::raw_string_ostream(error)
      << launch.op << " adds f32, bf16 or f16, but its input is " << element;
  return false;
}

FailureOr<KernelPlan> saddle::cuda::planAllReduceSum(const LaunchDesc &launch,
                                                     std::string &error) {
  if (!isSummable(launch, error))
    return failure();
  if (launch.groupSize == 1)
    return planCopy(launch, error);
  FailureOr<Rows> in = rowsOf(launch, launch.operands[0], error);
  FailureOr<Rows> out = rowsOf(launch, launch.operands[1], error);
  if (failed(in) || failed(out))
    return failure();
  int64_t size = launch.groupSize, units = in->units(device::kPacketPayload);
  int64_t share = llvm::divideCeil(units, size);
  constexpr StringRef kHeader = "impls/all_reduce.cuh";
  auto body = [&](StringRef function, uint64_t memory) -> std::string {
    return llvm::formatv("{0}<{1}, {2}, {3}, {4}, {5}>(p);", function, size,
                         static_cast<int>(launch.extent),
                         matrixType(in->matrix), matrixType(out->matrix),
                         memory);
  };
  if (fitsOneShot(in->bytes(), size)) {
    uint64_t memory = device::packetMemory(size * units);
    KernelPlan plan =
        planExclusive(kHeader, body("allReduceOneShot", memory), units, memory);
    FunctionPlan &only = plan.functions[0];
    only.waitsItself = true;
    // One more CTA, which looks for the members.
    if (only.grid[0] < kWaitingBlocks)
      ++only.grid[0];
    return plan;
  }
  if (in->bytes() <= kTwoShotsLimit) {
    uint64_t memory = device::packetMemory(2 * size * share);
    return planExclusive(kHeader, body("allReduceTwoShots", memory), share,
                         memory);
  }
  return planBulk(kHeader, body("allReduceBulk", device::kBulkMemory),
                  llvm::divideCeil(in->units(device::kBulkUnitBytes), size),
                  in->bytes());
}

/// A gather or a scatter: `part` is a member's side, `all` the joined one.
static FailureOr<KernelPlan>
planJoined(const LaunchDesc &launch, StringRef header, StringRef function,
           const Operand &part, engine::Extent extent, std::string &error) {
  if (launch.groupSize == 1)
    return planCopy(launch, error);
  FailureOr<Rows> in = rowsOf(launch, launch.operands[0], error);
  FailureOr<Rows> out = rowsOf(launch, launch.operands[1], error);
  if (failed(in) || failed(out))
    return failure();
  StringRef layout = "Whole";
  if (launch.dim == 0) {
    if (!launch.rows) {
      error = launch.op + " along dimension 0 needs to know how rows lie: "
                          "shares, packed or padded";
      return failure();
    }
    layout = *launch.rows == dist::RowLayout::Shares   ? "Shares"
             : *launch.rows == dist::RowLayout::Packed ? "Packed"
                                                       : "Padded";
  }
  // Behind the rows, only the first dimension that is not 1 is made of whole
  // parts that follow one another.
  for (int64_t i = 1; i < launch.dim; ++i)
    if (part.shape[i] != 1) {
      error = llvm::formatv("{0} along dimension {1} of a tensor whose "
                            "dimension {2} is {3}; expected dimension 0 or {2}",
                            launch.op, launch.dim, i, part.shape[i]);
      return failure();
    }
  const Rows &small = &part == &launch.operands[0] ? *in : *out;
  int64_t size = launch.groupSize, units = small.units(device::kPacketPayload);
  bool isSmall = small.bytes() * (size - 1) <= kPacketsLimit;
  uint64_t memory =
      isSmall ? device::packetMemory(size * units) : device::kBulkMemory;
  std::string body = llvm::formatv(
      "{0}{1}<{2}, RowLayout::{3}, {4}, {5}, {6}, {7}>(p);", function,
      isSmall ? "Packets" : "Bulk", size, layout, static_cast<int>(extent),
      matrixType(in->matrix), matrixType(out->matrix), memory);
  return isSmall ? planWaiting(header, std::move(body), units, memory)
                 : planBulk(header, std::move(body),
                            small.units(device::kBulkUnitBytes),
                            small.bytes() * size);
}

FailureOr<KernelPlan> saddle::cuda::planAllGather(const LaunchDesc &launch,
                                                  std::string &error) {
  return planJoined(launch, "impls/all_gather.cuh", "allGather",
                    launch.operands[0], launch.extent, error);
}

FailureOr<KernelPlan>
saddle::cuda::planReduceScatterSum(const LaunchDesc &launch,
                                   std::string &error) {
  if (!isSummable(launch, error))
    return failure();
  return planJoined(launch, "impls/reduce_scatter.cuh", "reduceScatter",
                    launch.operands[1], launch.outputExtent, error);
}

static FailureOr<KernelPlan>
planTransfer(const LaunchDesc &launch, StringRef function, std::string &error) {
  FailureOr<Rows> rows = rowsOf(launch, launch.operands[0], error);
  if (failed(rows))
    return failure();
  int64_t units = rows->units(device::kMailboxUnitBytes);
  uint64_t memory = device::boundaryMemory(units);
  return planWaiting("impls/transfer.cuh",
                     llvm::formatv("{0}<{1}, {2}, {3}>(p);", function,
                                   static_cast<int>(launch.extent),
                                   matrixType(rows->matrix), memory),
                     units, memory);
}

FailureOr<KernelPlan> saddle::cuda::planSend(const LaunchDesc &launch,
                                             std::string &error) {
  return planTransfer(launch, "sendRows", error);
}

FailureOr<KernelPlan> saddle::cuda::planReceive(const LaunchDesc &launch,
                                                std::string &error) {
  return planTransfer(launch, "receiveRows", error);
}
