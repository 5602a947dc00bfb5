// Values to buffers, ops to launches. The order of ops is the order of
// commands; where bytes lie is decided later (engine-plan-memory).

#include "passes/Engine/Passes.h"

#include "passes/Engine/SharedSymbols.h"
#include "passes/Engine/WeightRecipes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"

namespace saddle::engine {
#define GEN_PASS_DEF_CONVERTTOENGINE
#include "passes/Engine/Passes.h.inc"
} // namespace saddle::engine

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

namespace {

//===----------------------------------------------------------------------===//
// One function to one entry
//===----------------------------------------------------------------------===//

class EntryConverter {
public:
  EntryConverter(func::FuncOp function, const model::Limits &limits,
                 const SymbolTable &symbols, SharedSymbols &shared,
                 FlatSymbolRefAttr activations, FlatSymbolRefAttr io)
      : function(function), limits(limits), symbols(symbols), shared(shared),
        activations(activations), io(io), builder(function.getContext()) {}

  /// `yieldsLogits`: the function belongs to the last stage.
  LogicalResult convert(OpBuilder &programBuilder, bool yieldsLogits) {
    // (tokens, positions, rows, context) -> logits, in the last stage
    Block &body = function.getBody().front();
    auto phase = function->getAttrOfType<StringAttr>(
        model::ModelDialect::kPhaseAttrName);
    Operation *end = body.getTerminator();
    if (!phase || !isStep(body.getArgumentTypes()) ||
        end->getNumOperands() != (yieldsLogits ? 1 : 0))
      return function.emitError("expected (tokens, positions, rows, context) "
                                "-> logits and 'model.phase'");
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

    for (auto [index, name] : {std::pair(0, "tokens"),
                               std::pair(1, "positions"), std::pair(2, "rows")})
      buffers[body.getArgument(index)] =
          bind(name, {extentOf(body.getArgument(index))});
    sequences = bind("sequences", {tokens});
    slots = bind("slots", {tokens});
    blockTable =
        bind("block_table", {limits.maxBatch, limits.pagesPerSequence()});
    extents[body.getArgument(2)] = Extent::Rows;
    if (end->getNumOperands() == 1)
      logits = end->getOperand(0);

    for (Operation &op : body.without_terminator())
      if (failed(convertAny(&op)))
        return failure();
    if (!logits)
      return success();
    if (!logitsBuffer)
      return end->emitError("expected the logits to be an op's whole result");
    BindOp::create(builder, end->getLoc(), builder.getStringAttr("logits"),
                   logitsBuffer);
    return success();
  }

private:
  /// (tokens, positions, rows, context), the first three vectors of i32.
  static bool isStep(TypeRange types) {
    return types.size() == 4 && isa<model::ContextType>(types[3]) &&
           llvm::all_of(types.take_front(3), [](Type type) {
             auto tensor = dyn_cast<RankedTensorType>(type);
             return tensor && tensor.getRank() == 1 &&
                    tensor.hasStaticShape() &&
                    tensor.getElementType().isInteger(32);
           });
  }

  static int64_t extentOf(Value value) {
    return cast<RankedTensorType>(value.getType()).getDimSize(0);
  }

  Value buffer(Location loc, FlatSymbolRefAttr arena, ArrayRef<int64_t> shape,
               Type element) {
    return BufferOp::create(builder, loc, MemRefType::get(shape, element),
                            arena, /*offset=*/IntegerAttr());
  }

  Value bind(StringRef name, ArrayRef<int64_t> shape) {
    Value result = buffer(function.getLoc(), io, shape, builder.getI32Type());
    BindOp::create(builder, function.getLoc(), builder.getStringAttr(name),
                   result);
    return result;
  }

  Value global(Location loc, StringRef symbol, Type type) {
    return GlobalOp::create(
        builder, loc, type,
        FlatSymbolRefAttr::get(builder.getContext(), symbol));
  }

  /// The shard that a symbol names, as an operand.
  Value weight(Operation *op, StringRef symbol) {
    RankedTensorType type = shardOf(symbol).getWeightType();
    return global(op->getLoc(), symbol,
                  MemRefType::get(type.getShape(), type.getElementType()));
  }

  dist::WeightShardOp shardOf(StringRef symbol) {
    return symbols.lookup<dist::WeightShardOp>(symbol);
  }

  Value scales(Operation *op, StringRef symbol) {
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

  std::pair<Value, Value> cache(Operation *op, StringRef symbol) {
    auto kv = symbols.lookup<model::KVCacheOp>(symbol);
    auto type = MemRefType::get({limits.numPages(), limits.pageSize,
                                 static_cast<int64_t>(kv.getHeads()),
                                 static_cast<int64_t>(kv.getHeadDim())},
                                kv.getType());
    return {global(op->getLoc(), (symbol + ".k").str(), type),
            global(op->getLoc(), (symbol + ".v").str(), type)};
  }

  NamedAttribute constant(StringRef name, int64_t value) {
    return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
  }
  NamedAttribute constant(StringRef name, FloatAttr value) {
    return builder.getNamedAttr(name, value);
  }
  /// The rank value that dist-partition left on the op; 0 without one.
  NamedAttribute constant(StringRef name, Operation *op, StringRef attrName) {
    auto value = op->getAttrOfType<dist::RankValueAttr>(attrName);
    return builder.getNamedAttr(
        name,
        value ? value : dist::RankValueAttr::getConstant(op->getContext(), 0));
  }

  ExtentAttr extentAttr(Extent extent) {
    return ExtentAttr::get(builder.getContext(), extent);
  }

  Extent boundOf(Value value) {
    auto known = extents.find(value);
    return known == extents.end() ? Extent::Tokens : known->second;
  }

  /// Which run-time count bounds an op's results.
  Extent extent(Operation *op) {
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

  static Extent gathered(Extent extent) {
    switch (extent) {
    case Extent::TokenBlock:
      return Extent::Tokens;
    case Extent::Rows:
      return Extent::AllRows;
    default:
      return Extent::AllTokens;
    }
  }

  static Extent scattered(Extent extent, dist::RowLayout layout) {
    if (layout == dist::RowLayout::Blocks)
      return Extent::TokenBlock;
    return extent == Extent::AllRows ? Extent::Rows : Extent::Tokens;
  }

  /// Buffers for an op's results.
  SmallVector<Value> results(Operation *op) {
    SmallVector<Value> made;
    for (Value result : op->getResults()) {
      auto type = cast<RankedTensorType>(result.getType());
      Value created = buffer(op->getLoc(), result == logits ? io : activations,
                             type.getShape(), type.getElementType());
      buffers[result] = created;
      if (result == logits)
        logitsBuffer = created;
      extents[result] = extent(op);
      made.push_back(created);
    }
    return made;
  }

  LogicalResult launch(Operation *op, StringRef reference,
                       ArrayRef<NamedAttribute> constants,
                       ArrayRef<Value> inputs, ArrayRef<Value> outputs) {
    LaunchOp::create(builder, op->getLoc(), shared.kernel(reference, constants),
                     inputs, outputs, /*workspace=*/Value(),
                     extentAttr(extent(op)), builder.getStringAttr(placeOf(op)),
                     fusion);
    return success();
  }

  /// Inputs that are values, then the op's result buffers as outputs.
  LogicalResult simple(Operation *op, StringRef reference,
                       ArrayRef<NamedAttribute> constants,
                       ArrayRef<Value> weights = {}) {
    SmallVector<Value> inputs;
    for (Value operand : op->getOperands())
      inputs.push_back(buffers.lookup(operand));
    llvm::append_range(inputs, weights);
    return launch(op, reference, constants, inputs, results(op));
  }

  LogicalResult collective(Operation *op, CollectiveKind kind,
                           dist::AxesAttr axes, int64_t dim = 0,
                           dist::RowLayoutAttr rows = {}) {
    Value input = buffers.lookup(op->getOperand(0));
    Value output = results(op).front();
    Extent before = boundOf(op->getOperand(0)), after = extent(op);
    CollectiveOp::create(builder, op->getLoc(),
                         CollectiveKindAttr::get(builder.getContext(), kind),
                         input, output, shared.rankGroups(axes),
                         builder.getI64IntegerAttr(dim), extentAttr(before),
                         before == after ? ExtentAttr() : extentAttr(after),
                         rows, builder.getStringAttr(placeOf(op)), fusion,
                         /*kernel=*/FlatSymbolRefAttr(), /*workspace=*/Value(),
                         /*exchange=*/Value());
    return success();
  }

  LogicalResult convertAny(Operation *op) {
    for (StringRef name : weightSymbols(op))
      if (!shardOf(name))
        return op->emitError("weight @")
               << name << " is not a 'dist.weight_shard'; run dist-partition";
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case<kernel::GroupOp, model::EmbeddingOp, model::RMSNormOp,
              model::AddOp, model::LinearOp, model::SplitOp,
              model::SelectRowsOp, model::SumOfSquaresOp, model::RMSScaleOp,
              model::RopeOp, model::KVAppendOp, model::AttentionOp,
              model::RouterOp, model::ExpertsOp, dist::AllReduceOp,
              dist::AllGatherOp, dist::ReduceScatterOp, dist::SendOp,
              dist::ReceiveOp>([&](auto op) { return convertOp(op); })
        .Default([](Operation *op) {
          return op->emitError("op '")
                 << op->getName() << "' has no engine counterpart";
        });
  }

  static SmallVector<StringRef> weightSymbols(Operation *op) {
    return llvm::TypeSwitch<Operation *, SmallVector<StringRef>>(op)
        .Case<model::EmbeddingOp>(
            [](auto op) { return SmallVector<StringRef>{op.getTable()}; })
        .Case<model::RMSNormOp, model::LinearOp, model::RMSScaleOp>(
            [](auto op) { return SmallVector<StringRef>{op.getWeight()}; })
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

  /// Inline: the body in order, marked with the group's signature.
  LogicalResult convertOp(kernel::GroupOp group) {
    if (group.getImplementation() != kernel::kInlineImplementation)
      return group.emitError("expected implementation \"")
             << kernel::kInlineImplementation << "\"; run kernel-select";
    Block &body = group.getBody().front();
    for (auto [argument, input] :
         llvm::zip_equal(body.getArguments(), group.getInputs())) {
      if (Value known = buffers.lookup(input))
        buffers[argument] = known;
      if (auto known = extents.find(input); known != extents.end())
        extents[argument] = Extent(known->second);
    }
    // The buffer of a yielded value is made when its op is converted, so the
    // logits must be known by their inner name.
    Operation *yield = body.getTerminator();
    for (auto [inner, outer] :
         llvm::zip_equal(yield->getOperands(), group.getResults()))
      if (outer == logits)
        logits = inner;
    fusion = shared.fusion(group);
    for (Operation &op : body.without_terminator())
      if (failed(convertAny(&op)))
        return failure();
    fusion = {};
    for (auto [inner, outer] :
         llvm::zip_equal(yield->getOperands(), group.getResults())) {
      buffers[outer] = Value(buffers.lookup(inner));
      extents[outer] = Extent(extents.lookup(inner));
    }
    return success();
  }

  LogicalResult convertOp(model::EmbeddingOp op) {
    return simple(
        op, "embedding",
        {constant("vocab_start", op, dist::DistDialect::kVocabStartAttrName)},
        {weight(op, op.getTable())});
  }

  LogicalResult convertOp(model::RMSNormOp op) {
    return simple(op, "rms_norm", {constant("eps", op.getEpsAttr())},
                  {weight(op, op.getWeight())});
  }

  LogicalResult convertOp(model::AddOp op) { return simple(op, "add", {}); }

  LogicalResult convertOp(model::LinearOp op) {
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

  LogicalResult convertOp(model::SplitOp op) {
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

  LogicalResult convertOp(model::SelectRowsOp op) {
    return simple(op, "select_rows", {});
  }

  LogicalResult convertOp(model::SumOfSquaresOp op) {
    return simple(op, "sum_of_squares", {});
  }

  LogicalResult convertOp(model::RMSScaleOp op) {
    return simple(op, "rms_scale",
                  {constant("column", op.getColumn()),
                   constant("divisor", op.getDivisor()),
                   constant("eps", op.getEpsAttr())},
                  {weight(op, op.getWeight())});
  }

  LogicalResult convertOp(model::RopeOp op) {
    return simple(op, "rope",
                  {constant("head_dim", op.getHeadDim()),
                   constant("rotary_dim", op.getRotaryDim()),
                   constant("theta", op.getThetaAttr())});
  }

  LogicalResult convertOp(model::KVAppendOp op) {
    auto [k, v] = cache(op, op.getCache());
    return launch(op, "kv_append", {},
                  {buffers.lookup(op.getK()), buffers.lookup(op.getV()), slots},
                  {k, v});
  }

  LogicalResult convertOp(model::AttentionOp op) {
    auto [k, v] = cache(op, op.getCache());
    auto kv = symbols.lookup<model::KVCacheOp>(op.getCache());
    Value positions = buffers.lookup(function.getBody().front().getArgument(1));
    return launch(
        op, "attention",
        {constant("head_dim", kv.getHeadDim()),
         constant("scale", op.getScaleAttr())},
        {buffers.lookup(op.getQ()), k, v, positions, sequences, blockTable},
        results(op));
  }

  LogicalResult convertOp(model::RouterOp op) {
    return simple(op, "router_topk",
                  {constant("routed_scale", op.getRoutedScaleAttr())},
                  {weight(op, op.getBias())});
  }

  LogicalResult convertOp(model::ExpertsOp op) {
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

  LogicalResult convertOp(dist::AllReduceOp op) {
    return collective(op, CollectiveKind::AllReduceSum, op.getAxesAttr());
  }
  LogicalResult convertOp(dist::AllGatherOp op) {
    return collective(op, CollectiveKind::AllGather, op.getAxesAttr(),
                      op.getDim(), op.getRowsAttr());
  }
  LogicalResult convertOp(dist::ReduceScatterOp op) {
    return collective(op, CollectiveKind::ReduceScatterSum, op.getAxesAttr(),
                      op.getDim(), op.getRowsAttr());
  }

  LogicalResult transfer(Operation *op, TransferKind kind, Value buffer,
                         Extent bound) {
    TransferOp::create(builder, op->getLoc(),
                       TransferKindAttr::get(builder.getContext(), kind),
                       buffer, extentAttr(bound),
                       builder.getStringAttr(placeOf(op)),
                       /*kernel=*/FlatSymbolRefAttr(), /*workspace=*/Value(),
                       /*exchange=*/Value());
    return success();
  }
  LogicalResult convertOp(dist::SendOp op) {
    return transfer(op, TransferKind::Send, buffers.lookup(op.getInput()),
                    boundOf(op.getInput()));
  }
  /// A received block of a rank's tokens has fewer rows than the entry.
  LogicalResult convertOp(dist::ReceiveOp op) {
    Value buffer = results(op).front();
    int64_t tokens = extentOf(function.getBody().front().getArgument(0));
    if (extentOf(op.getResult()) != tokens)
      extents[op.getResult()] = Extent::TokenBlock;
    return transfer(op, TransferKind::Receive, buffer, boundOf(op.getResult()));
  }

  func::FuncOp function;
  const model::Limits &limits;
  const SymbolTable &symbols;
  SharedSymbols &shared;
  FlatSymbolRefAttr activations, io;
  OpBuilder builder;
  llvm::DenseMap<Value, Value> buffers;
  llvm::DenseMap<Value, Extent> extents;
  Value sequences, slots, blockTable, logits, logitsBuffer;
  FlatSymbolRefAttr fusion; // of the group being opened
};

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

struct ConvertToEngine
    : saddle::engine::impl::ConvertToEngineBase<ConvertToEngine> {
  void runOnOperation() override {
    if (failed(convert(getOperation())))
      signalPassFailure();
  }

private:
  static LogicalResult convert(ModuleOp module) {
    auto limits = model::Limits::get(module);
    if (failed(limits))
      return failure();
    SmallVector<Operation *> old;
    for (Operation &op : *module.getBody()) {
      // What is not known here must not be dropped.
      if (!isa<dist::MeshOp, dist::WeightShardOp, model::WeightOp,
               model::KVCacheOp, func::FuncOp>(op))
        return op.emitError("op '")
               << op.getName() << "' has no engine counterpart";
      old.push_back(&op);
    }
    auto topology = module->getAttrOfType<DictionaryAttr>(
        dist::DistDialect::kTopologyAttrName);
    auto pp = topology ? topology.getAs<IntegerAttr>("pp") : IntegerAttr();
    int64_t stages = pp ? pp.getInt() : 1;
    SymbolTable symbols(module);
    SharedSymbols shared(module, symbols, stages);
    FlatSymbolRefAttr weights = shared.arena("weights", ArenaKind::Constant);
    FlatSymbolRefAttr kv = shared.arena("kv", ArenaKind::State);
    FlatSymbolRefAttr activations =
        shared.arena("activations", ArenaKind::Transient);
    FlatSymbolRefAttr io = shared.arena("io", ArenaKind::IO);

    // Sources take over the weights' names, so programs are built beside them
    // and the old ops go last.
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    for (int64_t stage = 0; stage < stages; ++stage) {
      SmallVector<func::FuncOp> functions;
      for (auto function : module.getOps<func::FuncOp>())
        if (stageOf(function) == stage)
          functions.push_back(function);
      auto program = ProgramOp::create(
          builder, module.getLoc(),
          builder.getStringAttr("stage_" + std::to_string(stage)),
          builder.getI64IntegerAttr(stage));
      OpBuilder inside =
          OpBuilder::atBlockBegin(&program.getBody().emplaceBlock());
      // A stage holds what its own layers use.
      llvm::DenseSet<StringAttr> used;
      for (func::FuncOp function : functions)
        if (auto uses = SymbolTable::getSymbolUses(function))
          for (SymbolTable::SymbolUse use : *uses)
            used.insert(use.getSymbolRef().getRootReference());
      auto holds = [&](StringAttr name) {
        return stages == 1 || used.contains(name);
      };
      for (auto shard : module.getOps<dist::WeightShardOp>())
        if (holds(shard.getSymNameAttr()) &&
            failed(createWeights(inside, shard, weights, symbols)))
          return failure();
      for (auto cache : module.getOps<model::KVCacheOp>())
        if (holds(cache.getSymNameAttr()))
          createStates(inside, cache, *limits, kv);
      for (func::FuncOp function : functions)
        if (failed(EntryConverter(function, *limits, symbols, shared,
                                  activations, io)
                       .convert(inside, stage == stages - 1)))
          return failure();
    }

    OpBuilder front = OpBuilder::atBlockBegin(module.getBody());
    for (auto weight : module.getOps<model::WeightOp>())
      createSources(front, weight);
    if (auto ignored = module->getAttrOfType<DictionaryAttr>(
            model::ModelDialect::kIgnoredSourcesAttrName)) {
      createIgnored(front, module.getLoc(), ignored);
      module->removeAttr(model::ModelDialect::kIgnoredSourcesAttrName);
    }
    for (Operation *op : llvm::reverse(old))
      op->erase();
    return success();
  }

  static int64_t stageOf(func::FuncOp function) {
    auto stage =
        function->getAttrOfType<IntegerAttr>(dist::DistDialect::kStageAttrName);
    return stage ? stage.getInt() : 0;
  }

  /// The keys and values of a cache.
  static void createStates(OpBuilder &builder, model::KVCacheOp cache,
                           const model::Limits &limits, FlatSymbolRefAttr kv) {
    auto type = MemRefType::get({limits.numPages(), limits.pageSize,
                                 static_cast<int64_t>(cache.getHeads()),
                                 static_cast<int64_t>(cache.getHeadDim())},
                                cache.getType());
    for (StringRef part : {".k", ".v"})
      StateOp::create(builder, cache.getLoc(),
                      builder.getStringAttr(cache.getSymName() + part), kv,
                      IntegerAttr(), TypeAttr::get(type));
  }

  /// Tensors that may be present and that nothing reads.
  static void createIgnored(OpBuilder &builder, Location loc,
                            DictionaryAttr ignored) {
    for (auto [index, entry] : llvm::enumerate(ignored)) {
      auto info = cast<DictionaryAttr>(entry.getValue());
      SourceOp::create(
          builder, loc,
          builder.getStringAttr("ignored." + std::to_string(index)),
          builder.getStringAttr(entry.getName().getValue()),
          info.getAs<IntegerAttr>("stack"), info.getAs<StringAttr>("reason"),
          info.getAs<TypeAttr>("type"));
    }
  }
};

} // namespace
