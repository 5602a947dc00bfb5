// What the CUDA target runs for one launch: a catalogue of device functions
// (runtime/kernels/impls), asked with an op and static shapes, answers with the
// CUDA C++ to print and how to launch it.

#ifndef SADDLE_PASSES_TARGET_SM90A_KERNELPLAN_H
#define SADDLE_PASSES_TARGET_SM90A_KERNELPLAN_H

#include "dialects/Dist/IR/DistDialect.h"
#include "dialects/Engine/IR/EngineDialect.h"
#include "passes/Target/Sm90a/Tuning.h"
#include "runtime/ops/Storage.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace saddle::cuda {

/// One operand: a strided view. Strides in elements, the last one is 1.
struct Operand {
  std::string name; // as in the op's signature: "x", "w", "w_scale", "out"
  mlir::Type element;
  llvm::SmallVector<int64_t> shape;
  llvm::SmallVector<int64_t> strides;
  /// The address is a multiple of this, a power of two up to 256, in bytes.
  /// Views of some columns can begin anywhere.
  int64_t alignment = 256;
  /// Of a weight: what its elements hold.
  ops::Encoding encoding;
  /// Of a companion: what it is to the weight before it, and how many rows and
  /// columns of that share an element.
  std::optional<schema::CompanionKind> companion;
  int64_t blockRows = 0, blockCols = 0;
  bool divides = false; // as ops::Companion

  bool isContiguous() const;
  int64_t elements() const;
};

/// One op of a fused launch's body.
struct LaunchStep {
  std::string op; // docs/RuntimeOps.md
  mlir::DictionaryAttr constants;
  /// Operands of the launch, and from their number on values between steps.
  llvm::SmallVector<int64_t> values;

  int64_t integer(llvm::StringRef name) const;
  double real(llvm::StringRef name) const;
};

/// A launch, or a collective or transfer, with everything static about it.
struct LaunchDesc {
  /// "linear", "all_reduce_sum", "send", ..., or the name of a fused group.
  std::string op;
  /// Of a single op; a fused launch has them in its steps.
  mlir::DictionaryAttr constants;
  /// Of a fused launch only.
  std::vector<LaunchStep> body;
  /// Inputs, then outputs; a transfer has one.
  std::vector<Operand> operands;
  /// Which run-time count bounds dimension 0, and the most it can be.
  engine::Extent extent;
  int64_t capacity;
  /// Of a launch with state of sequences: how many slots that has.
  int64_t sequences = 0;

  /// An output's buffer is an input's, too.
  bool inPlace = false;

  /// Ranks of the group of a collective, or of a launch that exchanges data.
  int64_t groupSize = 1;

  /// How its products are divided.
  const Tuning *tuning = &Tuning::measured();
  /// Of a step: candidates of the steps planned before, as Tuning::choose takes
  /// them.
  size_t waysBefore = 0;

  // Of a collective only.
  /// Bounds the output; the same as `extent` unless rows are joined or split.
  engine::Extent outputExtent;
  int64_t dim = 0;
  std::optional<dist::RowLayout> rows;

  /// Null when there is none of that name.
  const Operand *find(llvm::StringRef name) const;
  int64_t integer(llvm::StringRef name) const;
  double real(llvm::StringRef name) const;
};

/// When the function behind another one may become resident.
enum class Next {
  AtOnce,
  /// It reads, before it waits, what was there before the other one began.
  WhenWaited,
  /// It is slower beside the other one.
  WhenEnded,
};

/// One __global__ function. Functions of a kernel run one after the other with
/// the same parameters.
struct FunctionPlan {
  std::string suffix; // of its name; empty for a kernel's only function
  /// Statements that see `p`, the LaunchParams (runtime/kernels/abi.h), in
  /// namespace saddle::device.
  std::string body;
  uint32_t grid[3] = {1, 1, 1};
  /// Of a kernel that waits for peers: CTAs in place of grid[0] when every rank
  /// has a device of its own; 0: the same.
  uint32_t exclusiveGrid = 0;
  /// CTAs of a cluster, which divide grid[0]; 1: no clusters.
  uint32_t cluster = 1;
  uint32_t block = 1;
  /// Dynamic shared memory.
  uint32_t sharedBytes = 0;
  /// CTAs that must fit on a multiprocessor at a time, for __launch_bounds__;
  /// 0 says nothing.
  uint32_t residentBlocks = 0;
  /// The body calls waitForPrevious() itself, before it reads or writes what a
  /// launch before may write or read; it may fetch weights earlier. It calls
  /// allowNext(), too.
  bool waitsItself = false;
  /// When the next function may become resident, unless this one waits itself.
  Next next = Next::AtOnce;
};

struct KernelPlan {
  /// Below runtime/kernels/: "impls/rms_norm.cuh".
  std::vector<std::string> headers;
  std::vector<FunctionPlan> functions;
  /// Scratch memory of a launch, 256-aligned, undefined at its start.
  uint64_t workspaceBytes = 0;
  /// Of a kernel that communicates: bytes that it needs in its group's
  /// exchange memory. All kernels of a group share one block, as large as the
  /// largest need.
  uint64_t exchangeBytes = 0;
  /// What it divides.
  std::vector<DividedProduct> products;
};

/// The plan for a launch; a failure says in `error` what is not supported:
/// sizes far beyond those of M2-family models, or a layout that no pass makes.
llvm::FailureOr<KernelPlan> planKernel(const LaunchDesc &launch,
                                       std::string &error);

//===--- Helpers for planners ---------------------------------------------===//

/// The device type of an element type: "bf16", "f32", "f16", "e4m3", "i32", of
/// stored weights also "u8", "i8" and "e8m0"; empty for any other, which no
/// launch has.
llvm::StringRef deviceType(mlir::Type element);

/// "Matrix<bf16, 64, 3072, 8192>": type, rows, columns, row stride, and the
/// alignment when it is below 16 bytes. A vector is one row; leading dimensions
/// of a stack count rows.
std::string matrixType(const Operand &operand);

} // namespace saddle::cuda

#endif // SADDLE_PASSES_TARGET_SM90A_KERNELPLAN_H
