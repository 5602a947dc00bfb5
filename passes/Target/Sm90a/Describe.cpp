#include "passes/Target/Sm90a/Describe.h"

#include "passes/Target/Sm90a/Fusions/Fusions.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::cuda;
using namespace saddle::engine;

/// runtime/kernels/abi.h.
static constexpr size_t kMaxOperands = 16, kMaxRankValues = 4;

bool saddle::cuda::isCommand(Operation *op) {
  return isa<LaunchOp, CollectiveOp, TransferOp, CopyOp>(op);
}

StringRef saddle::cuda::placeOf(Operation *command) {
  return command->getAttrOfType<StringAttr>("place").getValue();
}

/// The operands of a reference kernel, as docs/Runtime.md names them; empty
/// when the op is not known here.
static SmallVector<StringRef> operandNames(StringRef op) {
  if (const DeviceFusion *fusion = fusionOfOp(op))
    return llvm::to_vector_of<StringRef>(fusion->operandNames());
  using Names = ArrayRef<StringRef>;
  static constexpr StringRef kEmbedding[] = {"tokens", "table", "out"};
  static constexpr StringRef kNorm[] = {"x", "weight", "out"};
  static constexpr StringRef kAdd[] = {"a", "b", "out"};
  static constexpr StringRef kLinear[] = {"x", "w", "out"};
  static constexpr StringRef kLinearScaled[] = {"x", "w", "scale", "out"};
  static constexpr StringRef kScale[] = {"x", "sums", "weight", "out"};
  static constexpr StringRef kRope[] = {"x", "positions", "out"};
  static constexpr StringRef kAppend[] = {"k", "v", "slots", "kcache",
                                          "vcache"};
  static constexpr StringRef kAttention[] = {
      "q", "kcache", "vcache", "positions", "sequences", "block_table", "out"};
  static constexpr StringRef kRouter[] = {"logits", "bias", "weights",
                                          "experts"};
  static constexpr StringRef kExperts[] = {"x",   "weights", "experts",
                                           "w13", "w2",      "out"};
  static constexpr StringRef kExpertsScaled[] = {
      "x", "weights", "experts", "w13", "scale13", "w2", "scale2", "out"};
  static constexpr StringRef kSelect[] = {"x", "rows", "out"};
  Names names = llvm::StringSwitch<Names>(op)
                    .Case("embedding", kEmbedding)
                    .Case("rms_norm", kNorm)
                    .Case("add", kAdd)
                    .Case("linear", kLinear)
                    .Case("linear_scaled", kLinearScaled)
                    .Case("rms_scale", kScale)
                    .Case("rope", kRope)
                    .Case("kv_append", kAppend)
                    .Case("attention", kAttention)
                    .Case("router_topk", kRouter)
                    .Case("experts", kExperts)
                    .Case("experts_scaled", kExpertsScaled)
                    .Case("select_rows", kSelect)
                    .Default({});
  return llvm::to_vector(names);
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
    SmallVector<StringRef> names = operandNames(desc.op);
    for (auto [index, value] : llvm::enumerate(values)) {
      std::string name = names.size() == values.size() ? names[index].str()
                         : index < launch.getInputs().size()
                             ? "x" + std::to_string(index + 1)
                             : "out";
      if (failed(addOperand(std::move(name), value)))
        return failure();
    }
    // The rows of a launch are those of its first input, or those it selects.
    size_t counted = desc.op == "select_rows" ? 1 : 0;
    desc.extent = desc.outputExtent = launch.getExtent();
    desc.capacity = desc.operands[counted].shape.front();
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
