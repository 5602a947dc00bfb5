#include "passes/Engine/EntryConverter.h"

#include "passes/Engine/WeightRecipes.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace saddle;
using namespace saddle::engine;

/// Where in the model an op comes from: the importer's name, or the op's own.
static std::string placeOf(Operation *op) {
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
  if (!phase || !isStep(body.getArgumentTypes()) ||
      !(yieldsLogits ? isOutput(end->getOperandTypes())
                     : end->getNumOperands() == 0))
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

  for (auto [index, name] : {std::pair(0, "tokens"), std::pair(1, "positions"),
                             std::pair(2, "rows")})
    buffers[body.getArgument(index)] =
        bind(name, {extentOf(body.getArgument(index))});
  sequences = bind("sequences", {tokens});
  slots = bind("slots", {tokens});
  blockTable =
      bind("block_table", {limits.maxBatch, limits.pagesPerSequence()});
  extents[body.getArgument(2)] = Extent::Rows;
  for (Value output : end->getOperands())
    outputs.insert(output);

  for (Operation &op : body.without_terminator())
    if (failed(convertAny(&op)))
      return failure();
  static constexpr StringLiteral kOutputs[] = {"logits", "candidate_values",
                                               "candidate_tokens"};
  for (auto [output, name] : llvm::zip(end->getOperands(), kOutputs)) {
    Value whole = buffers.lookup(output);
    if (!outputBuffers.contains(whole))
      return end->emitError("expected the ")
             << name << " to be an op's whole result";
    BindOp::create(builder, end->getLoc(), builder.getStringAttr(name), whole);
  }
  return success();
}

bool EntryConverter::isOutput(TypeRange types) {
  return types.size() == 1 || types.size() == 3;
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

Value EntryConverter::bind(StringRef name, ArrayRef<int64_t> shape) {
  Value result = buffer(function.getLoc(), io, shape, builder.getI32Type());
  BindOp::create(builder, function.getLoc(), builder.getStringAttr(name),
                 result);
  return result;
}

Value EntryConverter::global(Location loc, StringRef symbol, Type type) {
  return GlobalOp::create(builder, loc, type,
                          FlatSymbolRefAttr::get(builder.getContext(), symbol));
}

Value EntryConverter::weight(Operation *op, StringRef symbol) {
  RankedTensorType type = shardOf(symbol).getWeightType();
  return global(op->getLoc(), symbol,
                MemRefType::get(type.getShape(), type.getElementType()));
}

Value EntryConverter::scales(Operation *op, StringRef symbol) {
  dist::WeightShardOp shard = shardOf(symbol);
  SmallVector<int64_t> shape(shard.getWeightType().getShape());
  ArrayRef<int64_t> blocks = shard.getWeightScaleBlock();
  for (int64_t i = 0; i < 2; ++i) {
    int64_t &extent = shape[shape.size() - 2 + i];
    extent = (extent + blocks[i] - 1) / blocks[i];
  }
  return global(op->getLoc(), scaleName(symbol),
                MemRefType::get(shape, builder.getF32Type()));
}

SmallVector<Value> EntryConverter::state(Operation *op, StringRef symbol) {
  auto state = symbols.lookup<model::StateOpInterface>(symbol);
  SmallVector<Value> buffers;
  for (const auto &buffer : state.getStateBuffers(limits.pageSize))
    buffers.push_back(
        global(op->getLoc(), (symbol + buffer.suffix).str(), buffer.type));
  return buffers;
}

NamedAttribute EntryConverter::constant(StringRef name, Operation *op,
                                        StringRef attrName) {
  auto value = op->getAttrOfType<dist::RankValueAttr>(attrName);
  return builder.getNamedAttr(
      name,
      value ? value : dist::RankValueAttr::getConstant(op->getContext(), 0));
}

Extent EntryConverter::extent(Operation *op) {
  if (op->getNumOperands() == 0)
    return Extent::Tokens; // dist.receive
  if (auto select = dyn_cast<model::SelectRowsOp>(op))
    return boundOf(select.getRows());
  Extent input = boundOf(op->getOperand(0));
  if (auto gather = dyn_cast<dist::AllGatherOp>(op))
    return gather.getRows() ? gathered(input) : input;
  if (auto scatter = dyn_cast<dist::ReduceScatterOp>(op))
    return scatter.getRows() ? scattered(input, *scatter.getRows()) : input;
  return input;
}

Extent EntryConverter::gathered(Extent extent) {
  switch (extent) {
  case Extent::TokenBlock:
    return Extent::Tokens;
  case Extent::Rows:
    return Extent::AllRows;
  default:
    return Extent::AllTokens;
  }
}

Extent EntryConverter::scattered(Extent extent, dist::RowLayout layout) {
  if (layout == dist::RowLayout::Blocks)
    return Extent::TokenBlock;
  return extent == Extent::AllRows ? Extent::Rows : Extent::Tokens;
}

SmallVector<Value> EntryConverter::results(Operation *op) {
  SmallVector<Value> made;
  for (Value result : op->getResults()) {
    auto type = cast<RankedTensorType>(result.getType());
    Value created =
        buffer(op->getLoc(), outputs.contains(result) ? io : activations,
               type.getShape(), type.getElementType());
    buffers[result] = created;
    if (outputs.contains(result))
      outputBuffers.insert(created);
    extents[result] = extent(op);
    made.push_back(created);
  }
  return made;
}

LogicalResult EntryConverter::launch(Operation *op, StringRef reference,
                                     ArrayRef<NamedAttribute> constants,
                                     ArrayRef<Value> inputs,
                                     ArrayRef<Value> outputs,
                                     FlatSymbolRefAttr groups) {
  LaunchOp::create(builder, op->getLoc(), shared.kernel(reference, constants),
                   inputs, outputs, /*workspace=*/Value(),
                   /*exchange=*/Value(), groups, extentAttr(extent(op)),
                   builder.getStringAttr(placeOf(op)), fusion);
  return success();
}

LogicalResult EntryConverter::simple(Operation *op, StringRef reference,
                                     ArrayRef<NamedAttribute> constants,
                                     ArrayRef<Value> weights) {
  SmallVector<Value> inputs;
  for (Value operand : op->getOperands())
    inputs.push_back(buffers.lookup(operand));
  llvm::append_range(inputs, weights);
  return launch(op, reference, constants, inputs, results(op));
}

LogicalResult EntryConverter::collective(Operation *op, CollectiveKind kind,
                                         dist::AxesAttr axes, int64_t dim,
                                         dist::RowLayoutAttr rows) {
  Value input = buffers.lookup(op->getOperand(0));
  Value output = results(op).front();
  Extent before = boundOf(op->getOperand(0)), after = extent(op);
  CollectiveOp::create(builder, op->getLoc(),
                       CollectiveKindAttr::get(builder.getContext(), kind),
                       input, output, shared.rankGroups(axes),
                       builder.getI64IntegerAttr(dim), extentAttr(before),
                       before == after ? ExtentAttr() : extentAttr(after), rows,
                       builder.getStringAttr(placeOf(op)), fusion,
                       /*kernel=*/FlatSymbolRefAttr(), /*workspace=*/Value(),
                       /*exchange=*/Value());
  return success();
}

LogicalResult EntryConverter::checkWeights(Operation *op) {
  for (StringRef name : weightSymbols(op))
    if (!shardOf(name))
      return op->emitError("weight @")
             << name << " is not a 'dist.weight_shard'; run dist-partition";
  return success();
}

LogicalResult EntryConverter::convertAny(Operation *op) {
  if (failed(checkWeights(op)))
    return failure();
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<kernel::GroupOp, model::EmbeddingOp, model::RMSNormOp, model::AddOp,
            model::LinearOp, model::SplitOp, model::SelectRowsOp,
            model::SumOfSquaresOp, model::RMSScaleOp, model::RopeOp,
            model::KVAppendOp, model::AttentionOp, model::DecayScanOp,
            model::RouterOp, model::ExpertsOp, model::TopCandidatesOp,
            model::MergeCandidatesOp, dist::AllReduceOp, dist::AllGatherOp,
            dist::ReduceScatterOp, dist::SendOp, dist::ReceiveOp>(
          [&](auto op) { return convertOp(op); })
      .Default([](Operation *op) {
        return op->emitError("op '")
               << op->getName() << "' has no engine counterpart";
      });
}

SmallVector<StringRef> EntryConverter::weightSymbols(Operation *op) {
  return llvm::TypeSwitch<Operation *, SmallVector<StringRef>>(op)
      .Case<model::EmbeddingOp>(
          [](auto op) { return SmallVector<StringRef>{op.getTable()}; })
      .Case<model::RMSNormOp, model::LinearOp, model::RMSScaleOp>(
          [](auto op) { return SmallVector<StringRef>{op.getWeight()}; })
      .Case<model::DecayScanOp>(
          [](auto op) { return SmallVector<StringRef>{op.getDecay()}; })
      .Case<model::RouterOp>(
          [](auto op) { return SmallVector<StringRef>{op.getBias()}; })
      .Case<model::ExpertsOp>([](auto op) {
        SmallVector<StringRef> names{op.getDown()};
        for (auto symbol :
             op.getGateUp().template getAsRange<FlatSymbolRefAttr>())
          names.push_back(symbol.getValue());
        return names;
      })
      .Default([](Operation *) { return SmallVector<StringRef>(); });
}

LogicalResult EntryConverter::convertOp(model::EmbeddingOp op) {
  return simple(
      op, "embedding",
      {constant("vocab_start", op, dist::DistDialect::kVocabStartAttrName)},
      {weight(op, op.getTable())});
}

LogicalResult EntryConverter::convertOp(model::LinearOp op) {
  SmallVector<NamedAttribute> constants = {
      constant("act_group", op.getActGroup().value_or(0))};
  ArrayRef<int64_t> blocks = shardOf(op.getWeight()).getWeightScaleBlock();
  if (blocks.empty())
    return simple(op, "linear", constants, {weight(op, op.getWeight())});
  constants.push_back(constant("block_rows", blocks[0]));
  constants.push_back(constant("block_cols", blocks[1]));
  return simple(op, "linear_scaled", constants,
                {weight(op, op.getWeight()), scales(op, op.getWeight())});
}

LogicalResult EntryConverter::convertOp(model::SplitOp op) {
  Value source = buffers.lookup(op.getInput());
  int64_t column = 0;
  for (Value result : op.getResults()) {
    int64_t columns = cast<RankedTensorType>(result.getType()).getDimSize(1);
    buffers[result] =
        ViewOp::create(builder, op.getLoc(), source, column, columns);
    extents[result] = extent(op);
    column += columns;
  }
  return success();
}

LogicalResult EntryConverter::convertOp(model::RMSScaleOp op) {
  return simple(op, "rms_scale",
                {constant("column", op.getColumn()),
                 constant("divisor", op.getDivisor()),
                 constant("eps", op.getEpsAttr())},
                {weight(op, op.getWeight())});
}

LogicalResult EntryConverter::convertOp(model::RopeOp op) {
  return simple(op, "rope",
                {constant("head_dim", op.getHeadDim()),
                 constant("rotary_dim", op.getRotaryDim()),
                 constant("theta", op.getThetaAttr())});
}

LogicalResult EntryConverter::convertOp(model::KVAppendOp op) {
  return launch(op, "kv_append", {},
                {buffers.lookup(op.getK()), buffers.lookup(op.getV()), slots},
                state(op, op.getCache()));
}

LogicalResult EntryConverter::convertOp(model::AttentionOp op) {
  SmallVector<Value> kv = state(op, op.getCache());
  int64_t headDim = cast<MemRefType>(kv[0].getType()).getShape().back();
  Value positions = buffers.lookup(function.getBody().front().getArgument(1));
  return launch(
      op, "attention",
      {constant("head_dim", headDim), constant("scale", op.getScaleAttr())},
      {buffers.lookup(op.getQ()), kv[0], kv[1], positions, sequences,
       blockTable},
      results(op));
}

LogicalResult EntryConverter::convertOp(model::DecayScanOp op) {
  Value positions = buffers.lookup(function.getBody().front().getArgument(1));
  SmallVector<Value> outputs = results(op);
  llvm::append_range(outputs, state(op, op.getState()));
  return launch(op, "decay_scan", {},
                {buffers.lookup(op.getQ()), buffers.lookup(op.getK()),
                 buffers.lookup(op.getV()), weight(op, op.getDecay()),
                 positions, sequences},
                outputs);
}

LogicalResult EntryConverter::convertOp(model::RouterOp op) {
  return simple(op, "router_topk",
                {constant("routed_scale", op.getRoutedScaleAttr())},
                {weight(op, op.getBias())});
}

LogicalResult EntryConverter::convertOp(model::ExpertsOp op) {
  if (op.getGateUp().size() != 1)
    return op.emitError("expected gate and up in one weight; run "
                        "dist-fuse-projections");
  StringRef gateUp = cast<FlatSymbolRefAttr>(op.getGateUp()[0]).getValue();
  StringRef down = op.getDown();
  SmallVector<NamedAttribute> constants = {
      constant("expert_start", op, dist::DistDialect::kExpertStartAttrName),
      constant("act_group", op.getActGroup().value_or(0))};
  ArrayRef<int64_t> blocks13 = shardOf(gateUp).getWeightScaleBlock();
  ArrayRef<int64_t> blocks2 = shardOf(down).getWeightScaleBlock();
  if (blocks13.empty() != blocks2.empty())
    return op.emitError("expected both or neither of @")
           << gateUp << " and @" << down << " to have scales";
  if (blocks13.empty())
    return simple(op, "experts", constants,
                  {weight(op, gateUp), weight(op, down)});
  constants.append({constant("block_rows13", blocks13[0]),
                    constant("block_cols13", blocks13[1]),
                    constant("block_rows2", blocks2[0]),
                    constant("block_cols2", blocks2[1])});
  return simple(op, "experts_scaled", constants,
                {weight(op, gateUp), scales(op, gateUp), weight(op, down),
                 scales(op, down)});
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
    extents[op.getResult()] = Extent::TokenBlock;
  return transfer(op, TransferKind::Receive, buffer, boundOf(op.getResult()));
}
