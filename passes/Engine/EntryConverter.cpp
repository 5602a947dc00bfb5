#include "passes/Engine/EntryConverter.h"

#include "passes/Engine/WeightRecipes.h"
#include "passes/StepOutputs.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::engine;

std::string EntryConverter::placeOf(Operation *op) {
  Location loc = op->getLoc();
  while (auto fused = dyn_cast<FusedLoc>(loc))
    loc = fused.getLocations().front();
  if (auto name = dyn_cast<NameLoc>(loc))
    return name.getName().str();
  return op->getName().getStringRef().str();
}

LogicalResult EntryConverter::convert(OpBuilder &programBuilder,
                                      bool yieldsLogits) {
  // (tokens, positions, rows, context) -> logits, and perhaps candidates, in
  // the last stage
  Block &body = function.getBody().front();
  auto phase =
      function->getAttrOfType<StringAttr>(model::ModelDialect::kPhaseAttrName);
  Operation *end = body.getTerminator();
  SmallVector<const ops::Binding *> yields = outputsOf(function);
  if (!phase || !isStep(body.getArgumentTypes()) ||
      (yieldsLogits ? yields.empty() : end->getNumOperands() != 0))
    return function.emitError("expected (tokens, positions, rows, context) "
                              "-> logits (and candidates) and 'model.phase'");
  auto entryName =
      function->getAttrOfType<StringAttr>(dist::DistDialect::kEntryAttrName);
  int64_t tokens = extentOf(body.getArgument(0));
  int64_t rows = extentOf(body.getArgument(2));
  auto entry = EntryOp::create(
      programBuilder, function.getLoc(),
      entryName ? entryName : function.getSymNameAttr(),
      PhaseAttr::get(builder.getContext(),
                     phase == "decode" ? Phase::Decode : Phase::Prefill),
      builder.getI64IntegerAttr(tokens), builder.getI64IntegerAttr(rows));
  builder.setInsertionPointToStart(&entry.getBody().emplaceBlock());

  ops::Sizes sizes;
  sizes.tokens = tokens;
  sizes.rows = rows;
  sizes.sequences = limits.maxBatch;
  sizes.pages = limits.pagesPerSequence();
  bindInputs(sizes);
  for (auto [index, id] : {std::pair(0, ops::BindingId::Tokens),
                           std::pair(1, ops::BindingId::Positions),
                           std::pair(2, ops::BindingId::Rows)})
    buffers[body.getArgument(index)] =
        stepInputs.lookup(ops::bindingOf(id).name);
  extents[body.getArgument(2)] = Extent::Rows;
  for (Value output : end->getOperands())
    outputs.insert(output);
  for (auto join : body.getOps<model::JoinBytesOp>()) {
    model::RowBytes bytes(join.getInputs().getTypes());
    for (auto [input, offset] :
         llvm::zip_equal(join.getInputs(), bytes.offsets))
      joins[input] = {join.getResult(), offset};
  }

  DenseMap<Operation *, StringRef> ofOneOutput = opsOfOneOutput(body, yields);
  for (Operation &op : body.without_terminator()) {
    Operation *last = &entry.getBody().front().back();
    if (failed(convertAny(&op)))
      return failure();
    if (auto output = ofOneOutput.find(&op); output != ofOneOutput.end())
      for (Operation *made = last->getNextNode(); made;
           made = made->getNextNode())
        if (isa<LaunchOp, CollectiveOp, CopyOp>(made))
          made->setAttr(EngineDialect::kOutputAttrName,
                        builder.getStringAttr(output->second));
  }
  for (auto [output, known] : llvm::zip(end->getOperands(), yields)) {
    if (!output.getDefiningOp())
      return end->emitError("expected the ")
             << known->name << " to be an op's result";
    Value whole = buffers.lookup(output);
    if (!outputBuffers.contains(whole))
      whole = copied(output);
    BindOp::create(builder, end->getLoc(), builder.getStringAttr(known->name),
                   whole);
  }
  return success();
}

bool EntryConverter::isStep(TypeRange types) {
  return types.size() == 4 && isa<model::ContextType>(types[3]) &&
         llvm::all_of(types.take_front(3), [](Type type) {
           auto tensor = dyn_cast<RankedTensorType>(type);
           return tensor && tensor.getRank() == 1 && tensor.hasStaticShape() &&
                  tensor.getElementType().isInteger(32);
         });
}

Value EntryConverter::buffer(Location loc, FlatSymbolRefAttr arena,
                             ArrayRef<int64_t> shape, Type element) {
  return BufferOp::create(builder, loc, MemRefType::get(shape, element), arena,
                          /*offset=*/IntegerAttr());
}

void EntryConverter::bindInputs(const ops::Sizes &sizes) {
  for (const ops::Binding &binding : ops::bindings()) {
    if (binding.isOutput())
      continue;
    assert(binding.dtype == schema::DType::I32 && "as all inputs");
    SmallVector<int64_t> shape;
    for (ops::Dim dim : binding.dims)
      shape.push_back(static_cast<int64_t>(sizes.of(dim)));
    Value bound = buffer(function.getLoc(), io, shape, builder.getI32Type());
    BindOp::create(builder, function.getLoc(),
                   builder.getStringAttr(binding.name), bound);
    stepInputs[binding.name] = bound;
  }
}

Value EntryConverter::global(Location loc, StringRef symbol, Type type) {
  return GlobalOp::create(builder, loc, type,
                          FlatSymbolRefAttr::get(builder.getContext(), symbol));
}

Value EntryConverter::weight(Operation *op, StringRef symbol) {
  dist::WeightShardOp shard = shardOf(symbol);
  RankedTensorType type =
      shard.getWeightStorage().inMemory(shard.getWeightType());
  return global(op->getLoc(), symbol,
                MemRefType::get(type.getShape(), type.getElementType()));
}

SmallVector<Value> EntryConverter::stored(Operation *op, StringRef symbol) {
  dist::WeightShardOp shard = shardOf(symbol);
  ArrayRef<int64_t> shape = shard.getWeightType().getShape();
  SmallVector<Value> values = {weight(op, symbol)};
  for (model::CompanionAttr companion :
       shard.getWeightStorage().getCompanions())
    values.push_back(global(
        op->getLoc(), companionName(symbol, companion.getKind()),
        MemRefType::get(companion.getShape(shape), companion.getType())));
  return values;
}

DictionaryAttr
EntryConverter::constantsOf(Operation *op,
                            const model::LaunchBuilder &described) {
  SmallVector<NamedAttribute> constants(described.getConstants());
  for (StringRef name : described.getRankConstants())
    constants.push_back(rankConstant(name, op));
  SmallVector<Attribute> storages;
  bool plain = true;
  for (const model::LaunchOperand &operand : described.getInputs()) {
    if (operand.kind != model::LaunchOperand::Kind::Stored)
      continue;
    dist::WeightShardOp shard = shardOf(operand.symbol.getValue());
    model::StorageAttr storage = shard.getWeightStorage();
    plain &= storage.isPlain();
    storages.push_back(storage.resolved(shard.getWeightType()));
  }
  if (!plain)
    constants.push_back(builder.getNamedAttr(EngineDialect::kStorageName,
                                             builder.getArrayAttr(storages)));
  return builder.getDictionaryAttr(constants);
}

Value EntryConverter::state(Operation *op, StringRef symbol, StringRef part) {
  auto state = symbols.lookup<model::StateOpInterface>(symbol);
  for (const auto &buffer : state.getStateBuffers(limits.pageSize))
    if (buffer.suffix.drop_front() == part)
      return global(op->getLoc(), (symbol + buffer.suffix).str(), buffer.type);
  llvm_unreachable("an op knows the parts of its state");
}

SmallVector<Value> EntryConverter::place(Operation *op,
                                         const model::LaunchOperand &operand) {
  using Kind = model::LaunchOperand::Kind;
  switch (operand.kind) {
  case Kind::Value:
    return {buffers.lookup(operand.value)};
  case Kind::Weight:
    return {weight(op, operand.symbol.getValue())};
  case Kind::Stored:
    return stored(op, operand.symbol.getValue());
  case Kind::State:
    return {state(op, operand.symbol.getValue(), operand.part)};
  case Kind::StepInput:
    return {stepInputs.lookup(operand.part)};
  }
  llvm_unreachable("all kinds return");
}

NamedAttribute EntryConverter::rankConstant(StringRef name, Operation *op) {
  auto value = op->getAttrOfType<dist::RankValueAttr>(
      (dist::DistDialect::getDialectNamespace() + "." + name).str());
  return builder.getNamedAttr(
      name,
      value ? value : dist::RankValueAttr::getConstant(op->getContext(), 0));
}

Extent EntryConverter::extent(Operation *op) {
  if (auto launch = dyn_cast<model::LaunchOpInterface>(op))
    return boundOf(launch.getRowOperand());
  auto collective = dyn_cast<dist::CollectiveOpInterface>(op);
  if (!collective)
    return Extent::Tokens;
  Extent input = boundOf(op->getOperand(0));
  dist::RowLayoutAttr rows = collective.getRowsAttr();
  if (!rows)
    return input;
  return collective.getKind() == dist::CollectiveKind::AllGather
             ? gathered(input)
             : scattered(input, rows.getValue());
}

Extent EntryConverter::gathered(Extent extent) {
  switch (extent) {
  case Extent::TokenShare:
    return Extent::Tokens;
  case Extent::Rows:
    return Extent::AllRows;
  default:
    return Extent::AllTokens;
  }
}

Extent EntryConverter::scattered(Extent extent, dist::RowLayout layout) {
  if (layout == dist::RowLayout::Shares)
    return Extent::TokenShare;
  return extent == Extent::AllRows ? Extent::Rows : Extent::Tokens;
}

Value EntryConverter::resultBuffer(Value result) {
  auto type = cast<RankedTensorType>(result.getType());
  if (auto joined = joins.find(result); joined != joins.end()) {
    auto [bytes, column] = joined->second;
    if (!buffers.contains(bytes))
      resultBuffer(bytes);
    return buffers[result] = ViewOp::create(
               builder, result.getLoc(), buffers.lookup(bytes), column,
               type.getDimSize(1), type.getElementType());
  }
  bool isOutput = outputs.contains(result);
  Value created = buffer(result.getLoc(), isOutput ? io : activations,
                         type.getShape(), type.getElementType());
  buffers[result] = created;
  if (isOutput)
    outputBuffers.insert(created);
  return created;
}

Value EntryConverter::copied(Value output) {
  auto type = cast<RankedTensorType>(output.getType());
  Value own =
      buffer(output.getLoc(), io, type.getShape(), type.getElementType());
  CopyOp::create(builder, output.getLoc(), buffers.lookup(output), own,
                 extentAttr(boundOf(output)),
                 builder.getStringAttr(placeOf(output.getDefiningOp())),
                 /*kernel=*/FlatSymbolRefAttr());
  return own;
}

SmallVector<Value> EntryConverter::results(Operation *op) {
  SmallVector<Value> made;
  for (Value result : op->getResults()) {
    made.push_back(resultBuffer(result));
    extents[result] = extent(op);
  }
  return made;
}

LogicalResult EntryConverter::launch(Operation *op, StringRef reference,
                                     ArrayRef<NamedAttribute> constants,
                                     ArrayRef<Value> inputs,
                                     ArrayRef<Value> outputs) {
  LaunchOp::create(builder, op->getLoc(), shared.kernel(reference, constants),
                   inputs, outputs, /*workspace=*/Value(),
                   /*exchange=*/Value(), /*groups=*/FlatSymbolRefAttr(),
                   extentAttr(extent(op)), builder.getStringAttr(placeOf(op)),
                   fusion);
  return success();
}

LogicalResult EntryConverter::convertOp(model::LaunchOpInterface op) {
  model::LaunchBuilder described(op, symbols);
  if (failed(op.describeLaunch(described)))
    return failure();
  if (Value source = described.getViewed()) {
    view(op, source);
    return success();
  }
  if (described.isJoined())
    return join(op);
  assert(!described.getCallee().empty() && "views, or a launch of something");
  SmallVector<Value> inputs, written;
  for (const model::LaunchOperand &operand : described.getInputs())
    llvm::append_range(inputs, place(op, operand));
  for (const model::LaunchOperand &operand : described.getWrittenState())
    llvm::append_range(written, place(op, operand));
  llvm::append_range(written, results(op));
  return launch(op, described.getCallee(),
                constantsOf(op, described).getValue(), inputs, written);
}

void EntryConverter::view(Operation *op, Value source) {
  Value whole = buffers.lookup(source);
  SmallVector<int64_t> columns;
  if (auto split = dyn_cast<model::SplitBytesOp>(op)) {
    columns = model::RowBytes(split.getResultTypes()).offsets;
  } else {
    int64_t column = 0;
    for (Type type : op->getResultTypes()) {
      columns.push_back(column);
      column += cast<RankedTensorType>(type).getDimSize(1);
    }
  }
  for (auto [result, column] : llvm::zip_equal(op->getResults(), columns)) {
    auto type = cast<RankedTensorType>(result.getType());
    buffers[result] = ViewOp::create(builder, op->getLoc(), whole, column,
                                     type.getDimSize(1), type.getElementType());
    extents[result] = extent(op);
  }
}

LogicalResult EntryConverter::join(Operation *op) {
  Value bytes = buffers.lookup(op->getResult(0));
  for (auto [index, input] : llvm::enumerate(op->getOperands())) {
    auto part = buffers.lookup(input).getDefiningOp<ViewOp>();
    if (!part || part.getSource() != bytes)
      return op->emitError("operand ")
             << index << " of '" << op->getName()
             << "' is not written by a launch; expected the result of an op "
                "that has a buffer of its own";
  }
  extents[op->getResult(0)] = extent(op);
  return success();
}

static CollectiveKind engineKind(dist::CollectiveKind kind) {
  switch (kind) {
  case dist::CollectiveKind::AllReduce:
    return CollectiveKind::AllReduceSum;
  case dist::CollectiveKind::AllGather:
    return CollectiveKind::AllGather;
  case dist::CollectiveKind::ReduceScatter:
    return CollectiveKind::ReduceScatterSum;
  }
  llvm_unreachable("all kinds return");
}

LogicalResult EntryConverter::convertOp(dist::CollectiveOpInterface op) {
  Value input = buffers.lookup(op->getOperand(0));
  Value output = results(op).front();
  Extent before = boundOf(op->getOperand(0)), after = extent(op);
  CollectiveOp::create(
      builder, op->getLoc(),
      CollectiveKindAttr::get(builder.getContext(), engineKind(op.getKind())),
      input, output, shared.rankGroups(op.getAxesAttr()),
      builder.getI64IntegerAttr(op.getDim()), extentAttr(before),
      before == after ? ExtentAttr() : extentAttr(after), op.getRowsAttr(),
      builder.getStringAttr(placeOf(op)), fusion,
      /*kernel=*/FlatSymbolRefAttr(), /*workspace=*/Value(),
      /*exchange=*/Value());
  return success();
}

LogicalResult EntryConverter::checkWeights(Operation *op) {
  auto user = dyn_cast<model::WeightUserOpInterface>(op);
  if (!user)
    return success();
  for (const model::WeightUse &use : user.getWeightUses())
    if (!shardOf(use.symbol.getValue()))
      return op->emitError("weight ")
             << use.symbol
             << " is not a 'dist.weight_shard'; run dist-partition";
  return success();
}

LogicalResult EntryConverter::convertAny(Operation *op) {
  if (failed(checkWeights(op)))
    return failure();
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<kernel::GroupOp, model::LaunchOpInterface,
            dist::CollectiveOpInterface, dist::SendOp, dist::ReceiveOp>(
          [&](auto op) { return convertOp(op); })
      .Default([](Operation *op) {
        return op->emitError("op '")
               << op->getName() << "' has no engine counterpart";
      });
}

LogicalResult EntryConverter::transfer(Operation *op, TransferKind kind,
                                       Value buffer, Extent bound) {
  TransferOp::create(builder, op->getLoc(),
                     TransferKindAttr::get(builder.getContext(), kind), buffer,
                     extentAttr(bound), builder.getStringAttr(placeOf(op)),
                     /*kernel=*/FlatSymbolRefAttr(), /*workspace=*/Value(),
                     /*exchange=*/Value());
  return success();
}

LogicalResult EntryConverter::convertOp(dist::ReceiveOp op) {
  Value buffer = results(op).front();
  int64_t tokens = extentOf(function.getBody().front().getArgument(0));
  if (extentOf(op.getResult()) != tokens)
    extents[op.getResult()] = Extent::TokenShare;
  return transfer(op, TransferKind::Receive, buffer, boundOf(op.getResult()));
}
