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

bool Division::operator==(const Division &other) const {
  return rows == other.rows && rowWarps == other.rowWarps &&
         tokenTiles == other.tokenTiles && groups == other.groups &&
         waves == other.waves && panelRows == other.panelRows &&
         panelDepth == other.panelDepth;
}

std::string Division::text() const {
  if (isTile())
    return formatv("tile {0} {1}", groups, waves);
  if (isPanel())
    return formatv("panel {0} {1}", panelRows, panelDepth);
  return formatv("stream {0} {1} {2}", rows, rowWarps, tokenTiles);
}

std::optional<Division> Division::parse(StringRef text) {
  llvm::SmallVector<StringRef> words;
  text.split(words, ' ');
  llvm::SmallVector<int64_t> numbers;
  for (StringRef word : llvm::drop_begin(words)) {
    int64_t number = 0;
    if (word.getAsInteger(10, number) || number < 1)
      return std::nullopt;
    numbers.push_back(number);
  }
  if (words[0] == "stream" && numbers.size() == 3)
    return stream(numbers[0], numbers[1], numbers[2]);
  if (words[0] == "tile" && numbers.size() == 2)
    return tile(numbers[0], numbers[1]);
  if (words[0] == "panel" && numbers.size() == 2)
    return panel(numbers[0], numbers[1]);
  return std::nullopt;
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
                              llvm::ArrayRef<Division> ways) const {
  DividedProduct result{std::move(product), ways[0], ""};
  if (number) {
    if (*number < ways.size())
      result.division = ways[*number];
    result.why = formatv("candidate {0} of {1}",
                         *number < ways.size() ? *number : 0, ways.size());
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
