// Bends the tiny engine and returns what the loader says about it.

#ifndef SADDLE_TEST_UNIT_ENGINE_MUTATE_H
#define SADDLE_TEST_UNIT_ENGINE_MUTATE_H

#include "runtime/src/engine/Engine.h"
#include "test/unit/engine/TinyEngine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace saddle {

using Mutation = std::function<void(schema::EngineT &)>;

inline TinyOptions tp2() {
  TinyOptions options;
  options.tp = 2;
  return options;
}

/// The loader's message, without the file's name, about a tiny engine after
/// `mutate`; "" when it loads. Every refusal must be DataLoss.
inline std::string messageAfter(const Mutation &mutate,
                                const TinyOptions &options = tp2()) {
  auto tree = tinyEngine(options);
  mutate(*tree);
  auto file = engineFileOf(*tree);
  auto engine = Engine::fromBytes(file.data(), file.size(), "t");
  if (engine.ok())
    return "";
  EXPECT_EQ(engine.status().code(), StatusCode::DataLoss);
  EXPECT_EQ(engine.status().message().substr(0, 3), "t: ");
  return engine.status().message().substr(3);
}

/// The element of a vector of tables with that name; must exist.
template <typename Table>
Table &named(std::vector<std::unique_ptr<Table>> &tables,
             const std::string &name) {
  return **std::find_if(
      tables.begin(), tables.end(),
      [&](const std::unique_ptr<Table> &table) { return table->name == name; });
}

} // namespace saddle

#endif // SADDLE_TEST_UNIT_ENGINE_MUTATE_H
