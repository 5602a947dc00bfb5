#include "passes/Target/Sm90a/Describe.h"

#include "passes/Engine/KernelStorage.h"
#include "runtime/kernels/abi.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;
using namespace saddle::engine;

using device::kMaxOperands, device::kMaxRankValues;

bool saddle::cuda::isCommand(Operation *op) {
  return isa<LaunchOp, CollectiveOp, TransferOp, CopyOp>(op);
}

StringRef saddle::cuda::placeOf(Operation *command) {
  return command->getAttrOfType<StringAttr>("place").getValue();
}

namespace {

class Describer {
public:
  Describer(Operation *command, const SymbolTable &symbols)
      : command(command), symbols(symbols) {}

  FailureOr<LaunchDesc> describe() {
    desc.constants = DictionaryAttr::get(command->getContext());
    LogicalResult result =
        llvm::TypeSwitch<Operation *, LogicalResult>(command)
            .Case<LaunchOp, CollectiveOp, TransferOp, CopyOp>(
                [&](auto op) { return describe(op); });
    if (failed(result))
      return failure();
    desc.groupSize = std::max<int64_t>(desc.groupSize, 1);
    return std::move(desc);
  }

private:
  LogicalResult describe(LaunchOp launch) {
    auto kernel = symbols.lookup<KernelOp>(launch.getKernel());
    desc.op = kernel.getReference().str();
    desc.constants = kernel.getConstants();
    size_t rankValues =
        llvm::count_if(desc.constants, [](NamedAttribute constant) {
          return isa<dist::RankValueAttr>(constant.getValue());
        });
    if (rankValues > kMaxRankValues)
      return launch.emitError("kernel ")
             << launch.getKernelAttr() << " has " << rankValues
             << " attributes that depend on the rank; device kernels take up "
                "to "
             << kMaxRankValues;
    SmallVector<Value> values(launch.getInputs());
    llvm::append_range(values, launch.getOutputs());
    const ops::Op *op = ops::findOp(desc.op);
    if (!op)
      return launch.emitError("kernel ")
             << launch.getKernelAttr() << " is of op \"" << desc.op
             << "\", which the runtime does not have";
    auto operands = op->operandsOf(values.size(), storagesOf(desc.constants));
    if (!operands.ok())
      return launch.emitError(operands.status().message());
    for (auto [value, operand] : llvm::zip_equal(values, *operands)) {
      if (failed(addOperand(operand.name, value)))
        return failure();
      if (!operand.companion)
        continue;
      desc.operands.back().blockRows = operand.companion->blockRows;
      desc.operands.back().blockCols = operand.companion->blockCols;
    }
    auto counted = llvm::find_if(*operands, [](const ops::Operand &operand) {
      return operand.isCounted();
    });
    assert(counted != operands->end() && "every op has rows");
    desc.extent = desc.outputExtent = launch.getExtent();
    desc.capacity = desc.operands[counted - operands->begin()].shape.front();
    if (auto groups = launch.getGroups())
      desc.groupSize = symbols.lookup<RankGroupsOp>(*groups).getSize();
    return success();
  }

  LogicalResult describe(CollectiveOp collective) {
    desc.op = stringifyCollectiveKind(collective.getKind()).str();
    if (failed(addOperand("input", collective.getInput())) ||
        failed(addOperand("output", collective.getOutput())))
      return failure();
    desc.extent = collective.getExtent();
    desc.outputExtent = collective.getOutputExtent().value_or(desc.extent);
    desc.capacity = desc.operands.front().shape.front();
    desc.groupSize =
        symbols.lookup<RankGroupsOp>(collective.getGroups()).getSize();
    desc.dim = collective.getDim();
    desc.rows = collective.getRows();
    return success();
  }

  LogicalResult describe(TransferOp transfer) {
    desc.op = stringifyTransferKind(transfer.getKind()).str();
    if (failed(addOperand("buffer", transfer.getBuffer())))
      return failure();
    desc.extent = desc.outputExtent = transfer.getExtent();
    desc.capacity = desc.operands.front().shape.front();
    return success();
  }

  LogicalResult describe(CopyOp copy) {
    desc.op = "copy";
    if (failed(addOperand("source", copy.getSource())) ||
        failed(addOperand("dest", copy.getDest())))
      return failure();
    desc.extent = desc.outputExtent = copy.getExtent();
    desc.capacity = desc.operands.front().shape.front();
    return success();
  }

  LogicalResult addOperand(std::string name, Value value) {
    auto type = cast<MemRefType>(value.getType());
    int64_t offset = 0;
    Operand operand;
    if (desc.operands.size() == kMaxOperands)
      return command->emitError("has more than ")
             << kMaxOperands << " operands; device kernels take no more";
    if (deviceType(type.getElementType()).empty())
      return command->emitError("operand \"")
             << name << "\" is of " << type.getElementType()
             << ", which no device kernel takes";
    // Static strided layouts only: the dialect's verifiers see to it.
    if (type.getRank() == 0 || type.getNumElements() == 0 ||
        failed(type.getStridesAndOffset(operand.strides, offset)))
      return command->emitError("operand \"")
             << name << "\" has no elements or no strides: " << type;
    operand.name = std::move(name);
    operand.element = type.getElementType();
    operand.shape.assign(type.getShape().begin(), type.getShape().end());
    uint64_t bytes = offset * (type.getElementTypeBitWidth() / 8);
    if (bytes != 0)
      operand.alignment = std::min<int64_t>(operand.alignment, bytes & -bytes);
    desc.operands.push_back(std::move(operand));
    return success();
  }

  Operation *command;
  const SymbolTable &symbols;
  LaunchDesc desc;
};

} // namespace

FailureOr<LaunchDesc> saddle::cuda::describe(Operation *command,
                                             const SymbolTable &symbols) {
  return Describer(command, symbols).describe();
}
