#include "test/unit/engine/TinyEngine.h"

#include "runtime/src/base/DType.h"
#include "runtime/src/checkpoint/Fingerprint.h"
#include "runtime/src/engine/EngineFile.h"
#include "test/unit/engine/TinyBuilder.h"

using namespace saddle;
using namespace saddle::schema;

namespace saddle::tiny {

SliceT place(uint32_t arena, DType dtype, const Shape &shape, uint64_t &used) {
  SliceT slice;
  slice.arena = arena;
  slice.dtype = dtype;
  slice.shape = shape;
  slice.strides.resize(shape.size());
  uint64_t elements = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    slice.strides[i] = elements;
    elements *= shape[i];
  }
  slice.offset = used;
  used += (elements * elementBytes(dtype) + 63) / 64 * 64;
  return slice;
}

void Builder::addArenas() {
  auto add = [&](const char *name, ArenaKind kind, uint64_t bytes) {
    auto arena = std::make_unique<ArenaT>();
    arena->name = name;
    arena->kind = kind;
    arena->bytes = bytes;
    arena->alignment = 64;
    engine->arenas.push_back(std::move(arena));
  };
  add("weights", ArenaKind::CONSTANT, weightBytes);
  add("kv", ArenaKind::PAGES, stateBytes);
  add("activations", ArenaKind::TRANSIENT, scratchBytes);
  add("io", ArenaKind::IO, ioBytes);
  if (options.recurrent)
    add("sequences", ArenaKind::SEQUENCES, sequenceBytes);
}

void Builder::addRankGroups() {
  // rankOf(group, member) counts within a stage; stages are alike.
  auto add = [&](const char *axes, uint32_t size, auto rankOf) {
    auto groups = std::make_unique<RankGroupsT>();
    groups->axes = axes;
    groups->size = size;
    for (uint32_t i = 0; i < options.pp * options.tp; ++i)
      groups->ranks.push_back(i / options.tp * options.tp +
                              rankOf(i % options.tp / size, i % size));
    engine->rank_groups.push_back(std::move(groups));
  };
  add("tp", options.tp, [](uint32_t, uint32_t i) { return i; });
  if (options.dp == 1)
    return;
  add("attention", width,
      [&](uint32_t group, uint32_t i) { return group * width + i; });
  add("replicas", options.dp,
      [&](uint32_t group, uint32_t i) { return i * width + group; });
}

void Builder::addProgram(const char *name, uint32_t stage) {
  engine->programs.push_back(std::make_unique<ProgramT>());
  program = engine->programs.back().get();
  program->name = name;
  program->stage = stage;
  firstLayer = (options.layers * stage + options.pp - 1) / options.pp;
  endLayer = (options.layers * (stage + 1) + options.pp - 1) / options.pp;
  isFirst = stage == 0;
  isLast = stage + 1 == options.pp;
  // Programs of a stage lie beside each other.
  used = checkpoint == 0 ? Used() : mainUses[stage];
  weightSlices.clear();
  addWeights();
  if (checkpoint == 0)
    mainUses.push_back(used);
  uint64_t decoded = options.maxBatch * (1 + options.specTokens);
  addEntry("decode", Phase::DECODE, decoded, decoded);
  addEntry("prefill", Phase::PREFILL, options.prefillChunk, options.maxBatch);
  weightBytes = std::max(weightBytes, used.weights);
  stateBytes = std::max(stateBytes, used.states);
  sequenceBytes = std::max(sequenceBytes, used.sequences);
}

std::unique_ptr<EngineT> Builder::build() {
  engine->producer = "TinyEngine";
  engine->target = "cpu";
  engine->compute_dtype = options.compute;
  engine->kv_dtype = options.kv;
  engine->model = std::make_unique<ModelT>();
  engine->model->architecture = "MiniMaxM2ForCausalLM";
  engine->model->name = "tiny";
  engine->model->vocab_size = kVocab;
  engine->model->num_layers = options.layers;
  engine->model->hidden_size = kHidden;
  engine->model->eos_token_ids = {1};
  engine->topology = std::make_unique<TopologyT>();
  engine->topology->tp = options.tp;
  engine->topology->dp = options.dp;
  engine->topology->ep = expertParts;
  engine->topology->pp = options.pp;
  engine->limits = std::make_unique<LimitsT>();
  engine->limits->max_batch = options.maxBatch;
  engine->limits->max_seq_len = options.maxSeqLen;
  engine->limits->prefill_chunk = options.prefillChunk;
  engine->limits->page_size = options.pageSize;
  addRankGroups();
  auto fusion = std::make_unique<FusionT>();
  fusion->signature = "add_rms_norm";
  fusion->ops = {"add", "rms_norm"};
  engine->fusions.push_back(std::move(fusion));
  auto addCheckpoint = [&](const char *name) {
    engine->checkpoints.push_back(std::make_unique<CheckpointT>());
    engine->checkpoints.back()->name = name;
  };
  addCheckpoint("main");
  for (uint32_t stage = 0; stage < options.pp; ++stage)
    addProgram("main", stage);
  if (options.draft) {
    addCheckpoint("draft");
    checkpoint = 1;
    for (uint32_t stage = 0; stage < options.pp; ++stage)
      addProgram("draft", stage);
  }
  addArenas();
  updateFingerprint(*engine);
  return std::move(engine);
}

} // namespace saddle::tiny

std::unique_ptr<EngineT> saddle::tinyEngine(const TinyOptions &options) {
  return tiny::Builder(options).build();
}

void saddle::updateFingerprint(EngineT &engine) {
  const std::map<DType, TensorDType> dtypes = {
      {DType::F32, TensorDType::F32},       {DType::BF16, TensorDType::BF16},
      {DType::F16, TensorDType::F16},       {DType::I32, TensorDType::I32},
      {DType::F8E4M3, TensorDType::F8E4M3}, {DType::U8, TensorDType::U8}};
  std::vector<std::map<std::string, const SourceT *>> checkpoints(
      engine.checkpoints.size());
  for (const auto &source : engine.sources) {
    if (!source->ignored_reason.empty())
      continue;
    auto &tensors = checkpoints[source->checkpoint];
    if (source->stack == 0)
      tensors[source->name] = source.get();
    size_t hole = source->name.find("{}");
    for (uint64_t i = 0; i < source->stack; ++i) {
      std::string name = source->name;
      tensors[name.replace(hole, 2, std::to_string(i))] = source.get();
    }
  }
  for (size_t i = 0; i < checkpoints.size(); ++i) {
    Fingerprint fingerprint;
    for (const auto &[name, source] : checkpoints[i])
      fingerprint.add(name, dtypes.at(source->dtype), source->shape);
    engine.checkpoints[i]->fingerprint = fingerprint.hex();
  }
}

void saddle::copyMainWeights(EngineT &engine) {
  if (engine.programs.size() == 1)
    return;
  auto main = [&](const std::string &name) {
    size_t i = 0;
    while (engine.sources[i]->checkpoint != 0 ||
           engine.sources[i]->name != name)
      ++i;
    return uint32_t(i);
  };
  for (auto &weight : engine.programs[1]->weights)
    for (auto &piece : weight->pieces)
      piece->source = main(engine.sources[piece->source]->name);
  for (auto &source : engine.sources)
    if (source->checkpoint != 0)
      source->ignored_reason = "those of the main program are read";
  updateFingerprint(engine);
}

std::vector<uint8_t> saddle::flatBufferOf(const EngineT &engine) {
  flatbuffers::FlatBufferBuilder builder;
  FinishEngineBuffer(builder, schema::Engine::Pack(builder, &engine));
  return std::vector<uint8_t>(builder.GetBufferPointer(),
                              builder.GetBufferPointer() + builder.GetSize());
}

std::vector<uint8_t> saddle::engineFileOf(const EngineT &engine) {
  std::vector<uint8_t> buffer = flatBufferOf(engine);
  return packEngineFile(buffer, {});
}
