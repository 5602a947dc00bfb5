// What an engine can run on. One object per target answers every question whose
// answer depends on it; nothing else compares names of targets.

#ifndef SADDLE_PASSES_TARGET_TARGET_H
#define SADDLE_PASSES_TARGET_TARGET_H

#include "passes/Target/Fusion.h"
#include "passes/Target/Machine.h"

#include "mlir/IR/BuiltinOps.h"

namespace saddle {

/// What the `engine.module`s of a target hold, and so who compiles them.
enum class DeviceCode {
  None, // there are none
  Cuda, // CUDA C++, for nvcc
};

/// What an engine's kernels are to be.
struct KernelOptions {
  /// Of every product the candidate of this number, whatever was measured; 0
  /// is the planner's choice, -1 the fastest one measured.
  int64_t tuningCandidate = -1;
};

class Target {
public:
  virtual ~Target() = default;

  /// As options and engine files spell it.
  virtual llvm::StringRef name() const = 0;

  /// The machine that predictions and plans are for.
  virtual const Machine &machine() const = 0;

  /// What it runs as one launch; of two that match one op, the first counts.
  virtual llvm::ArrayRef<const Fusion *> fusions() const = 0;

  /// Tokens of all attention replicas that a prefill step takes unless the user
  /// says otherwise: the more, the faster a long prompt, until memory or the
  /// decodes beside it matter.
  virtual int64_t prefillChunk() const { return 128; }

  /// Whether `reader`, a linear or experts that round their input, may be given
  /// it as codes (model.encode_rows) without loss of speed.
  virtual bool takesCodes(model::MatmulOpInterface) const { return false; }

  virtual DeviceCode deviceCode() const { return DeviceCode::None; }

  /// Gives every command of an `engine` module, whose memory is not planned
  /// yet, a kernel of the target. Nothing where commands run as they are.
  /// Errors are reported at the command that has no kernel.
  virtual llvm::LogicalResult specializeKernels(mlir::ModuleOp,
                                                const KernelOptions &) const {
    return llvm::success();
  }

  /// The fusion of that name; null without one.
  const Fusion *fusion(llvm::StringRef name) const;

  /// How many ops each launch has when ops of these kinds run one after the
  /// other on the same values: as many as a fusion covers, else one.
  llvm::SmallVector<size_t> launches(llvm::ArrayRef<mlir::TypeID> ops) const;
};

//===--- The targets of this version --------------------------------------===//

llvm::ArrayRef<const Target *> allTargets();

/// "cpu, sm_90a".
std::string targetNames();

/// What options without a target mean.
const Target &defaultTarget();

/// The target of that name; null without one.
const Target *findTarget(llvm::StringRef name);

/// The same, with an error at `at` that lists those known.
const Target *findTarget(llvm::StringRef name, mlir::Operation *at);

} // namespace saddle

#endif // SADDLE_PASSES_TARGET_TARGET_H
