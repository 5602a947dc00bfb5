#include "compiler/Serialize/EngineWriter.h"

#include "dialects/Engine/IR/EngineDialect.h"
#include "passes/Target/KernelStorage.h"
#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Hash.h"
#include "runtime/src/engine/EngineFile.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace saddle;

namespace {

class EngineWriter {
public:
  EngineWriter(ModuleOp module, StringRef target,
               const ModuleBinaries &binaries)
      : module(module), target(target), binaries(binaries) {}

  FailureOr<std::vector<uint8_t>> write() {
    if (failed(writeHeader()))
      return failure();
    for (Operation &op : *module.getBody())
      if (failed(writeSymbol(&op)))
        return failure();
    // Programs refer to everything else by index.
    for (auto program : module.getOps<engine::ProgramOp>())
      if (failed(writeProgram(program)))
        return failure();
    flatbuffers::FlatBufferBuilder builder(1 << 20);
    schema::FinishEngineBuffer(builder, schema::Engine::Pack(builder, &root));
    return packEngineFile(Bytes(builder.GetBufferPointer(), builder.GetSize()),
                          Bytes(segments));
  }

private:
  //===--------------------------------------------------------------------===//
  // Module attributes
  //===--------------------------------------------------------------------===//

  LogicalResult writeHeader() {
    auto config = module->getAttrOfType<DictionaryAttr>(
        model::ModelDialect::kConfigAttrName);
    auto topology = module->getAttrOfType<DictionaryAttr>(
        dist::DistDialect::kTopologyAttrName);
    auto limits = model::Limits::get(module);
    if (!config || !topology || failed(limits))
      return module.emitError(
          "module needs 'model.config', 'model.limits' and 'dist.topology'");
    auto text = [&](StringRef name) {
      auto value = config.getAs<StringAttr>(name);
      return value ? value.str() : std::string();
    };
    auto number = [](DictionaryAttr dict, StringRef name, int64_t missing) {
      auto value = dict.getAs<IntegerAttr>(name);
      return value ? value.getInt() : missing;
    };
    root.producer = "saddle-compile " SADDLE_VERSION;
    root.target = target.str();
    root.compute_dtype = dtypeNamed(text("compute_dtype"));
    root.kv_dtype = dtypeNamed(text("kv_dtype"));
    root.model = std::make_unique<schema::ModelT>();
    root.model->architecture = text("architecture");
    root.model->name = text("name");
    addCheckpoint("main", text("fingerprint"));
    // Parts are of the model's own checkpoint.
    if (auto parts = module->getAttrOfType<ArrayAttr>(
            model::ModelDialect::kStoredPartsAttrName))
      for (auto part : parts.getAsRange<DictionaryAttr>())
        root.checkpoints.back()->parts.push_back(storedPart(part));
    if (auto others = module->getAttrOfType<DictionaryAttr>(
            model::ModelDialect::kCheckpointsAttrName))
      for (NamedAttribute other : others)
        addCheckpoint(other.getName(),
                      cast<StringAttr>(other.getValue()).getValue());
    root.model->vocab_size = number(config, "vocab_size", 0);
    root.model->num_layers = number(config, "num_hidden_layers", 0);
    root.model->hidden_size = number(config, "hidden_size", 0);
    root.model->bos_token_id = number(config, "bos_token_id", -1);
    if (auto eos = config.getAs<DenseI64ArrayAttr>("eos_token_ids"))
      root.model->eos_token_ids.assign(eos.asArrayRef().begin(),
                                       eos.asArrayRef().end());
    root.topology = std::make_unique<schema::TopologyT>();
    root.topology->tp = number(topology, "tp", 1);
    root.topology->dp = number(topology, "dp", 1);
    root.topology->ep = number(topology, "ep", 1);
    root.topology->pp = number(topology, "pp", 1);
    root.limits = std::make_unique<schema::LimitsT>();
    root.limits->max_batch = limits->maxBatch;
    root.limits->max_seq_len = limits->maxSeqLen;
    root.limits->prefill_chunk = limits->prefillChunk;
    root.limits->page_size = limits->pageSize;
    return success();
  }

  static std::unique_ptr<schema::StoredPartT> storedPart(DictionaryAttr part) {
    auto number = [&](StringRef name) {
      return static_cast<uint64_t>(part.getAs<IntegerAttr>(name).getInt());
    };
    auto table = std::make_unique<schema::StoredPartT>();
    table->name = part.getAs<StringAttr>("name").str();
    table->tensor = part.getAs<StringAttr>("tensor").str();
    table->columns = part.getAs<BoolAttr>("columns").getValue();
    table->stack = number("stack");
    table->first = number("first");
    table->count = number("count");
    table->of = number("of");
    return table;
  }

  void addCheckpoint(StringRef name, StringRef fingerprint) {
    auto checkpoint = std::make_unique<schema::CheckpointT>();
    checkpoint->name = name.str();
    checkpoint->fingerprint = fingerprint.str();
    checkpoints[name] = root.checkpoints.size();
    root.checkpoints.push_back(std::move(checkpoint));
  }

  static schema::DType dtypeNamed(StringRef name) {
    return llvm::StringSwitch<schema::DType>(name)
        .Case("f32", schema::DType::F32)
        .Case("bf16", schema::DType::BF16)
        .Case("f16", schema::DType::F16)
        .Case("f8e4m3", schema::DType::F8E4M3)
        .Default(schema::DType::UNKNOWN);
  }

  static schema::DType dtypeOf(Type type) {
    if (type.isF32())
      return schema::DType::F32;
    if (type.isBF16())
      return schema::DType::BF16;
    if (type.isF16())
      return schema::DType::F16;
    if (isa<Float8E4M3FNType>(type))
      return schema::DType::F8E4M3;
    if (type.isInteger(32))
      return schema::DType::I32;
    if (type.isInteger(64))
      return schema::DType::I64;
    if (isa<Float8E8M0FNUType>(type))
      return schema::DType::F8E8M0;
    if (type.isSignedInteger(8))
      return schema::DType::I8;
    if (type.isInteger(8))
      return schema::DType::U8;
    return schema::DType::UNKNOWN;
  }

  //===--------------------------------------------------------------------===//
  // Module-level symbols
  //===--------------------------------------------------------------------===//

  LogicalResult writeSymbol(Operation *op) {
    if (auto source = dyn_cast<engine::SourceOp>(op))
      return writeSource(source);
    if (auto arena = dyn_cast<engine::ArenaOp>(op))
      return writeArena(arena);
    if (auto device = dyn_cast<engine::DeviceModuleOp>(op))
      return writeModule(device);
    if (auto kernel = dyn_cast<engine::KernelOp>(op))
      return writeKernel(kernel);
    if (auto groups = dyn_cast<engine::RankGroupsOp>(op))
      return writeRankGroups(groups);
    if (auto fusion = dyn_cast<engine::FusionOp>(op))
      return writeFusion(fusion);
    if (isa<engine::ProgramOp>(op))
      return success();
    return op->emitError("op '")
           << op->getName() << "' has no table in an engine file";
  }

  LogicalResult writeSource(engine::SourceOp op) {
    auto table = std::make_unique<schema::SourceT>();
    auto type = cast<RankedTensorType>(op.getType());
    table->name = op.getSource().str();
    table->stack = op.getStack();
    table->dtype = dtypeOf(type.getElementType());
    table->shape.assign(type.getShape().begin(), type.getShape().end());
    if (engine::UnpackingAttr unpacking = op.getUnpackingAttr())
      table->unpacking = writeUnpacking(unpacking);
    if (auto reason = op.getIgnored())
      table->ignored_reason = reason->str();
    table->group = op.getGroup().value_or(0);
    table->zero = op.getZero();
    table->over = op.getOver().value_or(0);
    if (auto checkpoint = op.getCheckpoint()) {
      if (!checkpoints.contains(*checkpoint))
        return op.emitError("source @")
               << op.getSymName() << " is of checkpoint \"" << *checkpoint
               << "\", which 'model.checkpoints' does not name";
      table->checkpoint = checkpoints.lookup(*checkpoint);
    }
    if (auto weight = op.getOf()) {
      if (!sources.contains(*weight))
        return op.emitError("source @")
               << *weight << " stands behind its companion";
      table->companion = static_cast<schema::CompanionKind>(*op.getCompanion());
      table->companion_of = sources.lookup(*weight) + 1;
    }
    sources[op.getSymName()] = root.sources.size();
    root.sources.push_back(std::move(table));
    return success();
  }

  static std::unique_ptr<schema::UnpackingT>
  writeUnpacking(engine::UnpackingAttr unpacking) {
    auto table = std::make_unique<schema::UnpackingT>();
    if (model::PackingAttr packing = unpacking.getPacking()) {
      table->order.assign(packing.getOrder().begin(), packing.getOrder().end());
      table->bits = packing.getWord().getWidth() / table->order.size();
      table->along_rows = packing.getRows();
    }
    table->transposed = unpacking.getTransposed();
    table->per_element = unpacking.getPer();
    table->add = unpacking.getPlus();
    table->rows = unpacking.getRows();
    table->cols = unpacking.getCols();
    return table;
  }

  LogicalResult writeArena(engine::ArenaOp op) {
    auto table = std::make_unique<schema::ArenaT>();
    table->name = op.getSymName().str();
    table->kind = static_cast<schema::ArenaKind>(op.getKind());
    table->bytes = op.getBytes();
    table->alignment = op.getAlignment();
    arenas[op.getSymName()] = root.arenas.size();
    root.arenas.push_back(std::move(table));
    return success();
  }

  LogicalResult writeModule(engine::DeviceModuleOp op) {
    auto binary = binaries.find(op.getSymName());
    if (binary == binaries.end())
      return op.emitError("module @")
             << op.getSymName() << " has no device binary";
    constexpr size_t kSegmentAlignment = 4096;
    const std::vector<uint8_t> &bytes = binary->second.cubin;
    segments.resize(llvm::alignTo(segments.size(), kSegmentAlignment));
    auto table = std::make_unique<schema::ModuleT>();
    table->name = op.getSymName().str();
    table->offset = segments.size();
    table->bytes = bytes.size();
    Hasher128 hasher;
    hasher.update(bytes.data(), bytes.size());
    table->hash = hasher.hex();
    segments.insert(segments.end(), bytes.begin(), bytes.end());
    modules[op.getSymName()] = root.modules.size();
    root.modules.push_back(std::move(table));
    return success();
  }

  LogicalResult writeFunctions(engine::KernelOp op, schema::KernelT &kernel) {
    for (auto attr : op.getFunctions()->getAsRange<engine::FunctionAttr>()) {
      StringRef module = attr.getModule().getValue();
      if (!modules.contains(module))
        return op.emitError("module @")
               << module << " stands behind the kernel that uses it";
      auto table = std::make_unique<schema::FunctionT>();
      table->module_ = modules.lookup(module);
      table->name = attr.getName().str();
      table->grid_x = attr.getGrid()[0];
      table->grid_y = attr.getGrid()[1];
      table->grid_z = attr.getGrid()[2];
      table->exclusive_grid = attr.getExclusive();
      table->block = attr.getBlock();
      table->shared_bytes = attr.getShared();
      const auto &compiled = binaries.find(module)->second.functions;
      auto resources = llvm::find_if(compiled, [&](const auto &function) {
        return function.name == attr.getName().getValue();
      });
      if (resources == compiled.end())
        return op.emitError("function \"") << attr.getName().getValue()
                                           << "\" is not in module @" << module;
      table->registers = resources->registers;
      table->spill_bytes = resources->spillBytes;
      kernel.functions.push_back(std::move(table));
    }
    return success();
  }

  static std::vector<std::unique_ptr<schema::AttributeT>>
  attributes(DictionaryAttr constants) {
    std::vector<std::unique_ptr<schema::AttributeT>> tables;
    for (NamedAttribute constant : constants) {
      if (constant.getName() == engine::EngineDialect::kStorageName)
        continue;
      auto attribute = std::make_unique<schema::AttributeT>();
      attribute->name = constant.getName().str();
      if (auto value = dyn_cast<IntegerAttr>(constant.getValue())) {
        attribute->kind = schema::AttributeKind::INT;
        attribute->int_value = value.getInt();
      } else if (auto value = dyn_cast<FloatAttr>(constant.getValue())) {
        attribute->kind = schema::AttributeKind::FLOAT;
        attribute->float_value = value.getValueAsDouble();
      } else {
        attribute->kind = schema::AttributeKind::RANK;
        attribute->rank_value =
            rankValue(cast<dist::RankValueAttr>(constant.getValue()));
      }
      tables.push_back(std::move(attribute));
    }
    return tables;
  }

  static std::vector<std::unique_ptr<schema::StorageT>>
  storage(DictionaryAttr constants) {
    std::vector<std::unique_ptr<schema::StorageT>> tables;
    auto all = constants.getAs<ArrayAttr>(engine::EngineDialect::kStorageName);
    if (!all)
      return tables;
    for (auto attr : all.getAsRange<model::StorageAttr>()) {
      auto table = std::make_unique<schema::StorageT>();
      if (model::PackingAttr packing = attr.getPacking())
        table->order.assign(packing.getOrder().begin(),
                            packing.getOrder().end());
      table->codes = engine::codesOf(attr);
      table->zero = attr.getOffset();
      table->rotated = attr.getRotated();
      for (model::CompanionAttr companion : attr.getCompanions()) {
        auto entry = std::make_unique<schema::CompanionT>();
        entry->kind = static_cast<schema::CompanionKind>(companion.getKind());
        entry->block_rows = companion.getBlockRows();
        entry->block_cols = companion.getBlockCols();
        entry->divides = companion.getDivides();
        table->companions.push_back(std::move(entry));
      }
      tables.push_back(std::move(table));
    }
    return tables;
  }

  static void writeBody(engine::KernelOp op, schema::KernelT &kernel) {
    for (auto step : op.getBody()->getAsRange<engine::StepAttr>()) {
      auto table = std::make_unique<schema::BodyOpT>();
      table->op = step.getOp().str();
      table->attributes = attributes(step.getConstants());
      table->storage = storage(step.getConstants());
      table->operands.assign(step.getValues().begin(), step.getValues().end());
      kernel.body.push_back(std::move(table));
    }
    if (!op.getTemporaries())
      return;
    for (Type type : op.getTemporaries()->getAsValueRange<TypeAttr>()) {
      auto row = cast<RankedTensorType>(type);
      auto table = std::make_unique<schema::TemporaryT>();
      table->dtype = dtypeOf(row.getElementType());
      table->shape.assign(row.getShape().begin(), row.getShape().end());
      kernel.temporaries.push_back(std::move(table));
    }
  }

  LogicalResult writeKernel(engine::KernelOp op) {
    auto table = std::make_unique<schema::KernelT>();
    table->name = op.getSymName().str();
    table->op = op.getReference().str();
    table->attributes = attributes(op.getConstants());
    table->storage = storage(op.getConstants());
    if (op.getBody())
      writeBody(op, *table);
    if (op.getFunctions() && failed(writeFunctions(op, *table)))
      return failure();
    kernels[op.getSymName()] = root.kernels.size();
    root.kernels.push_back(std::move(table));
    return success();
  }

  LogicalResult writeRankGroups(engine::RankGroupsOp op) {
    auto table = std::make_unique<schema::RankGroupsT>();
    table->axes = op.getAxes().str();
    table->size = op.getSize();
    table->ranks.assign(op.getRanks().begin(), op.getRanks().end());
    rankGroups[op.getSymName()] = root.rank_groups.size();
    root.rank_groups.push_back(std::move(table));
    return success();
  }

  LogicalResult writeFusion(engine::FusionOp op) {
    auto table = std::make_unique<schema::FusionT>();
    table->signature = op.getSymName().str();
    for (auto name : op.getOps().getAsValueRange<StringAttr>())
      table->ops.push_back(name.str());
    fusions[op.getSymName()] = root.fusions.size();
    root.fusions.push_back(std::move(table));
    return success();
  }

  static std::unique_ptr<schema::RankValueT>
  rankValue(dist::RankValueAttr attr) {
    auto table = std::make_unique<schema::RankValueT>();
    table->base = attr.getBase();
    table->divisor = attr.getDivisor();
    table->modulus = attr.getModulus();
    table->step = attr.getStep();
    return table;
  }

  //===--------------------------------------------------------------------===//
  // Programs
  //===--------------------------------------------------------------------===//

  LogicalResult writeProgram(engine::ProgramOp op) {
    auto table = std::make_unique<schema::ProgramT>();
    table->name = op.getProgram().str();
    table->stage = op.getStage();
    globals.clear();
    for (Operation &inner : op.getBody().front()) {
      if (auto weight = dyn_cast<engine::WeightOp>(inner)) {
        writeWeight(weight, *table);
      } else if (auto state = dyn_cast<engine::StateOp>(inner)) {
        writeState(state, *table);
      } else if (failed(writeEntry(cast<engine::EntryOp>(inner), *table))) {
        return failure();
      }
    }
    root.programs.push_back(std::move(table));
    return success();
  }

  std::unique_ptr<schema::SliceT> slice(StringRef arena, int64_t offset,
                                        MemRefType type) {
    auto table = std::make_unique<schema::SliceT>();
    SmallVector<int64_t> strides;
    int64_t elements = 0;
    // Static strided layouts only: the dialect's verifiers see to it.
    (void)type.getStridesAndOffset(strides, elements);
    int64_t bytes = type.getElementTypeBitWidth() / 8;
    table->arena = arenas.lookup(arena);
    table->offset = offset + elements * bytes;
    table->dtype = dtypeOf(type.getElementType());
    table->shape.assign(type.getShape().begin(), type.getShape().end());
    table->strides.assign(strides.begin(), strides.end());
    return table;
  }

  void writeState(engine::StateOp op, schema::ProgramT &program) {
    globals[op.getSymName()] = {op.getArena(), *op.getOffset()};
    if (!op.getKind())
      return; // exchange memory
    auto table = std::make_unique<schema::StateT>();
    table->name = op.getSymName().str();
    table->kind = static_cast<schema::StateKind>(*op.getKind());
    table->slice =
        slice(op.getArena(), *op.getOffset(), cast<MemRefType>(op.getType()));
    program.states.push_back(std::move(table));
  }

  void writeWeight(engine::WeightOp op, schema::ProgramT &program) {
    auto table = std::make_unique<schema::WeightT>();
    table->name = op.getSymName().str();
    table->slice =
        slice(op.getArena(), *op.getOffset(), cast<MemRefType>(op.getType()));
    for (auto attr : op.getPieces().getAsRange<engine::PieceAttr>()) {
      auto piece = std::make_unique<schema::PieceT>();
      piece->source = sources.lookup(attr.getSource().getValue());
      piece->stack_start = rankValue(attr.getMember());
      piece->stack_count = attr.getCount();
      piece->row_start = rankValue(attr.getRow());
      piece->rows = attr.getRows();
      piece->col_start = rankValue(attr.getCol());
      piece->cols = attr.getCols();
      piece->dest_row = attr.getDestRow();
      piece->dest_col = attr.getDestCol();
      piece->source_block_rows = attr.getBlocks()[0];
      piece->source_block_cols = attr.getBlocks()[1];
      piece->dest_block_rows = attr.getBlocks()[2];
      piece->dest_block_cols = attr.getBlocks()[3];
      table->pieces.push_back(std::move(piece));
    }
    globals[op.getSymName()] = {op.getArena(), *op.getOffset()};
    program.weights.push_back(std::move(table));
  }

  LogicalResult writeEntry(engine::EntryOp op, schema::ProgramT &program) {
    auto table = std::make_unique<schema::EntryT>();
    table->name = op.getSymName().str();
    table->phase = static_cast<schema::Phase>(op.getPhase());
    table->tokens = op.getTokens();
    table->rows = op.getRows();
    slices.clear();
    globalSlices.clear();
    for (Operation &inner : op.getBody().front())
      if (failed(writeStatement(&inner, *table)))
        return failure();
    program.entries.push_back(std::move(table));
    return success();
  }

  /// Where a value's bytes begin, before its layout's own offset.
  std::pair<StringRef, int64_t> placeOf(Value value) {
    while (auto view = value.getDefiningOp<engine::ViewOp>())
      value = view.getSource();
    if (auto buffer = value.getDefiningOp<engine::BufferOp>())
      return {buffer.getArena(), *buffer.getOffset()};
    auto global = value.getDefiningOp<engine::GlobalOp>();
    return globals.lookup(global.getSymbol());
  }

  /// Index of a value's slice; made on first use, one for each global.
  uint32_t sliceOf(Value value, schema::EntryT &entry) {
    if (auto global = value.getDefiningOp<engine::GlobalOp>()) {
      auto [it, inserted] =
          globalSlices.try_emplace(global.getSymbol(), entry.slices.size());
      if (inserted)
        pushSlice(value, entry);
      return it->second;
    }
    auto [it, inserted] = slices.try_emplace(value, entry.slices.size());
    if (inserted)
      pushSlice(value, entry);
    return it->second;
  }

  void pushSlice(Value value, schema::EntryT &entry) {
    auto [arena, offset] = placeOf(value);
    entry.slices.push_back(
        slice(arena, offset, cast<MemRefType>(value.getType())));
  }

  /// Index + 1; 0 for none.
  uint32_t optionalSlice(Value value, schema::EntryT &entry) {
    return value ? sliceOf(value, entry) + 1 : 0;
  }
  uint32_t optionalKernel(std::optional<StringRef> kernel) {
    return kernel ? kernels.lookup(*kernel) + 1 : 0;
  }

  uint32_t fusionIndex(std::optional<StringRef> fusion) {
    return fusion ? fusions.lookup(*fusion) + 1 : 0;
  }

  template <typename ActionT>
  static std::unique_ptr<schema::CommandT>
  command(ActionT &&action, StringRef place, uint32_t group) {
    auto table = std::make_unique<schema::CommandT>();
    table->action.Set(std::forward<ActionT>(action));
    table->place = place.str();
    table->group = group;
    return table;
  }

  LogicalResult writeStatement(Operation *op, schema::EntryT &entry) {
    size_t commands = entry.commands.size();
    LogicalResult written = writeAny(op, entry);
    if (auto output = op->getAttrOfType<StringAttr>(
            engine::EngineDialect::kOutputAttrName))
      for (auto &command : llvm::drop_begin(entry.commands, commands))
        command->output = output.str();
    return written;
  }

  LogicalResult writeAny(Operation *op, schema::EntryT &entry) {
    if (isa<engine::BufferOp, engine::ViewOp, engine::GlobalOp>(op))
      return success(); // written where they are used
    if (auto bind = dyn_cast<engine::BindOp>(op)) {
      auto table = std::make_unique<schema::BindingT>();
      table->name = bind.getBinding().str();
      table->slice = sliceOf(bind.getBuffer(), entry);
      entry.bindings.push_back(std::move(table));
      return success();
    }
    if (auto launch = dyn_cast<engine::LaunchOp>(op)) {
      schema::LaunchT table;
      table.kernel = kernels.lookup(launch.getKernel());
      for (Value input : launch.getInputs())
        table.operands.push_back(sliceOf(input, entry));
      for (Value output : launch.getOutputs())
        table.operands.push_back(sliceOf(output, entry));
      table.extent = static_cast<schema::Extent>(launch.getExtent());
      table.workspace = optionalSlice(launch.getWorkspace(), entry);
      table.exchange = optionalSlice(launch.getExchange(), entry);
      if (auto groups = launch.getGroups())
        table.groups = rankGroups.lookup(*groups) + 1;
      entry.commands.push_back(command(std::move(table), launch.getPlace(),
                                       fusionIndex(launch.getFusion())));
      return success();
    }
    if (auto collective = dyn_cast<engine::CollectiveOp>(op)) {
      schema::CollectiveT table;
      table.kind = static_cast<schema::CollectiveKind>(collective.getKind());
      table.groups = rankGroups.lookup(collective.getGroups());
      table.input = sliceOf(collective.getInput(), entry);
      table.output = sliceOf(collective.getOutput(), entry);
      table.dim = collective.getDim();
      table.extent = static_cast<schema::Extent>(collective.getExtent());
      if (auto extent = collective.getOutputExtent())
        table.output_extent = static_cast<schema::Extent>(*extent);
      if (auto rows = collective.getRows())
        table.layout = static_cast<schema::RowLayout>(*rows);
      table.kernel = optionalKernel(collective.getKernel());
      table.workspace = optionalSlice(collective.getWorkspace(), entry);
      table.exchange = optionalSlice(collective.getExchange(), entry);
      entry.commands.push_back(command(table, collective.getPlace(),
                                       fusionIndex(collective.getFusion())));
      return success();
    }
    if (auto transfer = dyn_cast<engine::TransferOp>(op)) {
      schema::TransferT table;
      table.kind = static_cast<schema::TransferKind>(transfer.getKind());
      table.slice = sliceOf(transfer.getBuffer(), entry);
      table.extent = static_cast<schema::Extent>(transfer.getExtent());
      table.kernel = optionalKernel(transfer.getKernel());
      table.workspace = optionalSlice(transfer.getWorkspace(), entry);
      table.exchange = optionalSlice(transfer.getExchange(), entry);
      entry.commands.push_back(command(table, transfer.getPlace(), 0));
      return success();
    }
    if (auto copy = dyn_cast<engine::CopyOp>(op)) {
      schema::CopyT table;
      table.source = sliceOf(copy.getSource(), entry);
      table.dest = sliceOf(copy.getDest(), entry);
      table.extent = static_cast<schema::Extent>(copy.getExtent());
      table.kernel = optionalKernel(copy.getKernel());
      entry.commands.push_back(command(table, copy.getPlace(), 0));
      return success();
    }
    return op->emitError("op '")
           << op->getName() << "' has no table in an engine file";
  }

  ModuleOp module;
  StringRef target;
  const ModuleBinaries &binaries;
  schema::EngineT root;
  std::vector<uint8_t> segments;
  llvm::StringMap<uint32_t> checkpoints, sources, arenas, modules, kernels,
      rankGroups, fusions;
  llvm::StringMap<std::pair<StringRef, int64_t>> globals;
  llvm::DenseMap<Value, uint32_t> slices;
  llvm::StringMap<uint32_t> globalSlices;
};

} // namespace

FailureOr<std::vector<uint8_t>>
saddle::serializeEngine(ModuleOp module, StringRef target,
                        const ModuleBinaries &binaries) {
  return EngineWriter(module, target, binaries).write();
}
