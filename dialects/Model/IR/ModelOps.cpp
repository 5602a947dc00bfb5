// Verifiers of the `model` dialect. Ids in comments are those of the
// constraints in ModelOps.td.

#include "dialects/Model/IR/ModelDialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace saddle::model;

#define GET_OP_CLASSES
#include "dialects/Model/IR/ModelOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

static RankedTensorType tensorType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// Dimensions agree when equal or when one is not known yet.
static bool sameExtent(int64_t a, int64_t b) {
  return a == b || ShapedType::isDynamic(a) || ShapedType::isDynamic(b);
}

static LogicalResult verifyRank(Operation *op, Type type, StringRef what,
                                int64_t rank) {
  int64_t found = cast<RankedTensorType>(type).getRank();
  if (found == rank)
    return success();
  return op->emitOpError() << "expected " << what << " of rank " << rank
                           << ", but got rank " << found;
}

static LogicalResult verifySameTokens(Operation *op, Type a, StringRef whatA,
                                      Type b, StringRef whatB) {
  int64_t tokensA = cast<RankedTensorType>(a).getDimSize(0);
  int64_t tokensB = cast<RankedTensorType>(b).getDimSize(0);
  if (sameExtent(tokensA, tokensB))
    return success();
  return op->emitOpError() << "expected as many tokens in " << whatA
                           << " as in " << whatB << ", but got " << tokensA
                           << " and " << tokensB;
}

static LogicalResult verifyPositive(Operation *op, StringRef what,
                                    double value) {
  if (value > 0)
    return success();
  return op->emitOpError() << "expected a positive " << what;
}

/// Finds the weight that `symbol` names, or reports why it cannot.
static FailureOr<WeightOpInterface>
lookupWeight(Operation *op, FlatSymbolRefAttr symbol,
             SymbolTableCollection &symbols) {
  Operation *target = symbols.lookupNearestSymbolFrom(op, symbol);
  if (!target)
    return op->emitOpError() << "weight " << symbol << " is not defined";
  auto weight = dyn_cast<WeightOpInterface>(target);
  if (!weight) {
    InFlightDiagnostic diag = op->emitOpError() << symbol << " is not a weight";
    diag.attachNote(target->getLoc()) << "it is defined here";
    return diag;
  }
  return weight;
}

/// Checks a weight against the shape that the op implies. Extents that are not
/// known are not compared.
static LogicalResult verifyWeightShape(Operation *op, FlatSymbolRefAttr symbol,
                                       SymbolTableCollection &symbols,
                                       ArrayRef<int64_t> expected) {
  auto weight = lookupWeight(op, symbol, symbols);
  if (failed(weight))
    return failure();
  RankedTensorType type = weight->getWeightType();
  bool matches =
      type.getRank() == static_cast<int64_t>(expected.size()) &&
      llvm::all_of(llvm::zip_equal(type.getShape(), expected), [](auto pair) {
        return sameExtent(std::get<0>(pair), std::get<1>(pair));
      });
  if (matches)
    return success();
  InFlightDiagnostic diag = op->emitOpError()
                            << "expected weight " << symbol << " of shape [";
  llvm::interleaveComma(expected, diag, [&](int64_t extent) {
    if (ShapedType::isDynamic(extent))
      diag << "?";
    else
      diag << extent;
  });
  diag << "], but it is " << type;
  diag.attachNote(weight->getLoc()) << "weight defined here";
  return diag;
}

static LogicalResult verifyActGroup(Operation *op,
                                    std::optional<int64_t> actGroup,
                                    FlatSymbolRefAttr symbol,
                                    SymbolTableCollection &symbols) {
  if (!actGroup)
    return success();
  if (*actGroup <= 0)
    return op->emitOpError("expected a positive act_group");
  auto weight = lookupWeight(op, symbol, symbols);
  if (failed(weight))
    return failure();
  if (weight->getWeightStorage().find(CompanionKind::Scale))
    return success();
  return op->emitOpError() << "act_group needs a weight with a scale, but "
                           << symbol << " has none";
}

static size_t countPlaceholders(StringRef source) { return source.count("{}"); }

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

RankedTensorType WeightOp::getWeightType() {
  return cast<RankedTensorType>(getType());
}

StorageAttr WeightOp::getWeightStorage() {
  return getStorageAttr() ? getStorageAttr()
                          : StorageAttr::getPlain(getContext());
}

LogicalResult WeightOp::verify() {
  RankedTensorType type = getWeightType();
  // weight_c1
  if (!type.hasStaticShape() || type.getRank() < 1 || type.getRank() > 3)
    return emitOpError("expected a static shape of rank 1 to 3, but got ")
           << type;
  Type element = type.getElementType();
  if (!isa<Float32Type, BFloat16Type, Float16Type, Float8E4M3FNType,
           Float4E2M1FNType>(element) &&
      !element.isUnsignedInteger(4) && !element.isUnsignedInteger(8) &&
      !element.isSignedInteger(8) && !element.isSignlessInteger(64))
    return emitOpError("expected storage f32, bf16, f16, f8E4M3FN, f4E2M1FN, "
                       "ui4, ui8, si8 or i64, but got ")
           << element;
  // weight_c2
  if (static_cast<int64_t>(getDims().size()) != type.getRank())
    return emitOpError("expected one name for each of ")
           << type.getRank() << " dimensions, but got " << getDims().size();
  // weight_c3
  bool isStackOfOne = type.getRank() == 3 && type.getDimSize(0) == 1 &&
                      countPlaceholders(getSource()) == 0;
  size_t expected = type.getRank() == 3 && !isStackOfOne ? 1 : 0;
  if (countPlaceholders(getSource()) != expected)
    return emitOpError("expected ")
           << expected << " '{}' in the source of a rank " << type.getRank()
           << " weight, but got " << getSourceAttr();
  // weight_c4
  StorageAttr storage = getWeightStorage();
  if (PackingAttr packing = storage.getPacking())
    if (packing.getOrder().size() * element.getIntOrFloatBitWidth() !=
        packing.getWord().getWidth())
      return emitOpError() << packing.getOrder().size() << " values of "
                           << element << " do not fill a word of "
                           << packing.getWord();
  // weight_c9
  bool inPairs = element.getIntOrFloatBitWidth() == 4;
  if (inPairs && !storage.getPacking())
    return emitOpError("expected ")
           << element << " to be packed, but got " << storage;
  if (inPairs && type.getShape().back() % 2 != 0)
    return emitOpError("expected an even number of columns of ")
           << element << ", two to a byte, but got " << type;
  // weight_c10
  if (storage.getRotated() &&
      type.getShape().back() % storage.getRotated() != 0)
    return emitOpError("expected columns in multiples of ")
           << storage.getRotated() << ", which are rotated together, but got "
           << type;
  // weight_c7
  if (!storage.isPlain() && type.getRank() < 2)
    return emitOpError("expected rank 2 or 3 of a weight that is not stored as "
                       "its values, but got ")
           << type;
  for (CompanionAttr companion : storage.getCompanions()) {
    StringRef kind = stringifyCompanionKind(companion.getKind());
    // weight_c5
    if (!companion.getSource())
      return emitOpError("expected a source of the ") << kind;
    // weight_c6
    if (countPlaceholders(companion.getSource().getValue()) != expected)
      return emitOpError("expected ")
             << expected << " '{}' in the source of the " << kind << ", "
             << companion.getSource();
  }
  // weight_c8
  for (auto [dim, extent] :
       llvm::zip_equal(getDims().getAsRange<DimAttr>(), type.getShape()))
    if (extent % dim.getUnit() != 0)
      return emitOpError("expected dimension ")
             << dim.getName() << " to be a multiple of its unit "
             << dim.getUnit() << ", but got " << extent;
  return success();
}

/// kv_cache_c1, kv_cache_c2, index_keys_c1, index_keys_c2: vectors of tokens.
template <typename OpTy>
static LogicalResult verifyTokenState(OpTy op) {
  auto heads = static_cast<int64_t>(op.getHeads());
  auto headDim = static_cast<int64_t>(op.getHeadDim());
  if (heads <= 0 || headDim <= 0)
    return op.emitOpError("expected positive heads and head_dim, but got ")
           << heads << " and " << headDim;
  if (!isa<Float32Type, BFloat16Type, Float8E4M3FNType>(op.getType()))
    return op.emitOpError("expected f32, bf16 or f8E4M3FN, but got ")
           << op.getType();
  return success();
}

template <typename OpTy>
static MemRefType tokenPage(OpTy op, int64_t pageSize) {
  return MemRefType::get({1, pageSize, static_cast<int64_t>(op.getHeads()),
                          static_cast<int64_t>(op.getHeadDim())},
                         op.getType());
}

LogicalResult KVCacheOp::verify() {
  // kv_cache_c1, kv_cache_c2
  return verifyTokenState(*this);
}

StateKind KVCacheOp::getStateKind() { return StateKind::Paged; }
int64_t KVCacheOp::getStateHeads() { return getHeads(); }
void KVCacheOp::setStateHeads(int64_t heads) { setHeads(heads); }
StringRef KVCacheOp::getStateHeadsDim() { return getDim(); }
SmallVector<StateBuffer> KVCacheOp::getStateBuffers(int64_t pageSize) {
  MemRefType page = tokenPage(*this, pageSize);
  return {{".k", page}, {".v", page}};
}

LogicalResult IndexKeysOp::verify() {
  // index_keys_c1, index_keys_c2
  return verifyTokenState(*this);
}

StateKind IndexKeysOp::getStateKind() { return StateKind::IndexKeys; }
int64_t IndexKeysOp::getStateHeads() { return getHeads(); }
void IndexKeysOp::setStateHeads(int64_t heads) { setHeads(heads); }
StringRef IndexKeysOp::getStateHeadsDim() { return getDim().value_or(""); }
SmallVector<StateBuffer> IndexKeysOp::getStateBuffers(int64_t pageSize) {
  return {{".keys", tokenPage(*this, pageSize)}};
}

LogicalResult RecurrentStateOp::verify() {
  // recurrent_state_c1
  auto heads = static_cast<int64_t>(getHeads());
  auto rows = static_cast<int64_t>(getRows());
  auto cols = static_cast<int64_t>(getCols());
  if (heads > 0 && rows > 0 && cols > 0)
    return success();
  return emitOpError("expected positive heads, rows and cols, but got ")
         << heads << ", " << rows << " and " << cols;
}

StateKind RecurrentStateOp::getStateKind() { return StateKind::Sequence; }
int64_t RecurrentStateOp::getStateHeads() { return getHeads(); }
void RecurrentStateOp::setStateHeads(int64_t heads) { setHeads(heads); }
StringRef RecurrentStateOp::getStateHeadsDim() { return getDim(); }
SmallVector<StateBuffer> RecurrentStateOp::getStateBuffers(int64_t) {
  auto type = MemRefType::get({1, static_cast<int64_t>(getHeads()),
                               static_cast<int64_t>(getRows()),
                               static_cast<int64_t>(getCols())},
                              Float32Type::get(getContext()));
  return {{".state", type}};
}

LogicalResult TokenRowsOp::verify() {
  // token_rows_c1
  if (static_cast<int64_t>(getWidth()) <= 0)
    return emitOpError("expected a positive width, but got ")
           << static_cast<int64_t>(getWidth());
  // token_rows_c2
  if (isa<Float32Type, BFloat16Type>(getType()))
    return success();
  return emitOpError("expected f32 or bf16, but got ") << getType();
}

StateKind TokenRowsOp::getStateKind() { return StateKind::Paged; }
int64_t TokenRowsOp::getStateHeads() { return 1; }
void TokenRowsOp::setStateHeads(int64_t) {} // never split
StringRef TokenRowsOp::getStateHeadsDim() { return ""; }
SmallVector<StateBuffer> TokenRowsOp::getStateBuffers(int64_t pageSize) {
  auto type = MemRefType::get({1, pageSize, static_cast<int64_t>(getWidth())},
                              getType());
  return {{".rows", type}};
}

//===----------------------------------------------------------------------===//
// Dense ops
//===----------------------------------------------------------------------===//

LogicalResult EmbeddingOp::verify() {
  // embedding_c1
  if (failed(verifyRank(*this, getTokens().getType(), "tokens", 1)) ||
      failed(verifyRank(*this, getType(), "a result", 2)))
    return failure();
  return verifySameTokens(*this, getTokens().getType(), "the tokens", getType(),
                          "the result");
}

LogicalResult EmbeddingOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // embedding_c2
  if (failed(verifyWeightShape(
          *this, getTableAttr(), symbols,
          {ShapedType::kDynamic, tensorType(getResult()).getDimSize(1)})))
    return failure();
  // embedding_c3
  StorageAttr storage =
      lookupWeight(*this, getTableAttr(), symbols)->getWeightStorage();
  if (storage.isPlain())
    return success();
  return emitOpError("expected a table that is stored as its values, but ")
         << getTableAttr() << " is stored as " << storage;
}

LogicalResult RMSNormOp::verify() {
  // rms_norm_c1
  if (failed(verifyRank(*this, getType(), "an input", 2)))
    return failure();
  // rms_norm_c2
  return verifyPositive(*this, "eps", getEps().convertToDouble());
}

LogicalResult RMSNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // rms_norm_c1
  return verifyWeightShape(*this, getWeightAttr(), symbols,
                           {tensorType(getResult()).getDimSize(1)});
}

LogicalResult LinearOp::verify() {
  // linear_c1
  if (failed(verifyRank(*this, getInput().getType(), "an input", 2)) ||
      failed(verifyRank(*this, getType(), "a result", 2)) ||
      failed(verifySameTokens(*this, getInput().getType(), "the input",
                              getType(), "the result")))
    return failure();
  // linear_c4
  Type input = tensorType(getInput()).getElementType();
  Type result = tensorType(getResult()).getElementType();
  if (result != input && !result.isF32())
    return emitOpError("expected a result of ")
           << input << " or f32, but got " << result;
  return success();
}

LogicalResult LinearOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // linear_c2
  if (failed(verifyWeightShape(*this, getWeightAttr(), symbols,
                               {tensorType(getResult()).getDimSize(1),
                                tensorType(getInput()).getDimSize(1)})))
    return failure();
  // linear_c3
  return verifyActGroup(*this, getActGroup(), getWeightAttr(), symbols);
}

LogicalResult SplitOp::verify() {
  RankedTensorType input = tensorType(getInput());
  if (failed(verifyRank(*this, input, "an input", 2)))
    return failure();
  int64_t columns = 0;
  for (Value result : getResults()) {
    RankedTensorType type = tensorType(result);
    // split_c1
    if (failed(verifyRank(*this, type, "results", 2)) ||
        failed(verifySameTokens(*this, input, "the input", type, "a result")))
      return failure();
    if (type.getElementType() != input.getElementType())
      return emitOpError("expected results of ")
             << input.getElementType() << ", but got " << type.getElementType();
    columns += type.getDimSize(1);
  }
  // split_c2
  if (columns != input.getDimSize(1))
    return emitOpError("expected results with ")
           << input.getDimSize(1) << " columns in all, but got " << columns;
  return success();
}

/// encode_rows_c2, linear_of_codes_c3, experts_of_codes_c3.
static LogicalResult verifyFactors(Operation *op, StringRef name, int64_t group,
                                   RankedTensorType rows,
                                   RankedTensorType factors) {
  if (group <= 0)
    return op->emitOpError("expected a positive ") << name;
  int64_t expected = llvm::divideCeil(rows.getDimSize(1), group);
  if (factors.getDimSize(1) == expected)
    return success();
  return op->emitOpError("expected a factor for each ")
         << group << " of " << rows.getDimSize(1) << " columns, " << expected
         << " in all, but got " << factors.getDimSize(1);
}

/// Of rank 2 all, with the tokens of the first.
static LogicalResult verifyRows(Operation *op,
                                ArrayRef<std::pair<Value, StringRef>> values) {
  for (auto [value, what] : values)
    if (failed(verifyRank(op, value.getType(), what, 2)) ||
        failed(verifySameTokens(op, value.getType(), what,
                                values.front().first.getType(),
                                values.front().second)))
      return failure();
  return success();
}

LogicalResult EncodeRowsOp::verify() {
  // encode_rows_c1
  if (failed(verifyRows(*this, {{getInput(), "the input"},
                                {getCodes(), "the codes"},
                                {getFactors(), "the factors"}})))
    return failure();
  int64_t columns = tensorType(getInput()).getDimSize(1),
          codes = tensorType(getCodes()).getDimSize(1);
  if (columns != codes)
    return emitOpError("expected a code for each of ")
           << columns << " columns, but got " << codes;
  return verifyFactors(*this, "group", getGroup(), tensorType(getCodes()),
                       tensorType(getFactors()));
}

LogicalResult LinearOfCodesOp::verify() {
  // linear_of_codes_c1
  if (failed(verifyRows(*this, {{getCodes(), "the codes"},
                                {getFactors(), "the factors"},
                                {getResult(), "the result"}})))
    return failure();
  return verifyFactors(*this, "act_group", getActGroup(),
                       tensorType(getCodes()), tensorType(getFactors()));
}

LogicalResult
LinearOfCodesOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // linear_of_codes_c2
  if (failed(verifyWeightShape(*this, getWeightAttr(), symbols,
                               {tensorType(getResult()).getDimSize(1),
                                tensorType(getCodes()).getDimSize(1)})))
    return failure();
  return verifyActGroup(*this, getActGroup(), getWeightAttr(), symbols);
}

saddle::model::RowBytes::RowBytes(TypeRange parts) {
  constexpr int64_t kAlignment = 16; // of copies
  for (Type part : parts) {
    auto type = cast<RankedTensorType>(part);
    offsets.push_back(total);
    total = llvm::alignTo(total + type.getDimSize(1) *
                                      (type.getElementTypeBitWidth() / 8),
                          kAlignment);
  }
}

/// join_bytes and split_bytes: `bytes` are rows of `parts`, one behind the
/// other.
static LogicalResult verifyBytes(Operation *op, RankedTensorType bytes,
                                 StringRef what, ValueRange parts,
                                 StringRef whatParts) {
  if (parts.empty())
    return op->emitOpError("expected at least one of ") << whatParts;
  if (failed(verifyRank(op, bytes, what, 2)))
    return failure();
  for (Value part : parts) {
    RankedTensorType type = tensorType(part);
    if (failed(verifyRank(op, type, whatParts, 2)) ||
        failed(verifySameTokens(op, type, whatParts, bytes, what)))
      return failure();
    if (type.isDynamicDim(1))
      return op->emitOpError("expected ")
             << whatParts << " with a number of columns, but got " << type;
  }
  int64_t expected = RowBytes(parts.getTypes()).total;
  if (bytes.getDimSize(1) == expected)
    return success();
  return op->emitOpError("expected ")
         << expected << " bytes, a row of " << whatParts
         << " at multiples of 16, but got " << bytes.getDimSize(1);
}

LogicalResult JoinBytesOp::verify() {
  // join_bytes_c1, join_bytes_c2
  if (failed(verifyBytes(*this, tensorType(getResult()), "the result",
                         getInputs(), "the inputs")))
    return failure();
  // join_bytes_c3
  for (Value input : getInputs()) {
    auto joins = llvm::count_if(input.getUses(), [](OpOperand &use) {
      return isa<JoinBytesOp>(use.getOwner());
    });
    if (joins > 1)
      return emitOpError("expected inputs that are joined once, but one of ")
             << input.getType() << " is joined " << joins << " times";
  }
  return success();
}

LogicalResult SplitBytesOp::verify() {
  // split_bytes_c1, split_bytes_c2
  return verifyBytes(*this, tensorType(getInput()), "the input", getResults(),
                     "the results");
}

LogicalResult ConcatOp::verify() {
  RankedTensorType result = tensorType(getResult());
  // concat_c1
  if (getInputs().empty())
    return emitOpError("expected at least one input");
  if (failed(verifyRank(*this, result, "a result", 2)))
    return failure();
  int64_t columns = 0;
  for (Value input : getInputs()) {
    RankedTensorType type = tensorType(input);
    if (failed(verifyRank(*this, type, "inputs", 2)) ||
        failed(verifySameTokens(*this, type, "an input", result, "the result")))
      return failure();
    if (type.getElementType() != result.getElementType())
      return emitOpError("expected inputs of ")
             << result.getElementType() << ", but got "
             << type.getElementType();
    columns += type.getDimSize(1);
  }
  // concat_c2
  if (columns != result.getDimSize(1))
    return emitOpError("expected inputs with ")
           << result.getDimSize(1) << " columns in all, but got " << columns;
  return success();
}

LogicalResult SelectRowsOp::verify() {
  RankedTensorType input = tensorType(getInput());
  RankedTensorType result = tensorType(getResult());
  // select_rows_c1
  if (failed(verifyRank(*this, getRows().getType(), "rows", 1)) ||
      failed(verifyRank(*this, input, "an input", 2)) ||
      failed(verifyRank(*this, result, "a result", 2)))
    return failure();
  if (input.getDimSize(1) != result.getDimSize(1) ||
      input.getElementType() != result.getElementType())
    return emitOpError("expected a result like the input's rows, but got ")
           << result << " from " << input;
  // select_rows_c2
  return verifySameTokens(*this, getRows().getType(), "the rows", result,
                          "the result");
}

LogicalResult LayerBoundaryOp::verify() {
  // layer_boundary_c1
  if (failed(verifyRank(*this, getType(), "an input", 2)))
    return failure();
  if (static_cast<int64_t>(getLayer()) < 0)
    return emitOpError("expected a layer of at least 0, but got ")
           << static_cast<int64_t>(getLayer());
  return success();
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

LogicalResult QKNormOp::verify() {
  // qk_norm_c1
  if (failed(verifyRank(*this, getQ().getType(), "q", 2)) ||
      failed(verifyRank(*this, getK().getType(), "k", 2)) ||
      failed(verifySameTokens(*this, getQ().getType(), "q", getK().getType(),
                              "k")))
    return failure();
  // qk_norm_c3
  return verifyPositive(*this, "eps", getEps().convertToDouble());
}

LogicalResult QKNormOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // qk_norm_c2
  if (failed(verifyWeightShape(*this, getQWeightAttr(), symbols,
                               {tensorType(getQ()).getDimSize(1)})))
    return failure();
  return verifyWeightShape(*this, getKWeightAttr(), symbols,
                           {tensorType(getK()).getDimSize(1)});
}

LogicalResult SumOfSquaresOp::verify() {
  // sum_of_squares_c1
  if (getInputs().empty())
    return emitOpError("expected at least one input");
  if (failed(verifyRank(*this, getType(), "a result", 2)))
    return failure();
  for (Value input : getInputs())
    if (failed(verifyRank(*this, input.getType(), "inputs", 2)) ||
        failed(verifySameTokens(*this, input.getType(), "the inputs", getType(),
                                "the result")))
      return failure();
  // sum_of_squares_c2
  if (getType().getDimSize(1) != static_cast<int64_t>(getInputs().size()))
    return emitOpError("expected one result column for each of ")
           << getInputs().size() << " inputs, but got "
           << getType().getDimSize(1);
  return success();
}

/// Of ops that take a root mean square from a column of sums of squares.
template <typename Op>
static LogicalResult verifyRootMeanSquare(Op op) {
  // rms_scale_c1, divide_by_rms_c1
  if (failed(verifyRank(op, op.getInput().getType(), "an input", 2)) ||
      failed(verifyRank(op, op.getSums().getType(), "sums", 2)) ||
      failed(verifySameTokens(op, op.getInput().getType(), "the input",
                              op.getSums().getType(), "the sums")))
    return failure();
  // rms_scale_c2, divide_by_rms_c2
  int64_t columns = tensorType(op.getSums()).getDimSize(1);
  int64_t column = op.getColumn();
  if (column < 0 || column >= columns)
    return op.emitOpError("expected a column below ")
           << columns << ", but got " << column;
  // rms_scale_c4, divide_by_rms_c3
  if (failed(
          verifyPositive(op, "divisor", static_cast<int64_t>(op.getDivisor()))))
    return failure();
  return verifyPositive(op, "eps", op.getEps().convertToDouble());
}

LogicalResult RMSScaleOp::verify() {
  // rms_scale_c1
  if (getInput().getType() != getType())
    return emitOpError("expected a result like the input, but got ")
           << getType() << " from " << getInput().getType();
  return verifyRootMeanSquare(*this);
}

LogicalResult RMSScaleOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // rms_scale_c3
  return verifyWeightShape(*this, getWeightAttr(), symbols,
                           {tensorType(getInput()).getDimSize(1)});
}

LogicalResult ScaleColumnsOp::verify() {
  // scale_columns_c1
  return verifyRank(*this, getType(), "an input", 2);
}

LogicalResult ScaleColumnsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // scale_columns_c1
  return verifyWeightShape(*this, getWeightAttr(), symbols,
                           {tensorType(getInput()).getDimSize(1)});
}

LogicalResult DivideByRMSOp::verify() { return verifyRootMeanSquare(*this); }

LogicalResult RopeOp::verify() {
  RankedTensorType input = tensorType(getInput());
  // rope_c1
  if (failed(verifyRank(*this, input, "an input", 2)) ||
      failed(verifyRank(*this, getPositions().getType(), "positions", 1)) ||
      failed(verifySameTokens(*this, input, "the input",
                              getPositions().getType(), "the positions")))
    return failure();
  // rope_c2
  int64_t headDim = getHeadDim();
  if (headDim <= 0 || input.getDimSize(1) % headDim != 0)
    return emitOpError("expected a positive head_dim that divides ")
           << input.getDimSize(1) << " columns, but got " << headDim;
  // rope_c3
  int64_t rotaryDim = getRotaryDim();
  if (rotaryDim <= 0 || rotaryDim % 2 != 0 || rotaryDim > headDim)
    return emitOpError("expected an even rotary_dim from 2 to ")
           << headDim << ", but got " << rotaryDim;
  // rope_c4
  return verifyPositive(*this, "theta", getTheta().convertToDouble());
}

LogicalResult ScaledAddOp::verify() {
  // scaled_add_c2
  if (failed(verifyPositive(*this, "alpha", getAlpha().convertToDouble())))
    return failure();
  return verifyPositive(*this, "beta", getBeta().convertToDouble());
}

LogicalResult ScaleOp::verify() {
  // scale_c1
  if (failed(verifyRank(*this, getType(), "an input", 2)))
    return failure();
  // scale_c2
  if (getInverse() > 1)
    return emitOpError("expected inverse 0 or 1, but got ") << getInverse();
  return success();
}

LogicalResult ScaleOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // scale_c1
  return verifyWeightShape(*this, getWeightAttr(), symbols, {1});
}

LogicalResult SwiGLUOAIOp::verify() {
  // swiglu_oai_c2
  if (failed(verifyPositive(*this, "alpha", getAlpha().convertToDouble())))
    return failure();
  return verifyPositive(*this, "limit", getLimit().convertToDouble());
}

static FailureOr<KVCacheOp> lookupCache(Operation *op, FlatSymbolRefAttr symbol,
                                        SymbolTableCollection &symbols) {
  auto cache = symbols.lookupNearestSymbolFrom<KVCacheOp>(op, symbol);
  if (!cache)
    return op->emitOpError() << symbol << " is not a 'model.kv_cache'";
  return cache;
}

LogicalResult KVAppendOp::verify() {
  // kv_append_c1
  return verifyRank(*this, getK().getType(), "k and v", 2);
}

LogicalResult KVAppendOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto cache = lookupCache(*this, getCacheAttr(), symbols);
  if (failed(cache))
    return failure();
  // kv_append_c2
  int64_t columns = tensorType(getK()).getDimSize(1);
  int64_t heads = cache->getHeads(), headDim = cache->getHeadDim();
  if (heads * headDim == columns)
    return success();
  InFlightDiagnostic diag = emitOpError("expected k and v of ")
                            << heads << " x " << headDim << " = "
                            << heads * headDim << " columns, but got "
                            << columns;
  diag.attachNote(cache->getLoc()) << "cache defined here";
  return diag;
}

LogicalResult AttentionOp::verify() {
  // attention_c1
  if (failed(verifyRank(*this, getQ().getType(), "q", 2)))
    return failure();
  // attention_c3
  return verifyPositive(*this, "scale", getScale().convertToDouble());
}

LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto cache = lookupCache(*this, getCacheAttr(), symbols);
  if (failed(cache))
    return failure();
  int64_t columns = tensorType(getQ()).getDimSize(1);
  int64_t heads = cache->getHeads(), headDim = cache->getHeadDim();
  // attention_c1
  if (columns % headDim != 0)
    return emitOpError("expected a whole number of heads of ")
           << headDim << " columns, but q has " << columns;
  // attention_c2
  if ((columns / headDim) % heads != 0)
    return emitOpError("expected query heads in multiples of ")
           << heads << " cache heads, but got " << columns / headDim;
  return success();
}

LogicalResult DecayScanOp::verify() {
  RankedTensorType qkv = tensorType(getQkv());
  RankedTensorType result = tensorType(getResult());
  // decay_scan_c1
  if (failed(verifyRank(*this, qkv, "an input", 2)) ||
      failed(verifyRank(*this, result, "a result", 2)) ||
      failed(verifySameTokens(*this, qkv, "the input", result, "the result")))
    return failure();
  if (qkv.getElementType() != result.getElementType())
    return emitOpError("expected input and result of one element type, but "
                       "got ")
           << qkv.getElementType() << " and " << result.getElementType();
  // decay_scan_c4
  return verifyPositive(*this, "rate", getRate().convertToDouble());
}

LogicalResult DecayScanOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // decay_scan_c2
  auto state =
      symbols.lookupNearestSymbolFrom<RecurrentStateOp>(*this, getStateAttr());
  if (!state)
    return emitOpError() << getStateAttr()
                         << " is not a 'model.recurrent_state'";
  int64_t heads = state.getHeads();
  auto check = [&](Value value, StringRef what, int64_t each) -> LogicalResult {
    int64_t columns = tensorType(value).getDimSize(1);
    if (columns == heads * each)
      return success();
    InFlightDiagnostic diag = emitOpError("expected ")
                              << what << " of " << heads << " x " << each
                              << " = " << heads * each << " columns, but got "
                              << columns;
    diag.attachNote(state.getLoc()) << "state defined here";
    return diag;
  };
  if (failed(
          check(getQkv(), "an input", 2 * state.getRows() + state.getCols())) ||
      failed(check(getResult(), "a result", state.getCols())))
    return failure();
  // decay_scan_c3
  if (static_cast<int64_t>(getHeads()) >= heads)
    return success();
  return emitOpError("expected at least the ")
         << heads << " heads of " << getStateAttr() << ", but got "
         << getHeads();
}

LogicalResult MapTokensOp::verify() {
  // map_tokens_c1
  return verifyRank(*this, getTokens().getType(), "tokens", 2);
}

LogicalResult MapTokensOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // map_tokens_c2
  auto table = lookupWeight(*this, getTableAttr(), symbols);
  if (failed(table))
    return failure();
  RankedTensorType type = table->getWeightType();
  if (type.getRank() == 1 && type.getElementType().isSignlessInteger(64))
    return success();
  return emitOpError("expected a table of i64 of rank 1, but ")
         << getTableAttr() << " is " << type;
}

//===----------------------------------------------------------------------===//
// Rows that survive steps
//===----------------------------------------------------------------------===//

/// keep_rows_c2, keep_next_rows_c2, kept_rows_c2
static LogicalResult verifyTokenRows(Operation *op, FlatSymbolRefAttr symbol,
                                     RankedTensorType rows,
                                     SymbolTableCollection &symbols) {
  auto state = symbols.lookupNearestSymbolFrom<TokenRowsOp>(op, symbol);
  if (!state)
    return op->emitOpError() << symbol << " is not a 'model.token_rows'";
  auto width = static_cast<int64_t>(state.getWidth());
  if (rows.getDimSize(1) == width && rows.getElementType() == state.getType())
    return success();
  InFlightDiagnostic diag = op->emitOpError("expected rows of ")
                            << width << " x " << state.getType() << ", but got "
                            << rows;
  diag.attachNote(state.getLoc()) << "state defined here";
  return diag;
}

LogicalResult KeepRowsOp::verify() {
  // keep_rows_c1
  return verifyRank(*this, getInput().getType(), "an input", 2);
}

LogicalResult KeepRowsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // keep_rows_c2
  return verifyTokenRows(*this, getStateAttr(), tensorType(getInput()),
                         symbols);
}

LogicalResult KeepNextRowsOp::verify() {
  // keep_next_rows_c1
  if (failed(verifyRank(*this, getInput().getType(), "an input", 2)) ||
      failed(verifyRank(*this, getRows().getType(), "rows", 1)))
    return failure();
  return verifySameTokens(*this, getRows().getType(), "the rows",
                          getInput().getType(), "the input");
}

LogicalResult KeepNextRowsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // keep_next_rows_c2
  return verifyTokenRows(*this, getStateAttr(), tensorType(getInput()),
                         symbols);
}

LogicalResult KeptRowsOp::verify() {
  // kept_rows_c1
  if (failed(verifyRank(*this, getPositions().getType(), "positions", 1)) ||
      failed(verifyRank(*this, getType(), "a result", 2)))
    return failure();
  return verifySameTokens(*this, getPositions().getType(), "the positions",
                          getType(), "the result");
}

LogicalResult KeptRowsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // kept_rows_c2
  return verifyTokenRows(*this, getStateAttr(), tensorType(getResult()),
                         symbols);
}

//===----------------------------------------------------------------------===//
// Mixture of experts
//===----------------------------------------------------------------------===//

/// The shapes of a router: logits of all experts, weights and numbers of the
/// chosen ones.
static LogicalResult verifyRouting(Operation *op, RankedTensorType logits,
                                   RankedTensorType weights,
                                   RankedTensorType experts) {
  // router_c1, softmax_router_c1
  if (failed(verifyRank(op, logits, "logits", 2)) ||
      failed(verifyRank(op, weights, "weights", 2)) ||
      failed(verifyRank(op, experts, "experts", 2)) ||
      failed(
          verifySameTokens(op, logits, "the logits", weights, "the weights")) ||
      failed(
          verifySameTokens(op, logits, "the logits", experts, "the experts")))
    return failure();
  // router_c2, softmax_router_c2
  int64_t chosen = weights.getDimSize(1);
  if (chosen == experts.getDimSize(1) && chosen >= 1 &&
      chosen <= logits.getDimSize(1))
    return success();
  return op->emitOpError("expected weights and experts of 1 to ")
         << logits.getDimSize(1) << " columns each, but got " << chosen
         << " and " << experts.getDimSize(1);
}

LogicalResult RouterOp::verify() {
  if (failed(verifyRouting(*this, tensorType(getLogits()),
                           tensorType(getWeights()), tensorType(getExperts()))))
    return failure();
  // router_c4
  return verifyPositive(*this, "routed_scale",
                        getRoutedScale().convertToDouble());
}

LogicalResult SoftmaxRouterOp::verify() {
  return verifyRouting(*this, tensorType(getLogits()), tensorType(getWeights()),
                       tensorType(getExperts()));
}

LogicalResult SharedGateOp::verify() {
  RankedTensorType weights = tensorType(getWeights());
  RankedTensorType logit = tensorType(getLogit());
  RankedTensorType experts = tensorType(getExperts());
  // shared_gate_c1
  if (failed(verifyRank(*this, weights, "weights", 2)) ||
      failed(verifyRank(*this, logit, "a logit", 2)) ||
      failed(verifyRank(*this, experts, "experts", 2)) ||
      failed(verifySameTokens(*this, weights, "the weights", logit,
                              "the logit")) ||
      failed(verifySameTokens(*this, weights, "the weights", experts,
                              "the experts")))
    return failure();
  // shared_gate_c2
  if (logit.getDimSize(1) == 1 && experts.getDimSize(1) == 1)
    return success();
  return emitOpError("expected a logit and experts of one column, but got ")
         << logit.getDimSize(1) << " and " << experts.getDimSize(1);
}

LogicalResult RouterOp::verifySymbolUses(SymbolTableCollection &symbols) {
  // router_c3
  return verifyWeightShape(*this, getBiasAttr(), symbols,
                           {tensorType(getLogits()).getDimSize(1)});
}

LogicalResult ExpertsOp::verify() {
  RankedTensorType input = tensorType(getInput());
  RankedTensorType weights = tensorType(getWeights());
  RankedTensorType experts = tensorType(getExperts());
  // experts_c1
  if (failed(verifyRank(*this, input, "an input", 2)) ||
      failed(verifyRank(*this, weights, "weights", 2)) ||
      failed(verifyRank(*this, experts, "experts", 2)) ||
      failed(verifySameTokens(*this, input, "the input", weights,
                              "the weights")) ||
      failed(
          verifySameTokens(*this, input, "the input", experts, "the experts")))
    return failure();
  if (weights.getDimSize(1) != experts.getDimSize(1))
    return emitOpError("expected weights and experts of the same columns, but "
                       "got ")
           << weights.getDimSize(1) << " and " << experts.getDimSize(1);
  // experts_c2
  if (getGateUp().empty() || getGateUp().size() > 2)
    return emitOpError("expected one or two gate_up weights, but got ")
           << getGateUp().size();
  return success();
}

LogicalResult ExpertsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto down = lookupWeight(*this, getDownAttr(), symbols);
  if (failed(down))
    return failure();
  RankedTensorType downType = down->getWeightType();
  // experts_c2
  if (downType.getRank() != 3)
    return emitOpError("expected down weight ")
           << getDownAttr() << " of rank 3, but it is " << downType;
  int64_t columns = tensorType(getInput()).getDimSize(1);
  int64_t members = downType.getDimSize(0), width = downType.getDimSize(2);
  // experts_c3
  if (failed(verifyWeightShape(*this, getDownAttr(), symbols,
                               {members, columns, width})))
    return failure();
  int64_t rows = getGateUp().size() == 1 ? 2 * width : width;
  for (Attribute symbol : getGateUp())
    if (failed(verifyWeightShape(*this, cast<FlatSymbolRefAttr>(symbol),
                                 symbols, {members, rows, columns})))
      return failure();
  // experts_c4
  for (Attribute symbol : getGateUp())
    if (failed(verifyActGroup(*this, getActGroup(),
                              cast<FlatSymbolRefAttr>(symbol), symbols)))
      return failure();
  return verifyActGroup(*this, getActGroup(), getDownAttr(), symbols);
}

LogicalResult ExpertsOfCodesOp::verify() {
  // experts_of_codes_c1
  if (failed(verifyRows(*this, {{getCodes(), "the codes"},
                                {getFactors(), "the factors"},
                                {getWeights(), "the weights"},
                                {getExperts(), "the experts"},
                                {getResult(), "the result"}})))
    return failure();
  auto columns = [](Value value) { return tensorType(value).getDimSize(1); };
  for (auto [one, other, what] :
       {std::tuple(getWeights(), getExperts(), "weights and experts"),
        std::tuple(getCodes(), getResult(), "codes and result")})
    if (columns(one) != columns(other))
      return emitOpError("expected ")
             << what << " of the same columns, but got " << columns(one)
             << " and " << columns(other);
  return verifyFactors(*this, "act_group", getActGroup(),
                       tensorType(getCodes()), tensorType(getFactors()));
}

LogicalResult
ExpertsOfCodesOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto down = lookupWeight(*this, getDownAttr(), symbols);
  if (failed(down))
    return failure();
  RankedTensorType type = down->getWeightType();
  // experts_of_codes_c2
  if (type.getRank() != 3)
    return emitOpError("expected down weight ")
           << getDownAttr() << " of rank 3, but it is " << type;
  int64_t columns = tensorType(getCodes()).getDimSize(1);
  int64_t members = type.getDimSize(0), width = type.getDimSize(2);
  if (failed(verifyWeightShape(*this, getDownAttr(), symbols,
                               {members, columns, width})) ||
      failed(verifyWeightShape(*this, getGateUpAttr(), symbols,
                               {members, 2 * width, columns})) ||
      failed(verifyActGroup(*this, getActGroup(), getGateUpAttr(), symbols)))
    return failure();
  return verifyActGroup(*this, getActGroup(), getDownAttr(), symbols);
}

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

/// top_candidates_c1 and c2, merge_candidates_c1 and c2: values and tokens of
/// one row each, chosen among `given`.
static LogicalResult verifyChosen(Operation *op, RankedTensorType given,
                                  StringRef what, RankedTensorType values,
                                  RankedTensorType tokens) {
  if (failed(verifyRank(op, given, what, 2)) ||
      failed(verifyRank(op, values, "chosen values", 2)) ||
      failed(verifyRank(op, tokens, "chosen tokens", 2)) ||
      failed(verifySameTokens(op, given, what, values, "the chosen values")) ||
      failed(verifySameTokens(op, given, what, tokens, "the chosen tokens")))
    return failure();
  int64_t count = values.getDimSize(1), most = given.getDimSize(1);
  if (count == tokens.getDimSize(1) && count >= 1 && count <= most)
    return success();
  return op->emitOpError("expected chosen values and tokens of 1 to ")
         << most << " columns each, but got " << count << " and "
         << tokens.getDimSize(1);
}

LogicalResult TopCandidatesOp::verify() {
  // top_candidates_c1, top_candidates_c2
  return verifyChosen(*this, tensorType(getLogits()), "the logits",
                      tensorType(getValues()), tensorType(getTokens()));
}

LogicalResult MergeCandidatesOp::verify() {
  RankedTensorType values = tensorType(getValues());
  RankedTensorType tokens = tensorType(getTokens());
  // merge_candidates_c1
  if (failed(verifyRank(*this, tokens, "the tokens", 2)) ||
      failed(verifyChosen(*this, values, "the values",
                          tensorType(getMergedValues()),
                          tensorType(getMergedTokens()))) ||
      failed(
          verifySameTokens(*this, values, "the values", tokens, "the tokens")))
    return failure();
  // merge_candidates_c2
  if (values.getDimSize(1) != tokens.getDimSize(1))
    return emitOpError("expected as many columns of values as of tokens, but "
                       "got ")
           << values.getDimSize(1) << " and " << tokens.getDimSize(1);
  return success();
}
