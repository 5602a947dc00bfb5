#include "passes/Target/Sm90a/Describe.h"

#include "dialects/Model/IR/ModelDialect.h"
#include "passes/Target/KernelStorage.h"
#include "passes/Target/Sm90a/Fusions/Fusions.h"
#include "runtime/kernels/abi.h"
#include "runtime/ops/Op.h"

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
  static bool isInPlace(LaunchOp launch) {
    auto bufferOf = [](Value value) {
      while (auto view = value.getDefiningOp<ViewOp>())
        value = view.getSource();
      return value;
    };
    llvm::SmallDenseSet<Value> inputs;
    for (Value input : launch.getInputs())
      inputs.insert(bufferOf(input));
    return llvm::any_of(launch.getOutputs(), [&](Value output) {
      return inputs.contains(bufferOf(output));
    });
  }

  LogicalResult describe(LaunchOp launch) {
    auto kernel = symbols.lookup<KernelOp>(launch.getKernel());
    desc.op = kernel.getReference().str();
    desc.constants = kernel.getConstants();
    desc.inPlace = isInPlace(launch);
    SmallVector<Value> values(launch.getInputs());
    llvm::append_range(values, launch.getOutputs());
    auto steps = kernel.getBody();
    SmallVector<const ops::Operand *> definitions(values.size());
    std::vector<std::vector<ops::Operand>> all; // what definitions point into
    size_t rankValues = 0;
    auto add = [&](StringRef op, ArrayRef<int64_t> indices,
                   DictionaryAttr constants) -> LogicalResult {
      for (NamedAttribute constant : constants)
        rankValues += isa<dist::RankValueAttr>(constant.getValue());
      const ops::Op *definition = ops::findOp(op.str());
      if (!definition)
        return launch.emitError("kernel ")
               << launch.getKernelAttr() << " is of op \"" << op
               << "\", which the runtime does not have";
      auto operands =
          definition->operandsOf(indices.size(), storagesOf(constants));
      if (!operands.ok())
        return launch.emitError(operands.status().message());
      all.push_back(std::move(*operands));
      for (auto [index, operand] : llvm::zip_equal(indices, all.back()))
        if (index < static_cast<int64_t>(values.size()) && !definitions[index])
          definitions[index] = &operand;
      return success();
    };
    if (steps) {
      all.reserve(steps->size());
      for (auto step : steps->getAsRange<StepAttr>()) {
        if (failed(add(step.getOp(), step.getValues(), step.getConstants())))
          return failure();
        desc.body.push_back({step.getOp().str(), step.getConstants(),
                             llvm::to_vector(step.getValues())});
      }
    } else if (failed(add(desc.op,
                          llvm::to_vector(llvm::seq<int64_t>(0, values.size())),
                          desc.constants))) {
      return failure();
    }
    if (rankValues > kMaxRankValues)
      return launch.emitError("kernel ")
             << launch.getKernelAttr() << " has " << rankValues
             << " attributes that depend on the rank; device kernels take up "
                "to "
             << kMaxRankValues;
    std::optional<size_t> counted;
    for (auto [index, value] : llvm::enumerate(values)) {
      if (!definitions[index])
        return launch.emitError("operand ")
               << index << " is in no step of kernel "
               << launch.getKernelAttr();
      if (!counted && definitions[index]->isCounted())
        counted = index;
      if (failed(addOperand(definitions[index]->name, value)))
        return failure();
      if (definitions[index]->traffic == ops::Traffic::Slots) {
        auto limits = model::Limits::get(command->getParentOfType<ModuleOp>());
        if (failed(limits))
          return failure();
        desc.sequences = limits->maxBatch;
      }
      Operand &operand = desc.operands.back();
      operand.encoding = definitions[index]->encoding;
      if (const auto &companion = definitions[index]->companion) {
        operand.companion = companion->kind;
        operand.blockRows = companion->blockRows;
        operand.blockCols = companion->blockCols;
        operand.divides = companion->divides;
      }
    }
    if (!counted)
      return launch.emitError("no operand has the rows of the launch");
    desc.extent = desc.outputExtent = launch.getExtent();
    desc.capacity = desc.operands[*counted].shape.front();
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
