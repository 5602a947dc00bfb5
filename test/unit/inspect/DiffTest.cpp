#include "tools/saddle-inspect/Diff.h"
#include "test/unit/engine/TinyEngine.h"

#include <gtest/gtest.h>

#include <functional>

using namespace saddle;
using namespace saddle::inspect;

namespace {

std::string diffAfter(const std::function<void(schema::EngineT &)> &mutate) {
  auto tree = tinyEngine();
  auto first = flatBufferOf(*tree);
  mutate(*tree);
  auto second = flatBufferOf(*tree);
  return diffText(tablesJson(*schema::GetEngine(first.data())),
                  tablesJson(*schema::GetEngine(second.data())));
}

TEST(Diff, equalEnginesHaveNone) {
  EXPECT_EQ(diffAfter([](schema::EngineT &) {}), "");
}

TEST(Diff, namesFieldAndBothValues) {
  EXPECT_EQ(diffAfter([](schema::EngineT &e) {
              e.limits->max_batch = 9;
              e.model->name.clear();
              e.model->eos_token_ids = {1, 2};
            }),
            "model.name: \"tiny\" -> null\n"
            "model.eos_token_ids: [1] -> [1,2]\n"
            "limits.max_batch: 4 -> 9\n");
}

TEST(Diff, pairsTablesByName) {
  EXPECT_EQ(diffAfter([](schema::EngineT &e) {
              std::swap(e.arenas[0], e.arenas[1]);
              e.arenas[3]->name = "host";
              e.arenas[2]->alignment = 256;
            }),
            "arenas[activations].alignment: 64 -> 256\n"
            "arenas[io]: only in the first\n"
            "arenas[host]: only in the second\n");
}

TEST(Diff, pairsNamelessTablesByPosition) {
  EXPECT_EQ(diffAfter([](schema::EngineT &e) {
              schema::EntryT &entry = *e.programs[0]->entries[0];
              entry.commands[0]->place = "elsewhere";
              entry.commands.pop_back();
            }),
            "programs[main].entries[decode].commands: 20 elements -> 19\n"
            "programs[main].entries[decode].commands[0].location: "
            "\"model.embed_tokens\" -> \"elsewhere\"\n");
}

TEST(Diff, otherActionsShowTheirFields) {
  std::string text = diffAfter([](schema::EngineT &e) {
    schema::CommandT &command = *e.programs[0]->entries[0]->commands[0];
    command.action.Reset();
    command.action.Set(schema::CopyT());
  });
  std::string at = "programs[main].entries[decode].commands[0].";
  EXPECT_NE(text.find(at + "type: \"Launch\" -> \"Copy\"\n"),
            std::string::npos);
  EXPECT_NE(text.find(at + "action.workspace: only in the first\n"),
            std::string::npos);
  EXPECT_NE(text.find(at + "action.dest: only in the second\n"),
            std::string::npos);
}

} // namespace
