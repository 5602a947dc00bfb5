#include "tools/saddle-inspect/Text.h"

#include "runtime/src/base/DType.h"
#include "runtime/src/engine/Extents.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/engine/States.h"
#include "tools/saddle-inspect/Facts.h"
#include "tools/saddle-inspect/Modules.h"

#include <algorithm>
#include <cctype>
#include <cstdio>

namespace saddle::inspect {

using namespace schema;

namespace {

std::string number(uint64_t value) { return std::to_string(value); }

/// "1472 bytes", with a rounded figure behind large ones.
std::string bytesText(uint64_t bytes) {
  std::string text = number(bytes) + " bytes";
  const char *units[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes);
  int unit = -1;
  for (; value >= 1024 && unit < 3; ++unit)
    value /= 1024;
  if (unit < 1) // below 1 MiB the digits are readable
    return text;
  char rounded[32];
  std::snprintf(rounded, sizeof rounded, " (%.2f %s)", value, units[unit]);
  return text + rounded;
}

std::string shapeText(const flatbuffers::Vector<uint64_t> &shape) {
  std::string text = "[";
  for (uint32_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + number(shape.Get(i));
  return text + "]";
}

std::string rankText(const RankValue *value) {
  if (!value)
    return "0";
  if (value->step() == 0 || value->modulus() == 1)
    return number(value->base());
  std::string text = value->base() ? number(value->base()) + "+" : "";
  text += value->divisor() == 1 ? "rank" : "rank/" + number(value->divisor());
  return text + "%" + number(value->modulus()) + "*" + number(value->step());
}

/// "TOKENS", or "TOKENS to ALL_TOKENS PACKED".
std::string rowsText(const Collective &collective) {
  std::string text = EnumNameExtent(collective.extent());
  if (collective.layout() == RowLayout::UNKNOWN)
    return text;
  return text + " to " +
         EnumNameExtent(saddle::engine::outputExtent(collective)) + " " +
         EnumNameRowLayout(collective.layout());
}

class Report {
public:
  explicit Report(const Engine &engine) : engine(engine) {}

  void summary(const std::string &path);
  void entrySummary(const Entry &entry);
  void memorySummary();
  void memory();
  void kernels();
  void weights();
  void commands();

  std::string text;

private:
  /// One line: two spaces per level, a name padded to a column, a value.
  void line(unsigned level, const std::string &name, const std::string &value) {
    std::string start(2 * level, ' ');
    start += name;
    if (!value.empty())
      start.resize(std::max<size_t>(start.size() + 1, 18 + 2 * (level - 1)),
                   ' ');
    text += start + value + "\n";
  }
  void heading(const std::string &words) { text += words + "\n"; }
  std::string trafficText(const Traffic &traffic) const {
    return number(traffic.count) + ", " + bytesText(traffic.bytes) +
           " per rank";
  }
  std::string sliceText(const Slice &slice) const {
    return engine.arenas()->Get(slice.arena())->name()->str() + "+" +
           number(slice.offset()) + " " + dtypeName(slice.dtype()) +
           shapeText(*slice.shape());
  }
  std::string rankGroupsText(const RankGroups &groups) const;
  std::string stageText(const Program &program) const;
  void layers(const EntryFacts &facts);
  void fusions(const EntryFacts &facts);
  void piece(const Piece &piece);
  void function(const Function &function);
  std::string codeText() const;
  /// " per page of 16 tokens" behind bytes of state.
  std::string unitText(ArenaKind kind) const;
  std::string memoryText(const Entry &entry, uint32_t kernel,
                         uint32_t workspace, uint32_t exchange) const;
  std::string actionText(const Entry &entry, const Command &command) const;

  const Engine &engine;
};

void Report::summary(const std::string &path) {
  const Model &model = *engine.model();
  const Topology &topology = *engine.topology();
  const Limits &limits = *engine.limits();
  heading("engine " + path);
  std::string name = model.name() ? model.name()->str() : "unnamed";
  line(1, "model", name + " (" + model.architecture()->str() + ")");
  line(1, "size",
       number(model.num_layers()) + " layers, hidden " +
           number(model.hidden_size()) + ", vocabulary " +
           number(model.vocab_size()));
  line(1, "producer", engine.producer()->str());
  line(1, "target", engine.target()->str());
  if (engine.modules())
    line(1, "device code", codeText());
  line(1, "topology",
       "tp=" + number(topology.tp()) + " dp=" + number(topology.dp()) +
           " ep=" + number(topology.ep()) + " pp=" + number(topology.pp()) +
           ", ranks " + number(uint64_t(topology.tp()) * topology.pp()));
  auto ranks = [](uint64_t parts, uint64_t size) {
    return number(parts) + " x " + number(size) +
           (size == 1 ? " rank" : " ranks");
  };
  line(1, "placement",
       "pipeline " + ranks(topology.pp(), topology.tp()) + ", attention " +
           ranks(topology.dp(), saddle::engine::attentionWidth(topology)) +
           ", experts " + ranks(topology.ep(), topology.tp() / topology.ep()));
  for (const RankGroups *groups : *engine.rank_groups())
    line(1, "rank groups", rankGroupsText(*groups));
  line(1, "compute dtype", dtypeName(engine.compute_dtype()));
  line(1, "kv dtype", dtypeName(engine.kv_dtype()));
  line(1, "limits",
       "max_batch=" + number(limits.max_batch()) +
           " max_seq_len=" + number(limits.max_seq_len()) +
           " prefill_chunk=" + number(limits.prefill_chunk()) +
           " page_size=" + number(limits.page_size()));
  for (uint32_t i = 0; i < engine.checkpoints()->size(); ++i) {
    const Checkpoint &checkpoint = *engine.checkpoints()->Get(i);
    uint64_t tensors = 0, ignored = 0;
    for (const Source *source : *engine.sources())
      if (source->checkpoint() == i)
        (source->ignored_reason() ? ignored : tensors) +=
            std::max<uint64_t>(1, source->stack());
    std::string name = i == 0 ? "" : " " + checkpoint.name()->str();
    line(1, "checkpoint" + name,
         number(tensors) + " tensors read, " + number(ignored) + " ignored");
    line(1, "fingerprint" + name, checkpoint.fingerprint()->str());
  }
  for (const Program *program : *engine.programs()) {
    heading(saddle::engine::describe(*program) + ": weights " +
            number(program->weights()->size()) + ", entries " +
            number(program->entries()->size()) + stageText(*program));
    for (const Entry *entry : *program->entries())
      entrySummary(*entry);
  }
  memorySummary();
}

/// "tp: 2 groups of 4, {0, 1, 2, 3} ..."
std::string Report::rankGroupsText(const RankGroups &groups) const {
  uint32_t count = groups.ranks()->size() / groups.size();
  std::string text = groups.axes()->str() + ": " + number(count) +
                     (count == 1 ? " group of " : " groups of ") +
                     number(groups.size()) + ", {";
  for (uint32_t i = 0; i < groups.size(); ++i)
    text += (i ? ", " : "") + number(groups.ranks()->Get(i));
  return text + (count == 1 ? "}" : "} ...");
}

std::string Report::stageText(const Program &program) const {
  uint32_t tp = engine.topology()->tp(), first = program.stage() * tp;
  std::string text = ", ranks " + number(first) + ".." + number(first + tp - 1);
  LayerRange layers = layersOf(program);
  if (layers.first <= layers.last)
    text += ", layers " + std::to_string(layers.first) + ".." +
            std::to_string(layers.last);
  return text;
}

void Report::entrySummary(const Entry &entry) {
  EntryFacts facts = factsOf(engine, entry);
  line(1,
       "entry " + entry.name()->str() + ": " + EnumNamePhase(entry.phase()) +
           ", tokens " + number(entry.tokens()) + ", rows " +
           number(entry.rows()),
       "");
  line(2, "commands",
       number(entry.commands()->size()) + ": launches " +
           number(facts.launches) + ", collectives " +
           number(facts.collectives) + ", copies " + number(facts.copies) +
           (facts.transfers ? ", transfers " + number(facts.transfers) : ""));
  std::string ops;
  for (const auto &[op, count] : facts.ops)
    ops += (ops.empty() ? "" : ", ") + op + " " + number(count);
  line(2, "launches", ops);
  line(2, "collectives", trafficText(facts.total));
  for (const auto &[kind, traffic] : facts.byKind)
    line(3, kind + ":", trafficText(traffic));
  for (const auto &[output, traffic] : facts.byOutput)
    line(3, "only for " + output + ":", trafficText(traffic));
  layers(facts);
  if (facts.received.count)
    line(2, "received", trafficText(facts.received));
  if (facts.sent.count)
    line(2, "sent", trafficText(facts.sent));
  fusions(facts);
}

/// Equal neighbours share a line: "layers 0..61:".
void Report::layers(const EntryFacts &facts) {
  for (auto it = facts.byLayer.begin(); it != facts.byLayer.end();) {
    auto last = it, next = std::next(it);
    while (it->first >= 0 && next != facts.byLayer.end() &&
           next->first == last->first + 1 && next->second == it->second &&
           facts.kindsByLayer.at(next->first) ==
               facts.kindsByLayer.at(it->first))
      last = next++;
    std::string name = "outside layers:";
    if (it->first >= 0 && it == last)
      name = "layer " + std::to_string(it->first) + ":";
    else if (it->first >= 0)
      name = "layers " + std::to_string(it->first) + ".." +
             std::to_string(last->first) + ", each:";
    line(3, name, trafficText(it->second));
    for (const auto &[kind, traffic] : facts.kindsByLayer.at(it->first))
      line(4, kind + ":", trafficText(traffic));
    it = next;
  }
}

void Report::fusions(const EntryFacts &facts) {
  for (uint32_t i = 0; i < facts.fusions.size(); ++i) {
    const Fusion &fusion = *engine.fusions()->Get(i);
    std::string ops;
    for (const flatbuffers::String *op : *fusion.ops())
      ops += (ops.empty() ? "" : " ") + op->str();
    line(2, "fusion",
         fusion.signature()->str() + ": groups " +
             number(facts.fusions[i].groups) + ", commands " +
             number(facts.fusions[i].commands) + " (" + ops + ")");
  }
}

std::string Report::unitText(ArenaKind kind) const {
  if (kind == ArenaKind::PAGES)
    return " per page of " + number(engine.limits()->page_size()) + " tokens";
  return kind == ArenaKind::SEQUENCES
             ? " per sequence, " + number(engine.limits()->max_batch()) +
                   " sequences"
             : "";
}

void Report::memorySummary() {
  for (uint32_t s = 0; s < engine.topology()->pp(); ++s) {
    std::string stage;
    if (engine.topology()->pp() > 1)
      stage = " of stage " + number(s);
    heading("memory per rank" + stage);
    MemoryFacts facts = memoryOf(engine, s);
    for (uint32_t i = 0; i < facts.arenas.size(); ++i) {
      const Arena &arena = *engine.arenas()->Get(i);
      line(1, arena.name()->str(),
           std::string(EnumNameArenaKind(arena.kind())) + ", " +
               bytesText(facts.arenas[i]) + unitText(arena.kind()));
    }
    line(1, "without pages", bytesText(facts.fixed));
    if (facts.page == 0)
      continue;
    constexpr uint64_t kGiB = uint64_t(1) << 30;
    line(1, "all pages",
         number(facts.fullPages) + " for max_batch x max_seq_len, " +
             bytesText(facts.full) + " in all");
    line(1, "tokens per GiB",
         number(kGiB / facts.page * engine.limits()->page_size()));
  }
}

void Report::memory() {
  heading("arenas");
  for (uint32_t i = 0; i < engine.arenas()->size(); ++i) {
    const Arena &arena = *engine.arenas()->Get(i);
    line(1,
         arena.name()->str() + ": " + EnumNameArenaKind(arena.kind()) + ", " +
             bytesText(arena.bytes()) + unitText(arena.kind()) +
             ", aligned to " + number(arena.alignment()),
         "");
    for (const Program *program : *engine.programs()) {
      uint64_t count = 0, bytes = 0;
      for (const Weight *weight : *program->weights())
        if (weight->slice()->arena() == i) {
          ++count;
          bytes += payloadBytes(*weight->slice());
        }
      if (count)
        line(2, saddle::engine::describe(*program),
             "weights " + number(count) + ", " + bytesText(bytes));
      if (arena.kind() == ArenaKind::CONSTANT)
        continue;
      for (const State *state : *program->states())
        if (state->slice()->arena() == i)
          line(2, "state " + state->name()->str(),
               std::string(EnumNameStateKind(state->kind())) + ", " +
                   bytesText(payloadBytes(*state->slice())));
      if (saddle::engine::holdsState(arena.kind()))
        continue;
      for (const Entry *entry : *program->entries())
        line(2, "entry " + entry->name()->str(),
             "highest byte " + number(factsOf(engine, *entry).arenaBytes[i]));
    }
  }
}

static std::string lowerCase(std::string text) {
  for (char &letter : text)
    letter = char(std::tolower(letter));
  return text;
}

/// " of weights stored <scale 128x128>, <>"; "" when all are their values.
static std::string storageText(const Kernel &kernel) {
  std::string text;
  for (uint32_t i = 0; kernel.storage() && i < kernel.storage()->size(); ++i) {
    text += text.empty() ? " of weights stored <" : ", <";
    const Storage &storage = *kernel.storage()->Get(i);
    if (storage.codes() != Codes::ELEMENTS) {
      text += lowerCase(EnumNameCodes(storage.codes()));
      if (storage.order() && storage.order()->size() != 0)
        text += " x " + std::to_string(storage.order()->size());
      if (storage.zero())
        text += " less " + std::to_string(storage.zero());
      text += storage.companions() ? ", " : "";
    }
    const auto *companions = storage.companions();
    for (uint32_t c = 0; companions && c < companions->size(); ++c) {
      const Companion &companion = *companions->Get(c);
      text += (c ? ", " : "") +
              lowerCase(EnumNameCompanionKind(companion.kind())) + " " +
              std::to_string(companion.block_rows()) + "x" +
              std::to_string(companion.block_cols());
    }
    text += ">";
  }
  return text;
}

void Report::kernels() {
  heading("kernels");
  std::vector<uint64_t> uses = kernelUses(engine);
  for (uint32_t i = 0; i < uses.size(); ++i) {
    const Kernel &kernel = *engine.kernels()->Get(i);
    std::string attributes;
    for (uint32_t a = 0; kernel.attributes() && a < kernel.attributes()->size();
         ++a) {
      const Attribute &attribute = *kernel.attributes()->Get(a);
      std::string value;
      char digits[32];
      switch (attribute.kind()) {
      case AttributeKind::INT:
        value = std::to_string(attribute.int_value());
        break;
      case AttributeKind::FLOAT:
        std::snprintf(digits, sizeof digits, "%.9g", attribute.float_value());
        value = digits;
        break;
      default:
        value = rankText(attribute.rank_value());
      }
      attributes += (a ? ", " : "") + attribute.name()->str() + "=" + value;
    }
    line(1,
         kernel.name()->str() + ": " + kernel.op()->str() + "(" + attributes +
             ")" + storageText(kernel) + ", launches " + number(uses[i]),
         "");
    for (uint32_t f = 0; kernel.functions() && f < kernel.functions()->size();
         ++f)
      function(*kernel.functions()->Get(f));
  }
  if (!engine.modules())
    return;
  heading("modules");
  for (const Module *module : *engine.modules())
    line(1,
         module->name()->str() + ": " + bytesText(module->bytes()) + " at " +
             number(module->offset()) + ", hash " + module->hash()->str(),
         "");
}

void Report::function(const Function &function) {
  line(2,
       function.name()->str() + " of " +
           engine.modules()->Get(function.module_())->name()->str() +
           ": grid " + number(function.grid_x()) + "x" +
           number(function.grid_y()) + "x" + number(function.grid_z()) +
           (function.exclusive_grid()
                ? " (own devices " + number(function.exclusive_grid()) + ")"
                : "") +
           ", block " + number(function.block()) + ", registers " +
           number(function.registers()) + ", spilled " +
           number(function.spill_bytes()) + " bytes, shared " +
           number(function.shared_bytes()) + " bytes",
       "");
}

/// "modules 3, 40960 bytes, functions 12"
std::string Report::codeText() const {
  uint64_t bytes = 0, functions = 0;
  for (const Module *module : *engine.modules())
    bytes += module->bytes();
  for (const Kernel *kernel : *engine.kernels())
    functions += kernel->functions() ? kernel->functions()->size() : 0;
  return "modules " + number(engine.modules()->size()) + ", " +
         bytesText(bytes) + ", functions " + number(functions);
}

void Report::piece(const Piece &piece) {
  const Source &source = *engine.sources()->Get(piece.source());
  std::string text = source.name()->str();
  if (source.stack())
    text += " {" + rankText(piece.stack_start()) + " +" +
            number(piece.stack_count()) + "}";
  auto axis = [](const RankValue *start, uint64_t count, uint64_t destBlock,
                 uint64_t sourceBlock) {
    std::string range = rankText(start) + " +" + number(count);
    if (destBlock != 1 || sourceBlock != 1)
      range +=
          " (block " + number(sourceBlock) + " to " + number(destBlock) + ")";
    return range;
  };
  text += " [" +
          axis(piece.row_start(), piece.rows(), piece.dest_block_rows(),
               piece.source_block_rows()) +
          ", " +
          axis(piece.col_start(), piece.cols(), piece.dest_block_cols(),
               piece.source_block_cols()) +
          "]";
  line(2,
       "at (" + number(piece.dest_row()) + ", " + number(piece.dest_col()) +
           ") <- " + text,
       "");
}

void Report::weights() {
  for (const Program *program : *engine.programs()) {
    heading("modules of " + saddle::engine::describe(*program));
    for (const ModuleFacts &module : modulesOf(engine, *program)) {
      line(1,
           module.name + ": " + module.stored + ", " + bytesText(module.bytes) +
               " a rank",
           "");
      line(2,
           "from " + module.checkpoint + "; " + module.op + ": " +
               module.executed,
           "");
    }
    heading("weights of " + saddle::engine::describe(*program));
    for (const Weight *weight : *program->weights()) {
      line(1, weight->name()->str() + ": " + sliceText(*weight->slice()), "");
      for (const Piece *one : *weight->pieces())
        piece(*one);
    }
  }
  heading("ignored tensors");
  for (const Source *source : *engine.sources())
    if (source->ignored_reason())
      line(1, source->name()->str() + ": " + source->ignored_reason()->str(),
           "");
}

/// What a command on a device has besides its operands: " by send_0, workspace
/// activations+0 u8[256]"; all three are index + 1, or 0.
std::string Report::memoryText(const Entry &entry, uint32_t kernel,
                               uint32_t workspace, uint32_t exchange) const {
  std::string text;
  if (kernel > 0)
    text += " by " + engine.kernels()->Get(kernel - 1)->name()->str();
  if (workspace > 0)
    text += ", workspace " + sliceText(*entry.slices()->Get(workspace - 1));
  if (exchange > 0)
    text += ", exchange " + sliceText(*entry.slices()->Get(exchange - 1));
  return text;
}

std::string Report::actionText(const Entry &entry,
                               const Command &command) const {
  auto slice = [&](uint32_t index) {
    return sliceText(*entry.slices()->Get(index));
  };
  if (const Launch *launch = command.action_as_Launch()) {
    std::string operands;
    for (uint32_t index : *launch->operands())
      operands += (operands.empty() ? "" : ", ") + slice(index);
    return "launch " + engine.kernels()->Get(launch->kernel())->name()->str() +
           " " + EnumNameExtent(launch->extent()) + "(" + operands + ")" +
           memoryText(entry, 0, launch->workspace(), 0);
  }
  if (const Collective *collective = command.action_as_Collective())
    return std::string(EnumNameCollectiveKind(collective->kind())) + " over " +
           engine.rank_groups()->Get(collective->groups())->axes()->str() +
           " dim " + number(collective->dim()) + " " + rowsText(*collective) +
           "(" + slice(collective->input()) + " -> " +
           slice(collective->output()) + ")" +
           memoryText(entry, collective->kernel(), collective->workspace(),
                      collective->exchange());
  if (const Transfer *transfer = command.action_as_Transfer())
    return std::string(EnumNameTransferKind(transfer->kind())) + " " +
           EnumNameExtent(transfer->extent()) + "(" + slice(transfer->slice()) +
           ")" +
           memoryText(entry, transfer->kernel(), transfer->workspace(),
                      transfer->exchange());
  const Copy *copy = command.action_as_Copy();
  return std::string("copy ") + EnumNameExtent(copy->extent()) + "(" +
         slice(copy->source()) + " -> " + slice(copy->dest()) + ")" +
         memoryText(entry, copy->kernel(), 0, 0);
}

void Report::commands() {
  for (const Program *program : *engine.programs())
    for (const Entry *entry : *program->entries()) {
      heading("commands of " + saddle::engine::describe(*program) + " entry " +
              entry->name()->str());
      for (uint32_t i = 0; i < entry->commands()->size(); ++i) {
        const Command &command = *entry->commands()->Get(i);
        std::string group;
        if (command.group())
          group =
              " <" +
              engine.fusions()->Get(command.group() - 1)->signature()->str() +
              ">";
        std::string output;
        if (command.output())
          output = " (for " + command.output()->str() + " only)";
        line(1,
             number(i) + " " + command.place()->str() + group + ": " +
                 actionText(*entry, command) + output,
             "");
      }
    }
}

} // namespace

std::string reportText(const Engine &engine, const std::string &path,
                       const Sections &sections) {
  Report report(engine);
  report.summary(path);
  if (sections.memory)
    report.memory();
  if (sections.kernels)
    report.kernels();
  if (sections.weights)
    report.weights();
  if (sections.commands)
    report.commands();
  return std::move(report.text);
}

} // namespace saddle::inspect
