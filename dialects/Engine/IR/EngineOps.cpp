// Verifiers of the `engine` dialect. Ids in comments are those of the
// constraints in EngineOps.td.

#include "dialects/Engine/IR/EngineDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::engine;

#define GET_OP_CLASSES
#include "dialects/Engine/IR/EngineOps.cpp.inc"

/// Finds a symbol of one op kind, or reports which kind was expected.
template <typename OpTy>
static FailureOr<OpTy> lookup(Operation *op, FlatSymbolRefAttr symbol,
                              SymbolTableCollection &symbols) {
  if (auto target = symbols.lookupNearestSymbolFrom<OpTy>(op, symbol))
    return target;
  // Symbols of the module are not nearest inside a program.
  if (auto module = op->getParentOfType<ModuleOp>())
    if (auto target = symbols.lookupSymbolIn<OpTy>(module, symbol))
      return target;
  return op->emitOpError() << symbol << " is not an '"
                           << OpTy::getOperationName() << "'";
}

//===----------------------------------------------------------------------===//
// Module-level symbols
//===----------------------------------------------------------------------===//

LogicalResult SourceOp::verify() {
  // source_c1
  auto type = cast<RankedTensorType>(getType());
  if (!type.hasStaticShape())
    return emitOpError("expected a static shape, but got ") << type;
  // source_c2
  int64_t stack = getStack();
  if (stack < 0)
    return emitOpError("expected a stack of at least 0, but got ") << stack;
  size_t expected = stack > 0 ? 1 : 0;
  if (getSource().count("{}") != expected)
    return emitOpError("expected ")
           << expected << " '{}' in the name of a source with stack " << stack
           << ", but got " << getSourceAttr();
  // source_c5
  if (std::optional<int64_t> group = getGroup())
    if (*group <= 0 || !getIgnored() || type.getRank() != 1 ||
        !type.getElementType().isInteger(32))
      return emitOpError("expected an ignored vector of i32 with a group of at "
                         "least 1, but got group ")
             << *group << " of " << type;
  // source_c6
  if (getZero() && !getIgnored())
    return emitOpError("expected a source that is ignored, but got one that "
                       "is read and must be zero");
  // source_c7
  if (std::optional<int64_t> over = getOver())
    if (*over < 1 || *over > UINT32_MAX || !getOf() ||
        !isa<FloatType>(type.getElementType()))
      return emitOpError("expected floats of a companion, divided by something "
                         "positive, but got ")
             << type << " over " << *over;
  // source_c4
  UnpackingAttr unpacking = getUnpackingAttr();
  if (!unpacking)
    return success();
  int64_t rows = unpacking.getRows(),
          cols = unpacking.getCols() * unpacking.getPer();
  if (unpacking.getTransposed())
    std::swap(rows, cols);
  if (model::PackingAttr packing = unpacking.getPacking()) {
    int64_t &along = packing.getRows() ? rows : cols;
    along = llvm::divideCeil(along, packing.getOrder().size());
  }
  if (type.getShape() == ArrayRef({rows, cols}))
    return success();
  return emitOpError("expected a tensor of ")
         << rows << " x " << cols << " to be unpacked as " << unpacking
         << ", but got " << type;
}

LogicalResult SourceOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // source_c3
  if (!getOfAttr())
    return success();
  if (getOf() == getSymName())
    return emitOpError("expected another source of which it is a companion");
  return lookup<SourceOp>(*this, getOfAttr(), symbols);
}

LogicalResult ArenaOp::verify() {
  // arena_c1
  int64_t bytes = getBytes(), alignment = getAlignment();
  if (bytes < 0 || alignment <= 0 || !llvm::isPowerOf2_64(alignment))
    return emitOpError("expected bytes of at least 0 and an alignment that is "
                       "a power of two, but got ")
           << bytes << " and " << alignment;
  return success();
}

/// An array of storages as kernels have them.
static bool isStorage(Attribute value) {
  auto storages = dyn_cast<ArrayAttr>(value);
  return storages && llvm::all_of(storages, [](Attribute each) {
           auto storage = dyn_cast<model::StorageAttr>(each);
           return storage &&
                  llvm::all_of(storage.getCompanions(), [](auto companion) {
                    return companion.getBlockRows() > 0 &&
                           companion.getBlockCols() > 0 &&
                           !companion.getSource();
                  });
         });
}

/// kernel_c1, of a kernel's or a step's attributes.
static LogicalResult verifyConstants(KernelOp kernel,
                                     DictionaryAttr constants) {
  for (NamedAttribute attr : constants)
    if (attr.getName() == EngineDialect::kStorageName) {
      if (!isStorage(attr.getValue()))
        return kernel.emitOpError("expected the storages of weights, with "
                                  "numbers for blocks and no sources, but got ")
               << attr.getValue();
    } else if (!isa<IntegerAttr, FloatAttr, dist::RankValueAttr>(
                   attr.getValue()))
      return kernel.emitOpError("expected attribute ")
             << attr.getName()
             << " to be an integer, a float or a #dist.rank_value, but got "
             << attr.getValue();
  return success();
}

LogicalResult KernelOp::verify() {
  // kernel_c1
  if (failed(verifyConstants(*this, getConstants())))
    return failure();
  // kernel_c4
  if (getBody()) {
    if (getBody()->size() < 2 || !getConstants().empty())
      return emitOpError("expected a body of at least two steps and no "
                         "attributes beside it, but got ")
             << getBody()->size() << " and " << getConstants();
    for (auto step : getBody()->getAsRange<StepAttr>())
      if (failed(verifyConstants(*this, step.getConstants())))
        return failure();
  }
  // kernel_c5
  if (getTemporaries()) {
    if (!getBody())
      return emitOpError("expected temporaries beside a body only");
    for (Type type : getTemporaries()->getAsValueRange<TypeAttr>()) {
      auto row = dyn_cast<RankedTensorType>(type);
      if (!row || !row.hasStaticShape())
        return emitOpError("expected temporaries to be tensors of a static "
                           "shape, but got ")
               << type;
    }
  }
  // kernel_c3
  if (getFunctions() && getFunctions()->empty())
    return emitOpError("expected at least one function");
  return success();
}

LogicalResult KernelOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // kernel_c2
  if (getFunctions())
    for (auto function : getFunctions()->getAsRange<FunctionAttr>())
      if (failed(lookup<DeviceModuleOp>(*this, function.getModule(), symbols)))
        return failure();
  return success();
}

LogicalResult DeviceModuleOp::verify() {
  // module_c1
  if (getSource().empty())
    return emitOpError("expected a source");
  return success();
}

LogicalResult RankGroupsOp::verify() {
  ArrayRef<int64_t> ranks = getRanks();
  int64_t size = getSize();
  // rank_groups_c1
  if (size <= 0 || ranks.empty() || ranks.size() % size != 0)
    return emitOpError("expected a size that divides ")
           << ranks.size() << " ranks, but got " << size;
  // rank_groups_c2
  llvm::BitVector seen(ranks.size());
  for (int64_t rank : ranks) {
    if (rank < 0 || rank >= static_cast<int64_t>(ranks.size()) ||
        seen.test(rank))
      return emitOpError("expected ranks 0 to ")
             << ranks.size() - 1 << ", each once, but got " << rank
             << (rank >= 0 && rank < static_cast<int64_t>(ranks.size())
                     ? " twice"
                     : "");
    seen.set(rank);
  }
  return success();
}

LogicalResult FusionOp::verify() {
  // fusion_c1
  if (getOps().size() < 2)
    return emitOpError("expected at least two ops, but got ")
           << getOps().size();
  return success();
}

//===----------------------------------------------------------------------===//
// Programs
//===----------------------------------------------------------------------===//

LogicalResult ProgramOp::verify() {
  // program_c2
  if (static_cast<int64_t>(getStage()) < 0)
    return emitOpError("expected a stage of at least 0");
  // program_c1
  for (Operation &op : getBody().front())
    if (!isa<WeightOp, StateOp, EntryOp>(op)) {
      InFlightDiagnostic diag =
          emitOpError("expected only weights, states and entries");
      diag.attachNote(op.getLoc()) << "found '" << op.getName() << "' here";
      return diag;
    }
  // program_c3
  for (Operation *before = (*this)->getPrevNode(); before;
       before = before->getPrevNode()) {
    auto other = dyn_cast<ProgramOp>(before);
    if (!other || other.getProgram() != getProgram() ||
        other.getStage() != getStage())
      continue;
    InFlightDiagnostic diag = emitOpError("is \"")
                              << getProgram() << "\" of stage " << getStage()
                              << ", as another one before it";
    diag.attachNote(other.getLoc()) << "the other one";
    return diag;
  }
  return success();
}

/// weight_c1, state_c1: the arena exists and is of a kind.
static LogicalResult verifyArena(Operation *op, FlatSymbolRefAttr symbol,
                                 SymbolTableCollection &symbols,
                                 ArrayRef<ArenaKind> kinds) {
  auto arena = lookup<ArenaOp>(op, symbol, symbols);
  if (failed(arena))
    return failure();
  if (llvm::is_contained(kinds, arena->getKind()))
    return success();
  InFlightDiagnostic diag = op->emitOpError("expected arena ")
                            << symbol << " to be ";
  llvm::interleave(
      kinds, diag, [&](ArenaKind kind) { diag << stringifyArenaKind(kind); },
      " or ");
  diag << ", but it is " << stringifyArenaKind(arena->getKind());
  return diag;
}

/// weight_c3, state_c2, buffer_c2.
static LogicalResult verifyDense(Operation *op, Type type) {
  auto memref = cast<MemRefType>(type);
  if (memref.hasStaticShape() && memref.getLayout().isIdentity())
    return success();
  return op->emitOpError(
             "expected a static shape and an identity layout, but got ")
         << memref;
}

LogicalResult WeightOp::verify() {
  // weight_c2
  if (getPieces().empty())
    return emitOpError("expected at least one piece");
  // weight_c3
  return verifyDense(*this, getType());
}

LogicalResult WeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // weight_c1
  if (failed(verifyArena(*this, getArenaAttr(), symbols, ArenaKind::Constant)))
    return failure();
  // weight_c2
  for (auto piece : getPieces().getAsRange<PieceAttr>())
    if (failed(lookup<SourceOp>(*this, piece.getSource(), symbols)))
      return failure();
  return success();
}

LogicalResult StateOp::verify() {
  // state_c2
  if (failed(verifyDense(*this, getType())))
    return failure();
  // state_c4
  auto type = cast<MemRefType>(getType());
  if (!getKind() || (type.getRank() > 0 && type.getDimSize(0) == 1))
    return success();
  return emitOpError("expected one page or sequence in dimension 0, but got ")
         << type;
}

LogicalResult StateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // state_c1
  if (failed(verifyArena(
          *this, getArenaAttr(), symbols,
          {ArenaKind::Pages, ArenaKind::Sequences, ArenaKind::Exchange})))
    return failure();
  // state_c3
  ArenaKind arena = lookup<ArenaOp>(*this, getArenaAttr(), symbols)->getKind();
  bool fits =
      arena == ArenaKind::Exchange ? !getKind()
      : arena == ArenaKind::Sequences
          ? getKind() == StateKind::Sequence
          : getKind() == StateKind::Paged || getKind() == StateKind::IndexKeys;
  if (fits)
    return success();
  StringRef expected = arena == ArenaKind::Exchange    ? "no kind"
                       : arena == ArenaKind::Sequences ? "kind sequence"
                                                       : "kind paged or "
                                                         "index_keys";
  return emitOpError("expected ")
         << expected << " in arena " << getArenaAttr() << " of "
         << stringifyArenaKind(arena) << ", but got "
         << (getKind() ? stringifyStateKind(*getKind()) : "none");
}

LogicalResult EntryOp::verify() {
  // entry_c1
  int64_t tokens = getTokens(), rows = getRows();
  if (tokens <= 0 || rows <= 0)
    return emitOpError("expected positive tokens and rows, but got ")
           << tokens << " and " << rows;
  // entry_c2
  llvm::StringSet<> names;
  for (auto bind : getBody().getOps<BindOp>())
    if (!names.insert(bind.getBinding()).second)
      return bind.emitOpError("binding ")
             << bind.getBindingAttr() << " stands twice";
  // entry_c3
  for (Operation &op : getBody().front()) {
    Attribute output = op.getAttr(EngineDialect::kOutputAttrName);
    if (output && (!isa<StringAttr>(output) ||
                   !isa<LaunchOp, CollectiveOp, TransferOp, CopyOp>(op)))
      return op.emitOpError("expected 'engine.output' to be a string on a "
                            "command, but got ")
             << output;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

LogicalResult BufferOp::verify() {
  // buffer_c2
  return verifyDense(*this, getResult().getType());
}

LogicalResult BufferOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // buffer_c1
  return verifyArena(*this, getArenaAttr(), symbols,
                     {ArenaKind::Transient, ArenaKind::IO});
}

LogicalResult GlobalOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // global_c1
  Operation *target = symbols.lookupNearestSymbolFrom(*this, getSymbolAttr());
  Type type;
  if (auto weight = dyn_cast_or_null<WeightOp>(target))
    type = weight.getType();
  else if (auto state = dyn_cast_or_null<StateOp>(target))
    type = state.getType();
  else
    return emitOpError() << getSymbolAttr()
                         << " is not an 'engine.weight' or 'engine.state'";
  if (type == getResult().getType())
    return success();
  InFlightDiagnostic diag = emitOpError("expected type ")
                            << type << " of " << getSymbolAttr() << ", but got "
                            << getResult().getType();
  diag.attachNote(target->getLoc()) << "defined here";
  return diag;
}

static std::pair<SmallVector<int64_t>, int64_t> layoutOf(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset = 0;
  // Static strided layouts only; anything else compares unequal below.
  if (failed(type.getStridesAndOffset(strides, offset)))
    strides.clear();
  return {strides, offset};
}

/// Elements of the source in one of a view of it; 0 when no such view can be.
static int64_t elementsInOne(Type source, Type result) {
  if (source == result)
    return 1;
  return source.isUnsignedInteger(8) && result.isIntOrFloat() &&
                 result.getIntOrFloatBitWidth() % 8 == 0
             ? result.getIntOrFloatBitWidth() / 8
             : 0;
}

void ViewOp::build(OpBuilder &builder, OperationState &state, Value source,
                   int64_t column, int64_t columns, Type element) {
  auto type = cast<MemRefType>(source.getType());
  auto [strides, offset] = layoutOf(type);
  int64_t each = elementsInOne(type.getElementType(), element);
  assert(each > 0 && strides.size() == 2 && "rows of elements, or of bytes");
  strides[0] /= each;
  auto layout = StridedLayoutAttr::get(builder.getContext(),
                                       (offset + column) / each, strides);
  build(builder, state,
        MemRefType::get({type.getDimSize(0), columns}, element, layout), source,
        builder.getI64IntegerAttr(column));
}

LogicalResult ViewOp::verify() {
  auto source = cast<MemRefType>(getSource().getType());
  auto result = cast<MemRefType>(getResult().getType());
  // view_c1
  int64_t each =
      elementsInOne(source.getElementType(), result.getElementType());
  if (source.getRank() != 2 || result.getRank() != 2 ||
      source.getDimSize(0) != result.getDimSize(0) || each == 0)
    return emitOpError("expected rank 2, the same rows and element type, or "
                       "bytes, but got ")
           << source << " and " << result;
  // view_c2
  int64_t column = getColumn(), columns = result.getDimSize(1) * each;
  int64_t extent = source.getDimSize(1);
  // Not column + columns, which can overflow.
  if (column < 0 || column > extent || columns > extent - column)
    return emitOpError("expected columns inside ")
           << extent << ", but got " << columns << " from " << column << " on";
  // view_c3
  auto [sourceStrides, sourceOffset] = layoutOf(source);
  auto [resultStrides, resultOffset] = layoutOf(result);
  if (sourceStrides.size() != 2 || resultStrides.size() != 2 ||
      sourceStrides[1] != 1 || resultStrides[1] != 1 ||
      resultStrides[0] * each != sourceStrides[0] ||
      resultOffset * each != sourceOffset + column)
    return emitOpError("expected the source's strides and offset ")
           << sourceOffset + column << ", in elements of the source, but got "
           << result;
  return success();
}

LogicalResult BindOp::verify() {
  // bind_c1
  if (getBuffer().getDefiningOp<BufferOp>())
    return success();
  return emitOpError("expected an 'engine.buffer'");
}

//===----------------------------------------------------------------------===//
// Commands
//===----------------------------------------------------------------------===//

/// launch_c2, collective_c2. `fusion` is null when none is named.
static LogicalResult verifyFusion(Operation *op, FlatSymbolRefAttr fusion,
                                  SymbolTableCollection &symbols) {
  if (!fusion)
    return success();
  return lookup<FusionOp>(op, fusion, symbols);
}

static bool isBytes(Value value) {
  auto type = cast<MemRefType>(value.getType());
  return type.getRank() == 1 && type.hasStaticShape() &&
         type.getLayout().isIdentity() && type.getElementType().isInteger(8);
}

/// launch_c4, collective_c5. `workspace` is null when there is none.
static LogicalResult verifyWorkspace(Operation *op, Value workspace,
                                     SymbolTableCollection &symbols) {
  if (!workspace)
    return success();
  auto buffer = workspace.getDefiningOp<BufferOp>();
  if (!buffer || !isBytes(workspace))
    return op->emitOpError("expected the workspace to be an 'engine.buffer', a "
                           "vector of i8, but got ")
           << workspace.getType();
  return verifyArena(op, buffer.getArenaAttr(), symbols, ArenaKind::Transient);
}

/// collective_c6, launch_c6. `exchange` is null when there is none.
static LogicalResult verifyExchange(Operation *op, Value exchange,
                                    SymbolTableCollection &symbols) {
  if (!exchange)
    return success();
  auto global = exchange.getDefiningOp<GlobalOp>();
  if (!global || !isBytes(exchange))
    return op->emitOpError("expected the exchange memory to be an "
                           "'engine.global', a vector of i8, but got ")
           << exchange.getType();
  auto state =
      symbols.lookupNearestSymbolFrom<StateOp>(op, global.getSymbolAttr());
  if (!state)
    return op->emitOpError()
           << global.getSymbolAttr() << " is not an 'engine.state'";
  return verifyArena(op, state.getArenaAttr(), symbols, ArenaKind::Exchange);
}

/// collective_c4, collective_c5, collective_c6, transfer_c2, copy_c2: what runs
/// a command that is no launch. `kernel` is null on the CPU target.
static LogicalResult verifyRunner(Operation *op, StringRef kind,
                                  FlatSymbolRefAttr kernel, Value workspace,
                                  Value exchange,
                                  SymbolTableCollection &symbols) {
  if (!kernel) {
    if (!workspace && !exchange)
      return success();
    return op->emitOpError(
        "expected a kernel beside workspace and exchange memory");
  }
  auto runner = lookup<KernelOp>(op, kernel, symbols);
  if (failed(runner))
    return failure();
  if (runner->getReference() != kind)
    return op->emitOpError("expected a kernel of op \"")
           << kind << "\", but " << kernel << " is of \""
           << runner->getReference() << "\"";
  if (failed(verifyWorkspace(op, workspace, symbols)))
    return failure();
  return verifyExchange(op, exchange, symbols);
}

LogicalResult LaunchOp::verify() {
  // launch_c3
  if (getInputs().empty() || getOutputs().empty())
    return emitOpError("expected at least one input and one output, but got ")
           << getInputs().size() << " and " << getOutputs().size();
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // launch_c1
  if (failed(lookup<KernelOp>(*this, getKernelAttr(), symbols)))
    return failure();
  // launch_c2
  if (failed(verifyFusion(*this, getFusionAttr(), symbols)))
    return failure();
  // launch_c4
  if (failed(verifyWorkspace(*this, getWorkspace(), symbols)))
    return failure();
  // launch_c5
  if (getGroupsAttr() &&
      failed(lookup<RankGroupsOp>(*this, getGroupsAttr(), symbols)))
    return failure();
  // launch_c6
  if (getExchange() && !getGroupsAttr())
    return emitOpError("expected groups beside exchange memory");
  return verifyExchange(*this, getExchange(), symbols);
}

LogicalResult CollectiveOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // collective_c1
  auto groups = lookup<RankGroupsOp>(*this, getGroupsAttr(), symbols);
  if (failed(groups) ||
      failed(verifyFusion(*this, getFusionAttr(), symbols))) // collective_c2
    return failure();
  // collective_c3
  auto input = cast<MemRefType>(getInput().getType());
  auto output = cast<MemRefType>(getOutput().getType());
  bool gathers = getKind() == CollectiveKind::AllGather;
  MemRefType share = gathers ? input : output;
  SmallVector<int64_t> expected(share.getShape());
  int64_t dim = getDim();
  if (dim < 0 || dim >= share.getRank())
    return emitOpError("expected dim below ")
           << share.getRank() << ", but got " << dim;
  if (getKind() != CollectiveKind::AllReduceSum)
    expected[dim] *= groups->getSize();
  MemRefType whole = gathers ? output : input;
  if (whole.getShape() == ArrayRef<int64_t>(expected) &&
      whole.getElementType() == share.getElementType())
    // collective_c4, collective_c5, collective_c6
    return verifyRunner(*this, stringifyCollectiveKind(getKind()),
                        getKernelAttr(), getWorkspace(), getExchange(),
                        symbols);
  return emitOpError("expected shapes of ")
         << stringifyCollectiveKind(getKind()) << " over groups of "
         << groups->getSize() << ", but got " << input << " to " << output;
}

LogicalResult TransferOp::verify() {
  // transfer_c1
  return verifyDense(*this, getBuffer().getType());
}

LogicalResult TransferOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // transfer_c2
  return verifyRunner(*this, stringifyTransferKind(getKind()), getKernelAttr(),
                      getWorkspace(), getExchange(), symbols);
}

LogicalResult CopyOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // copy_c2
  return verifyRunner(*this, "copy", getKernelAttr(), /*workspace=*/Value(),
                      /*exchange=*/Value(), symbols);
}

LogicalResult CopyOp::verify() {
  auto source = cast<MemRefType>(getSource().getType());
  auto dest = cast<MemRefType>(getDest().getType());
  // copy_c1
  if (source.getShape() == dest.getShape() &&
      source.getElementType() == dest.getElementType())
    return success();
  return emitOpError("expected equal shapes and element types, but got ")
         << source << " and " << dest;
}
