// Prints docs/RuntimeOps.md: the table of ops as people read it.

#include "runtime/ops/Op.h"

#include <cstdio>

using namespace saddle;
using namespace saddle::ops;

static const char *symbolOf(Type type) {
  switch (type) {
  case Type::A:
    return "A";
  case Type::AOrF32:
    return "A or f32 ";
  case Type::W:
    return "W";
  case Type::Values:
    return "V";
  case Type::KV:
    return "KV";
  case Type::E4M3:
    return "f8e4m3";
  case Type::F32:
    return "f32";
  case Type::I32:
    return "i32";
  case Type::I64:
    return "i64";
  case Type::Scale:
  case Type::Zero:
    break; // no op's own
  }
  return "";
}

static const char *describe(Traffic traffic) {
  switch (traffic) {
  case Traffic::Rows:
    return "";
  case Traffic::Whole:
    return "";
  case Traffic::Chosen:
    return " chosen";
  case Traffic::Lookups:
    return " looked up";
  case Traffic::Tokens:
    return " updated";
  case Traffic::Context:
    return " context";
  case Traffic::Blocks:
    return " blocks";
  case Traffic::Slots:
    return " updated";
  }
  return "";
}

static std::string print(const Operand &operand) {
  std::string text = operand.name + " " + symbolOf(operand.type);
  for (const char *letter = operand.shape; *letter; ++letter)
    text += std::string(letter == operand.shape ? "[" : ",") + *letter;
  return text + "]" + describe(operand.traffic);
}

static std::string print(const Attribute &attribute) {
  std::string text = std::string("`") + attribute.name + "`";
  if (attribute.kind == schema::AttributeKind::FLOAT)
    text += " FLOAT";
  if (attribute.kind == schema::AttributeKind::RANK)
    text += " RANK";
  return text;
}

template <typename Range>
static std::string join(const Range &range, bool (*keep)(const Operand &)) {
  std::string text;
  for (const Operand &each : range)
    if (keep(each))
      text += (text.empty() ? "" : ", ") + print(each);
  return text;
}

int main() {
  std::puts(
      "<!-- Printed by SaddleOpsReference from runtime/ops/Ops.cpp; build the "
      "target update-docs. -->\n"
      "# Ops of the runtime\n\n"
      "What a kernel can be made of. `A` is the engine's compute dtype (f32 or "
      "bf16), `KV` its KV dtype, `W` a weight of any storage, `V` one that is "
      "stored as its values. The companions of a `W` stand "
      "behind it\nand have its name with `_scale` (f32, f8e4m3 or f8e8m0), "
      "`_zero` (u8) or `_global_scale` (f32); a `W` of pairs of 4-bit codes "
      "has half its columns. A letter has the same "
      "extent\nwherever it stands in an op: `n` is the run-time count of the "
      "launch, `p` pages and `b` tokens of a page of a cache, `q` sequences of "
      "a state, `S` batch slots, `P` pages of a\nsequence, `e` members of a "
      "stack on this rank, `k` "
      "choices of a row. Operands stand inputs first, then outputs; how much "
      "of one a launch touches stands\nbehind it where that is not n rows, or "
      "all of a weight: members that are *chosen*, rows that are *looked up*, "
      "tokens of a cache or sequences of a state that are *updated*, a "
      "cache's sequences' *context*, and "
      "the *blocks* that these fill in a table. Attributes are INT unless the "
      "table says otherwise.\n\n"
      "| op | inputs | outputs | attributes | result |\n"
      "| --- | --- | --- | --- | --- |");
  for (const Op &op : allOps()) {
    std::string attributes;
    for (const Attribute &attribute : op.attributes)
      attributes += (attributes.empty() ? "" : ", ") + print(attribute);
    std::string inputs = join(
        op.operands, [](const Operand &each) { return !each.isWritten(); });
    if (op.mostInputs > 0)
      inputs += " for each of 1 to " + std::to_string(op.mostInputs);
    std::string outputs =
        join(op.operands, [](const Operand &each) { return each.isWritten(); });
    std::printf("| `%s` | %s | %s | %s | %s%s |\n", op.name, inputs.c_str(),
                outputs.c_str(), attributes.c_str(), op.result,
                op.exchanges
                    ? "; over the launch's rank groups, in the body of "
                      "a kernel only"
                    : "");
  }
  return 0;
}
