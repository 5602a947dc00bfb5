#include "tools/saddle-inspect/EngineJson.h"

#include "runtime/src/base/DType.h"
#include "runtime/src/engine/Extents.h"
#include "runtime/src/engine/Programs.h"
#include "tools/saddle-inspect/Facts.h"

namespace saddle::inspect {

using namespace schema;

//===--- Tables, in the schema's order -----------------------------------===//

static Json json(const flatbuffers::String *text) {
  return text ? Json(text->str()) : Json();
}

template <typename Number>
static Json numbers(const flatbuffers::Vector<Number> *values) {
  Json array = Json::array();
  for (uint32_t i = 0; values && i < values->size(); ++i)
    array.push_back(values->Get(i));
  return array;
}

/// An array of tables, each converted by its overload of `json`.
template <typename Table>
static Json tables(const flatbuffers::Vector<flatbuffers::Offset<Table>> *all);

static Json json(const RankValue *value) {
  if (!value)
    return Json();
  return {{"base", value->base()},
          {"divisor", value->divisor()},
          {"modulus", value->modulus()},
          {"step", value->step()}};
}

static Json json(const Arena *arena) {
  return {{"name", json(arena->name())},
          {"kind", EnumNameArenaKind(arena->kind())},
          {"bytes", arena->bytes()},
          {"alignment", arena->alignment()}};
}

static Json json(const Slice *slice) {
  return {{"arena", slice->arena()},
          {"offset", slice->offset()},
          {"dtype", dtypeName(slice->dtype())},
          {"shape", numbers(slice->shape())},
          {"strides", numbers(slice->strides())}};
}

static Json json(const Unpacking *unpacking) {
  if (!unpacking)
    return nullptr;
  return {{"bits", unpacking->bits()},
          {"order", numbers(unpacking->order())},
          {"along_rows", unpacking->along_rows()},
          {"transposed", unpacking->transposed()},
          {"per_element", unpacking->per_element()},
          {"add", unpacking->add()},
          {"rows", unpacking->rows()},
          {"cols", unpacking->cols()}};
}

static Json json(const Source *source) {
  return {{"name", json(source->name())},
          {"stack", source->stack()},
          {"dtype", dtypeName(source->dtype())},
          {"shape", numbers(source->shape())},
          {"ignored_reason", json(source->ignored_reason())},
          {"checkpoint", source->checkpoint()},
          {"companion", EnumNameCompanionKind(source->companion())},
          {"companion_of", source->companion_of()},
          {"unpacking", json(source->unpacking())},
          {"group", source->group()}};
}

static Json json(const Piece *piece) {
  return {{"source", piece->source()},
          {"stack_start", json(piece->stack_start())},
          {"stack_count", piece->stack_count()},
          {"row_start", json(piece->row_start())},
          {"rows", piece->rows()},
          {"col_start", json(piece->col_start())},
          {"cols", piece->cols()},
          {"dest_row", piece->dest_row()},
          {"dest_col", piece->dest_col()},
          {"source_block_rows", piece->source_block_rows()},
          {"source_block_cols", piece->source_block_cols()},
          {"dest_block_rows", piece->dest_block_rows()},
          {"dest_block_cols", piece->dest_block_cols()}};
}

static Json json(const Weight *weight) {
  return {{"name", json(weight->name())},
          {"slice", json(weight->slice())},
          {"pieces", tables(weight->pieces())},
          {"layout", EnumNameLayout(weight->layout())}};
}

static Json json(const State *state) {
  return {{"name", json(state->name())},
          {"kind", EnumNameStateKind(state->kind())},
          {"slice", json(state->slice())}};
}

/// Only the value that the kind names.
static Json json(const Attribute *attribute) {
  Json value;
  switch (attribute->kind()) {
  case AttributeKind::INT:
    value = attribute->int_value();
    break;
  case AttributeKind::FLOAT:
    value = attribute->float_value();
    break;
  case AttributeKind::RANK:
    value = json(attribute->rank_value());
    break;
  case AttributeKind::UNKNOWN:
    break;
  }
  return {{"name", json(attribute->name())},
          {"kind", EnumNameAttributeKind(attribute->kind())},
          {"value", value}};
}

static Json json(const Module *module) {
  return {{"name", json(module->name())},
          {"offset", module->offset()},
          {"bytes", module->bytes()},
          {"hash", json(module->hash())}};
}

static Json json(const Function *function) {
  return {
      {"module", function->module_()},
      {"name", json(function->name())},
      {"grid", {function->grid_x(), function->grid_y(), function->grid_z()}},
      {"exclusive_grid", function->exclusive_grid()},
      {"block", function->block()},
      {"shared_bytes", function->shared_bytes()},
      {"registers", function->registers()},
      {"spill_bytes", function->spill_bytes()}};
}

static Json json(const Companion *companion) {
  return {{"kind", EnumNameCompanionKind(companion->kind())},
          {"block_rows", companion->block_rows()},
          {"block_cols", companion->block_cols()},
          {"divides", companion->divides()}};
}

static Json json(const Storage *storage) {
  return {{"companions", tables(storage->companions())},
          {"order", numbers(storage->order())},
          {"codes", EnumNameCodes(storage->codes())},
          {"zero", storage->zero()}};
}

static Json json(const Kernel *kernel) {
  return {{"name", json(kernel->name())},
          {"op", json(kernel->op())},
          {"attributes", tables(kernel->attributes())},
          {"storage", tables(kernel->storage())},
          {"functions", tables(kernel->functions())}};
}

static Json json(const Launch *launch) {
  return {{"kernel", launch->kernel()},
          {"operands", numbers(launch->operands())},
          {"extent", EnumNameExtent(launch->extent())},
          {"workspace", launch->workspace()}};
}

static Json json(const Collective *collective) {
  return {{"kind", EnumNameCollectiveKind(collective->kind())},
          {"groups", collective->groups()},
          {"input", collective->input()},
          {"output", collective->output()},
          {"dim", collective->dim()},
          {"extent", EnumNameExtent(collective->extent())},
          {"output_extent",
           EnumNameExtent(saddle::engine::outputExtent(*collective))},
          {"layout", EnumNameRowLayout(collective->layout())},
          {"kernel", collective->kernel()},
          {"workspace", collective->workspace()},
          {"exchange", collective->exchange()}};
}

static Json json(const Transfer *transfer) {
  return {{"kind", EnumNameTransferKind(transfer->kind())},
          {"slice", transfer->slice()},
          {"extent", EnumNameExtent(transfer->extent())},
          {"kernel", transfer->kernel()},
          {"workspace", transfer->workspace()},
          {"exchange", transfer->exchange()}};
}

static Json json(const Copy *copy) {
  return {{"source", copy->source()},
          {"dest", copy->dest()},
          {"extent", EnumNameExtent(copy->extent())},
          {"kernel", copy->kernel()}};
}

static Json json(const Command *command) {
  Json action;
  if (const Launch *launch = command->action_as_Launch())
    action = json(launch);
  else if (const Collective *collective = command->action_as_Collective())
    action = json(collective);
  else if (const Transfer *transfer = command->action_as_Transfer())
    action = json(transfer);
  else
    action = json(command->action_as_Copy());
  return {{"type", EnumNameAction(command->action_type())},
          {"action", action},
          {"location", json(command->place())},
          {"group", command->group()},
          {"output", command->output() ? json(command->output()) : Json()}};
}

static Json json(const Binding *binding) {
  return {{"name", json(binding->name())}, {"slice", binding->slice()}};
}

static Json json(const Entry *entry) {
  return {{"name", json(entry->name())},
          {"phase", EnumNamePhase(entry->phase())},
          {"tokens", entry->tokens()},
          {"rows", entry->rows()},
          {"slices", tables(entry->slices())},
          {"bindings", tables(entry->bindings())},
          {"commands", tables(entry->commands())}};
}

static Json json(const Program *program) {
  return {{"name", json(program->name())},
          {"stage", program->stage()},
          {"weights", tables(program->weights())},
          {"entries", tables(program->entries())},
          {"states", tables(program->states())}};
}

static Json json(const RankGroups *groups) {
  return {{"axes", json(groups->axes())},
          {"size", groups->size()},
          {"ranks", numbers(groups->ranks())}};
}

static Json json(const Fusion *fusion) {
  Json ops = Json::array();
  for (const flatbuffers::String *op : *fusion->ops())
    ops.push_back(op->str());
  return {{"signature", json(fusion->signature())}, {"ops", ops}};
}

static Json json(const Topology *topology) {
  return {{"tp", topology->tp()},
          {"dp", topology->dp()},
          {"ep", topology->ep()},
          {"pp", topology->pp()}};
}

static Json json(const Limits *limits) {
  return {{"max_batch", limits->max_batch()},
          {"max_seq_len", limits->max_seq_len()},
          {"prefill_chunk", limits->prefill_chunk()},
          {"page_size", limits->page_size()}};
}

static Json json(const Model *model) {
  return {{"architecture", json(model->architecture())},
          {"name", json(model->name())},
          {"vocab_size", model->vocab_size()},
          {"num_layers", model->num_layers()},
          {"hidden_size", model->hidden_size()},
          {"eos_token_ids", numbers(model->eos_token_ids())},
          {"bos_token_id", model->bos_token_id()}};
}

static Json json(const Checkpoint *checkpoint) {
  return {{"name", json(checkpoint->name())},
          {"fingerprint", json(checkpoint->fingerprint())}};
}

template <typename Table>
static Json tables(const flatbuffers::Vector<flatbuffers::Offset<Table>> *all) {
  Json array = Json::array();
  for (uint32_t i = 0; all && i < all->size(); ++i)
    array.push_back(json(all->Get(i)));
  return array;
}

Json tablesJson(const Engine &engine) {
  return {{"producer", json(engine.producer())},
          {"target", json(engine.target())},
          {"compute_dtype", dtypeName(engine.compute_dtype())},
          {"kv_dtype", dtypeName(engine.kv_dtype())},
          {"model", json(engine.model())},
          {"topology", json(engine.topology())},
          {"limits", json(engine.limits())},
          {"sources", tables(engine.sources())},
          {"arenas", tables(engine.arenas())},
          {"kernels", tables(engine.kernels())},
          {"rank_groups", tables(engine.rank_groups())},
          {"fusions", tables(engine.fusions())},
          {"programs", tables(engine.programs())},
          {"modules", tables(engine.modules())},
          {"checkpoints", tables(engine.checkpoints())}};
}

//===--- Facts -----------------------------------------------------------===//

static Json json(const Traffic &traffic) {
  return {{"count", traffic.count}, {"bytes_per_rank", traffic.bytes}};
}

static Json entryFactsJson(const Engine &engine, const Program &program,
                           const Entry &entry) {
  EntryFacts facts = factsOf(engine, entry);
  Json layers = Json::object(), fusions = Json::array();
  auto kindsJson = [](const EntryFacts::Kinds &all) {
    Json object = Json::object();
    for (const auto &[kind, traffic] : all)
      object[kind] = json(traffic);
    return object;
  };
  for (const auto &[layer, traffic] : facts.byLayer) {
    Json &entry = layers[layer < 0 ? "outside" : std::to_string(layer)];
    entry = json(traffic);
    entry["by_kind"] = kindsJson(facts.kindsByLayer.at(layer));
  }
  for (uint32_t i = 0; i < facts.fusions.size(); ++i)
    fusions.push_back(
        {{"signature", json(engine.fusions()->Get(i)->signature())},
         {"groups", facts.fusions[i].groups},
         {"commands", facts.fusions[i].commands}});
  return {{"program", program.stage()},
          {"program_name", json(program.name())},
          {"entry", json(entry.name())},
          {"launches", facts.launches},
          {"collectives", facts.collectives},
          {"copies", facts.copies},
          {"transfers", facts.transfers},
          {"sent", json(facts.sent)},
          {"received", json(facts.received)},
          {"ops", facts.ops},
          {"traffic", json(facts.total)},
          {"traffic_by_kind", kindsJson(facts.byKind)},
          {"traffic_by_layer", layers},
          {"traffic_by_output", kindsJson(facts.byOutput)},
          {"fusions", fusions},
          {"arena_bytes", facts.arenaBytes}};
}

Json engineJson(const Engine &engine) {
  Json result = tablesJson(engine);
  uint64_t largest = 0;
  Json entries = Json::array(), stages = Json::array();
  for (uint32_t stage = 0; stage < engine.topology()->pp(); ++stage) {
    MemoryFacts memory = memoryOf(engine, stage);
    largest = std::max(largest, memory.full);
    LayerRange layers = layersOf(saddle::engine::mainProgram(engine, stage));
    stages.push_back({{"stage", stage},
                      {"first_layer", layers.first},
                      {"layers", layers.last - layers.first + 1},
                      {"arena_bytes", memory.arenas},
                      {"fixed_bytes", memory.fixed},
                      {"page_bytes", memory.page},
                      {"full_pages", memory.fullPages},
                      {"memory_per_rank", memory.full}});
  }
  for (const Program *program : *engine.programs())
    for (const Entry *entry : *program->entries())
      entries.push_back(entryFactsJson(engine, *program, *entry));
  result["facts"] = {{"memory_per_rank", largest},
                     {"stages", stages},
                     {"kernel_launches", kernelUses(engine)},
                     {"entries", entries}};
  return result;
}

} // namespace saddle::inspect
