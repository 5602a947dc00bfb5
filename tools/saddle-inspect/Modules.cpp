#include "tools/saddle-inspect/Modules.h"

#include "runtime/ops/Body.h"
#include "runtime/src/base/DType.h"

#include <map>

namespace saddle::inspect {

using namespace schema;

namespace {

std::string countText(uint64_t count, const char *unit) {
  return std::to_string(count) + " " + unit + (count == 1 ? "" : "s");
}

const char *codesText(Codes codes) {
  switch (codes) {
  case Codes::UINT:
    return "integers";
  case Codes::E2M1:
    return "e2m1";
  case Codes::ELEMENTS:
    break;
  }
  return "values";
}

uint64_t bytesOf(const Slice &slice) {
  uint64_t bytes = elementBytes(slice.dtype());
  for (uint64_t dim : *slice.shape())
    bytes *= dim;
  return bytes;
}

/// Of one companion: "scale f32 for 128 x 128".
std::string companionText(const ops::Companion &companion, DType dtype,
                          const Slice &weight, uint32_t perElement) {
  const char *name = companion.kind == CompanionKind::ZERO ? "zero"
                     : companion.kind == CompanionKind::GLOBAL_SCALE
                         ? "global scale"
                         : "scale";
  const auto &shape = *weight.shape();
  uint64_t columns = shape.Get(shape.size() - 1) * perElement;
  uint64_t rows = shape.size() > 1 ? shape.Get(shape.size() - 2) : 1;
  std::string text =
      std::string(", ") + name + " " + dtypeName(dtype) + " for ";
  if (companion.blockRows >= rows && companion.blockCols >= columns)
    return text + "all";
  if (companion.blockCols >= columns)
    return text + (companion.blockRows == 1
                       ? "each row"
                       : countText(companion.blockRows, "row"));
  return text + (companion.blockRows == 1
                     ? countText(companion.blockCols, "column")
                     : std::to_string(companion.blockRows) + " x " +
                           std::to_string(companion.blockCols));
}

/// What tensors of files a weight is made of.
std::string checkpointText(const Engine &engine, const Weight &weight) {
  std::string text;
  std::map<std::string, uint64_t> counts;
  for (const Piece *piece : *weight.pieces())
    ++counts[engine.sources()->Get(piece->source())->dtype() == DType::I32
                 ? "words of i32"
                 : dtypeName(engine.sources()->Get(piece->source())->dtype())];
  for (const auto &[dtype, count] : counts)
    text += (text.empty() ? "" : ", ") +
            (count > 1 ? std::to_string(count) + " x " : std::string()) + dtype;
  return text;
}

/// How an op multiplies with such a weight, and why.
std::string executionText(const Engine &engine, const ops::Step &step,
                          const ops::Operand &weight, bool isScaled) {
  if (weight.type != ops::Type::W)
    return "as its values";
  const std::string tokens = dtypeName(engine.compute_dtype());
  int64_t group = 0;
  for (const ops::Attribute &attribute : step.op->attributes)
    if (std::string(attribute.name) == "act_group")
      group = step.attributes.integer("act_group");
  if (!isScaled)
    return "as its values, with " + tokens + " tokens";
  if (group > 0)
    return "codes as they are, with tokens in e4m3, a scale for " +
           countText(uint64_t(group), "column") +
           ": scales multiply sums, which loses nothing";
  if (engine.compute_dtype() == DType::F32)
    return "dequantised exactly on the way, with f32 tokens: the oracle's mode";
  return "stays packed in memory and is dequantised on the way, with " +
         tokens + " tokens: " +
         (weight.encoding.codes != Codes::ELEMENTS ||
                  weight.encoding.perElement > 1
              ? "no product of this target takes such codes"
              : "tokens would have to be rounded, which the file does not ask "
                "for");
}

} // namespace

std::vector<ModuleFacts> modulesOf(const Engine &engine,
                                   const Program &program) {
  std::vector<ModuleFacts> modules;
  std::map<std::pair<uint32_t, uint64_t>, const Weight *> weights;
  std::map<std::string, bool> known;
  for (const Weight *weight : *program.weights())
    weights[{weight->slice()->arena(), weight->slice()->offset()}] = weight;
  const Entry &entry = *program.entries()->Get(0); // runs the whole stage
  for (const Command *command : *entry.commands()) {
    const Launch *launch = command->action_as_Launch();
    if (!launch)
      continue;
    const auto &operands = *launch->operands();
    const ops::Body body = *ops::Body::of(
        *engine.kernels()->Get(launch->kernel()), operands.size());
    for (const ops::Step &step : body.steps())
      for (size_t i = 0; i < step.operands.size(); ++i) {
        const ops::Operand &definition = step.definitions[i];
        if (definition.role != ops::Role::Weight || definition.companion ||
            step.operands[i] >= operands.size())
          continue;
        const Slice &slice =
            *entry.slices()->Get(operands.Get(step.operands[i]));
        auto weight = weights.find({slice.arena(), slice.offset()});
        if (weight == weights.end() ||
            !known.emplace(weight->second->name()->str(), true).second)
          continue;
        ModuleFacts facts;
        facts.name = weight->second->name()->str();
        facts.checkpoint = checkpointText(engine, *weight->second);
        const ops::Encoding &encoding = definition.encoding;
        facts.stored = dtypeName(slice.dtype());
        if (encoding.perElement > 1 || encoding.codes != Codes::ELEMENTS)
          facts.stored += std::string(" of ") +
                          (encoding.perElement > 1 ? "two " : "") +
                          codesText(encoding.codes);
        facts.bytes = bytesOf(slice);
        bool isScaled = false;
        for (size_t j = i + 1;
             j < step.operands.size() && step.definitions[j].companion &&
             step.operands[j] < operands.size();
             ++j) {
          const Slice &companion =
              *entry.slices()->Get(operands.Get(step.operands[j]));
          facts.stored +=
              companionText(*step.definitions[j].companion, companion.dtype(),
                            slice, encoding.perElement);
          facts.bytes += bytesOf(companion);
          isScaled = true;
        }
        facts.op = step.op->name;
        facts.executed = executionText(engine, step, definition, isScaled);
        modules.push_back(std::move(facts));
      }
  }
  return modules;
}

} // namespace saddle::inspect
