// Values to buffers, ops to launches. The order of ops is the order of
// commands; where bytes lie is decided later (engine-plan-memory).

#include "passes/Engine/Passes.h"
#include "passes/StraightLine.h"

#include "passes/Engine/EntryConverter.h"
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

namespace {

struct ConvertToEngine
    : saddle::engine::impl::ConvertToEngineBase<ConvertToEngine> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(saddle::verifyStraightLine(getOperation())))
      return signalPassFailure();
    const Target *found = findTarget(target, getOperation());
    if (!found || failed(convert(getOperation(), *found)))
      signalPassFailure();
  }

private:
  static LogicalResult convert(ModuleOp module, const Target &target) {
    auto limits = model::Limits::get(module);
    if (failed(limits))
      return failure();
    SmallVector<Operation *> old;
    for (Operation &op : *module.getBody()) {
      // What is not known here must not be dropped.
      if (!isa<dist::MeshOp, dist::WeightShardOp, model::WeightOp,
               model::StateOpInterface, func::FuncOp>(op))
        return op.emitError("op '")
               << op.getName() << "' has no engine counterpart";
      old.push_back(&op);
    }
    auto topology = module->getAttrOfType<DictionaryAttr>(
        dist::DistDialect::kTopologyAttrName);
    auto pp = topology ? topology.getAs<IntegerAttr>("pp") : IntegerAttr();
    int64_t stages = pp ? pp.getInt() : 1;
    SymbolTable symbols(module);
    SharedSources sources(module);
    SharedSymbols shared(module, symbols, stages);
    FlatSymbolRefAttr weights = shared.arena("weights", ArenaKind::Constant);
    FlatSymbolRefAttr kv = shared.arena("kv", ArenaKind::Pages);
    FlatSymbolRefAttr sequences;
    if (llvm::any_of(module.getOps<model::StateOpInterface>(), isOfSequences))
      sequences = shared.arena("sequences", ArenaKind::Sequences);
    FlatSymbolRefAttr activations =
        shared.arena("activations", ArenaKind::Transient);
    FlatSymbolRefAttr io = shared.arena("io", ArenaKind::IO);

    // Sources take over the weights' names, so programs are built beside them
    // and the old ops go last.
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    SmallVector<StringRef> programs = programsOf(module);
    for (StringRef name : programs)
      for (int64_t stage = 0; stage < stages; ++stage) {
        SmallVector<func::FuncOp> functions;
        for (auto function : module.getOps<func::FuncOp>())
          if (model::ModelDialect::getProgram(function) == name &&
              stageOf(function) == stage)
            functions.push_back(function);
        bool isMain = name == model::ModelDialect::kMainProgram;
        std::string symbol =
            (isMain ? "" : name.str() + "_") + "stage_" + std::to_string(stage);
        auto program = ProgramOp::create(
            builder, module.getLoc(), builder.getStringAttr(symbol),
            builder.getStringAttr(name), builder.getI64IntegerAttr(stage));
        OpBuilder inside =
            OpBuilder::atBlockBegin(&program.getBody().emplaceBlock());
        // A stage of a program holds what its own functions use.
        llvm::DenseSet<StringAttr> used;
        for (func::FuncOp function : functions)
          if (auto uses = SymbolTable::getSymbolUses(function))
            for (SymbolTable::SymbolUse use : *uses)
              used.insert(use.getSymbolRef().getRootReference());
        auto holds = [&](StringAttr name) {
          return (stages == 1 && programs.size() == 1) || used.contains(name);
        };
        for (auto shard : module.getOps<dist::WeightShardOp>())
          if (holds(shard.getSymNameAttr()) &&
              failed(createWeights(inside, shard, weights, symbols, sources)))
            return failure();
        for (auto state : module.getOps<model::StateOpInterface>())
          if (holds(SymbolTable::getSymbolName(state)))
            createStates(inside, state, *limits,
                         isOfSequences(state) ? sequences : kv);
        for (func::FuncOp function : functions)
          if (failed(EntryConverter(function, *limits, symbols, shared,
                                    activations, io, target)
                         .convert(inside, stage == stages - 1)))
            return failure();
      }

    OpBuilder front = OpBuilder::atBlockBegin(module.getBody());
    for (auto weight : module.getOps<model::WeightOp>())
      if (sources.of(weight) == weight)
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

  /// Names of the programs, the main one first.
  static SmallVector<StringRef> programsOf(ModuleOp module) {
    SmallVector<StringRef> names = {model::ModelDialect::kMainProgram};
    for (auto function : module.getOps<func::FuncOp>())
      if (StringRef name = model::ModelDialect::getProgram(function);
          !llvm::is_contained(names, name))
        names.push_back(name);
    return names;
  }

  static int64_t stageOf(func::FuncOp function) {
    auto stage =
        function->getAttrOfType<IntegerAttr>(dist::DistDialect::kStageAttrName);
    return stage ? stage.getInt() : 0;
  }

  static bool isOfSequences(model::StateOpInterface state) {
    return state.getStateKind() == model::StateKind::Sequence;
  }

  static StateKind kindOf(model::StateOpInterface state) {
    switch (state.getStateKind()) {
    case model::StateKind::Paged:
      return StateKind::Paged;
    case model::StateKind::Sequence:
      return StateKind::Sequence;
    case model::StateKind::IndexKeys:
      return StateKind::IndexKeys;
    }
    llvm_unreachable("all kinds are listed");
  }

  /// One page or sequence of each buffer.
  static void createStates(OpBuilder &builder, model::StateOpInterface state,
                           const model::Limits &limits,
                           FlatSymbolRefAttr arena) {
    StringRef name = SymbolTable::getSymbolName(state);
    auto kind = StateKindAttr::get(builder.getContext(), kindOf(state));
    for (const auto &buffer : state.getStateBuffers(limits.pageSize))
      StateOp::create(builder, state.getLoc(),
                      builder.getStringAttr(name + buffer.suffix), kind, arena,
                      IntegerAttr(), TypeAttr::get(buffer.type));
  }

  /// Tensors that may be present and that nothing reads.
  static void createIgnored(OpBuilder &builder, Location loc,
                            DictionaryAttr ignored) {
    for (auto [index, entry] : llvm::enumerate(ignored)) {
      auto info = cast<DictionaryAttr>(entry.getValue());
      auto checkpoint = info.getAs<StringAttr>("checkpoint");
      StringRef name = entry.getName();
      if (checkpoint)
        name = name.drop_front(checkpoint.size() + 1);
      SourceOp::create(
          builder, loc,
          builder.getStringAttr("ignored." + std::to_string(index)),
          builder.getStringAttr(name), checkpoint,
          info.getAs<IntegerAttr>("stack"), model::CompanionKindAttr(),
          FlatSymbolRefAttr(), info.getAs<StringAttr>("reason"),
          info.getAs<IntegerAttr>("group"), info.getAs<UnitAttr>("zero"),
          /*over=*/IntegerAttr(), UnpackingAttr(),
          info.getAs<TypeAttr>("type"));
    }
  }
};

} // namespace
