// Follows the run-time row counts through an entry: who wrote a buffer with
// which extent, and who reads it.

#include "passes/Engine/Passes.h"

#include "dialects/Engine/IR/EngineDialect.h"
#include "passes/Target/KernelStorage.h"

#include "llvm/ADT/DenseMap.h"

namespace saddle::engine {
#define GEN_PASS_DEF_VERIFYEXTENTS
#include "passes/Engine/Passes.h.inc"
} // namespace saddle::engine

using namespace mlir;
using namespace saddle::engine;

namespace {

class EntryChecker {
public:
  explicit EntryChecker(ModuleOp module) : module(module) {}

  LogicalResult check(EntryOp entry) {
    written.clear();
    for (Operation &op : entry.getBody().front())
      if (failed(check(&op)))
        return failure();
    return success();
  }

private:
  LogicalResult check(Operation *op) {
    if (auto launch = dyn_cast<LaunchOp>(op)) {
      auto kernel = module.lookupSymbol<KernelOp>(launch.getKernel());
      for (auto [index, input] : llvm::enumerate(launch.getInputs()))
        if (isCounted(kernel, launch, index) &&
            failed(read(op, input, launch.getExtent())))
          return failure();
      for (Value output : launch.getOutputs())
        write(output, launch.getExtent());
    } else if (auto collective = dyn_cast<CollectiveOp>(op)) {
      if (failed(read(op, collective.getInput(), collective.getExtent())))
        return failure();
      write(collective.getOutput(),
            collective.getOutputExtent().value_or(collective.getExtent()));
    } else if (auto transfer = dyn_cast<TransferOp>(op)) {
      if (transfer.getKind() == TransferKind::Send)
        return read(op, transfer.getBuffer(), transfer.getExtent());
      write(transfer.getBuffer(), transfer.getExtent());
    } else if (auto copy = dyn_cast<CopyOp>(op)) {
      if (failed(read(op, copy.getSource(), copy.getExtent())))
        return failure();
      write(copy.getDest(), copy.getExtent());
    }
    return success();
  }

  /// Whether the rows of an operand are the launch's. Kernels that the runtime
  /// does not have are refused elsewhere.
  static bool isCounted(KernelOp kernel, LaunchOp launch, size_t index) {
    auto counts = [](StringRef op, size_t operands, DictionaryAttr constants,
                     size_t position) {
      const saddle::ops::Op *definition = saddle::ops::findOp(op.str());
      if (!definition)
        return true;
      auto all = definition->operandsOf(operands, storagesOf(constants));
      return !all.ok() || (*all)[position].isCounted();
    };
    if (!kernel)
      return true;
    if (!kernel.getBody())
      return counts(kernel.getReference(),
                    launch.getInputs().size() + launch.getOutputs().size(),
                    kernel.getConstants(), index);
    for (auto step : kernel.getBody()->getAsRange<StepAttr>())
      for (auto [position, value] : llvm::enumerate(step.getValues()))
        if (value == static_cast<int64_t>(index))
          return counts(step.getOp(), step.getValues().size(),
                        step.getConstants(), position);
    return true;
  }

  /// The buffer behind views; null for weights and states, which are whole.
  static BufferOp bufferOf(Value value) {
    while (auto view = value.getDefiningOp<ViewOp>())
      value = view.getSource();
    return value.getDefiningOp<BufferOp>();
  }

  void write(Value value, Extent extent) {
    if (BufferOp buffer = bufferOf(value))
      written[buffer] = extent;
  }

  LogicalResult read(Operation *op, Value value, Extent extent) {
    BufferOp buffer = bufferOf(value);
    auto writer = written.find(buffer);
    // The host fills step inputs; nothing else is read before it is written
    // (engine-verify-memory).
    if (!buffer || writer == written.end() || writer->second == extent)
      return success();
    InFlightDiagnostic diag = op->emitError("reads a buffer for ")
                              << stringifyExtent(extent)
                              << ", but it was written for "
                              << stringifyExtent(writer->second);
    diag.attachNote(buffer.getLoc()) << "buffer read here";
    return diag;
  }

  ModuleOp module;
  llvm::DenseMap<Operation *, Extent> written;
};

struct VerifyExtents : saddle::engine::impl::VerifyExtentsBase<VerifyExtents> {
  void runOnOperation() override {
    EntryChecker checker(getOperation());
    for (auto program : getOperation().getOps<ProgramOp>())
      for (auto entry : program.getBody().getOps<EntryOp>())
        if (failed(checker.check(entry)))
          return signalPassFailure();
  }
};

} // namespace
