#include "passes/Target/Sm90a/Tuning.h"

#include "passes/Target/Sm90a/Machine.h"
#include "passes/Target/Sm90a/TuningTable.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

using namespace saddle::cuda;
using llvm::formatv;
using llvm::StringRef;

namespace {
struct Kind {
  llvm::StringLiteral name;
  std::vector<int64_t Division::*> fields;
};
} // namespace

static llvm::ArrayRef<Kind> kinds() {
  using D = Division;
  static const Kind all[] = {
      {"stream", {&D::rows, &D::rowWarps, &D::tokenTiles}},
      {"tile", {&D::groups, &D::waves}},
      {"panel", {&D::panelRows, &D::panelDepth}},
      {"ranges", {&D::ranges, &D::rangeWarps}},
      {"decode", {&D::upRows, &D::downRows}},
      {"sorted", {&D::upWarps, &D::downWarps, &D::blockTiles}},
      {"flow", {&D::upParts, &D::downParts}}};
  return all;
}

bool Division::operator==(const Division &other) const {
  return llvm::all_of(kinds(), [&](const Kind &kind) {
    return llvm::all_of(
        kind.fields, [&](auto field) { return this->*field == other.*field; });
  });
}

std::string Division::text() const {
  const Kind &kind = *llvm::find_if(
      kinds(), [&](const Kind &kind) { return this->*kind.fields[0] != 0; });
  std::string text = kind.name.str();
  for (auto field : kind.fields)
    text += " " + std::to_string(this->*field);
  return text;
}

std::optional<Division> Division::parse(StringRef text) {
  llvm::SmallVector<StringRef> words;
  text.split(words, ' ');
  const Kind *kind = llvm::find_if(
      kinds(), [&](const Kind &kind) { return kind.name == words[0]; });
  if (kind == kinds().end() || words.size() != 1 + kind->fields.size())
    return std::nullopt;
  Division division;
  for (auto [field, word] : llvm::zip(kind->fields, llvm::drop_begin(words))) {
    if (word.getAsInteger(10, division.*field) || division.*field < 1)
      return std::nullopt;
  }
  return division;
}

const Tuning &Tuning::measured() {
  static const Tuning table = [] {
    std::string error;
    std::optional<Tuning> parsed = parse(tableText(), error);
    // A table that is wrong would be found by its test.
    return parsed ? std::move(*parsed) : Tuning();
  }();
  return table;
}

StringRef Tuning::tableText() { return kTuningTable; }

Tuning Tuning::candidate(unsigned number) {
  Tuning tuning;
  tuning.number = number;
  return tuning;
}

std::optional<Tuning> Tuning::parse(StringRef json, std::string &error) {
  auto refuse = [&](const llvm::Twine &why) {
    error = why.str();
    return std::nullopt;
  };
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(json);
  if (!value)
    return refuse(llvm::toString(value.takeError()));
  const llvm::json::Object *table = value->getAsObject();
  const llvm::json::Array *products =
      table ? table->getArray("products") : nullptr;
  if (!products)
    return refuse("expected an object with a list of products");
  if (products->empty())
    return Tuning();
  auto machine = table->getString("machine"),
       driver = table->getString("driver"), date = table->getString("date");
  auto count = table->getInteger("multiprocessors");
  if (!machine || !driver || !date || !count)
    return refuse("expected machine, driver, date and multiprocessors");
  if (*count != kMultiprocessors)
    return refuse(formatv("it was measured on {0} multiprocessors, but plans "
                          "are for {1}",
                          *count, kMultiprocessors)
                      .str());
  Tuning tuning;
  tuning.origin =
      formatv("{0}, driver {1}, {2}", *machine, *driver, *date).str();
  for (const llvm::json::Value &each : *products) {
    const llvm::json::Object *product = each.getAsObject();
    auto name = product ? product->getString("product") : std::nullopt;
    auto text = product ? product->getString("division") : std::nullopt;
    auto us = product ? product->getNumber("us") : std::nullopt;
    auto planned = product ? product->getNumber("planned_us") : std::nullopt;
    std::optional<Division> division =
        text ? Division::parse(*text) : std::nullopt;
    if (!name || !division || !us || !planned)
      return refuse("expected of each product its name, a division, us and "
                    "planned_us");
    if (!tuning.rows.try_emplace(*name, Row{*division, *us, *planned}).second)
      return refuse("product \"" + *name + "\" stands in it twice");
  }
  return tuning;
}

DividedProduct Tuning::choose(std::string product,
                              llvm::ArrayRef<Division> ways,
                              size_t before) const {
  DividedProduct result{std::move(product), ways[0], "", ways.size()};
  if (number) {
    size_t way = *number > before ? *number - before : 0;
    if (way >= ways.size())
      way = 0;
    result.division = ways[way];
    result.why = formatv("candidate {0} of {1}", way == 0 ? 0 : way + before,
                         ways.size() + before);
    return result;
  }
  auto row = rows.find(result.product);
  // What planners no longer offer is no way.
  if (row == rows.end() || !llvm::is_contained(ways, row->second.division))
    return result;
  result.division = row->second.division;
  result.why = formatv("measured {0:F1} us, {1:F1} as planned ({2})",
                       row->second.microseconds, row->second.planned, origin);
  return result;
}
