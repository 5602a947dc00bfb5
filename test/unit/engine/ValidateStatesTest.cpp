// One bent engine per rule about states. The bent one is the first: page_size 4
// tokens of 1 KV head of 4 dims in f32.

#include "test/unit/engine/Mutate.h"

#include <gmock/gmock.h>

using namespace saddle;
using namespace saddle::schema;

namespace {

const std::string kState = "program 0: state \"model.layers.0.k\": ";

std::string stateAfter(const std::function<void(StateT &)> &mutate) {
  return messageAfter([&](EngineT &e) { mutate(*e.programs[0]->states[0]); });
}

TEST(ValidateStates, kindsAndArenas) {
  EXPECT_EQ(stateAfter([](StateT &s) { s.kind = StateKind(4); }),
            kState + "unknown kind 4");
  EXPECT_EQ(stateAfter([](StateT &s) { s.kind = StateKind::SEQUENCE; }),
            kState + "of kind SEQUENCE lies in arena \"kv\" of kind PAGES, "
                     "expected SEQUENCES");
  EXPECT_EQ(stateAfter([](StateT &s) { s.slice->arena = 3; }),
            kState + "of kind PAGED lies in arena \"io\" of kind IO, expected "
                     "PAGES");
  EXPECT_EQ(stateAfter([](StateT &s) { s.slice->arena = 9; }),
            kState + "arena 9 does not exist, there are 4");
  EXPECT_EQ(stateAfter([](StateT &s) { s.name = "model.layers.0.v"; }),
            "program 0: two states are named \"model.layers.0.v\"");
}

TEST(ValidateStates, areDenseUnits) {
  EXPECT_EQ(stateAfter([](StateT &s) { s.slice->shape[0] = 2; }),
            kState + "is [2, 4, 1, 4], expected one page or sequence in "
                     "dimension 0");
  EXPECT_EQ(stateAfter([](StateT &s) { s.slice->strides[0] = 20; }),
            kState + "strides [20, 4, 4, 1] leave gaps, expected a dense "
                     "slice");
  EXPECT_EQ(stateAfter([](StateT &s) {
              s.slice->shape = {1, 2, 1, 4};
              s.slice->strides = {8, 4, 4, 1};
            }),
            kState + "is [1, 2, 1, 4], expected page_size = 4 tokens in "
                     "dimension 1");
}

TEST(ValidateStates, everyKindIsKnown) {
  for (StateKind kind : {StateKind::PAGED, StateKind::INDEX_KEYS})
    EXPECT_EQ(stateAfter([=](StateT &s) { s.kind = kind; }), "");
  EXPECT_NE(stateAfter([](StateT &s) { s.kind = StateKind(4); }), "");
  EXPECT_NE(stateAfter([](StateT &s) { s.kind = StateKind::UNKNOWN; }), "");
}

TEST(ValidateStates, areDisjoint) {
  EXPECT_EQ(messageAfter([](EngineT &e) {
              auto &states = e.programs[0]->states;
              states[1]->slice->offset = states[0]->slice->offset;
            }),
            "program 0: states \"model.layers.0.k\" and \"model.layers.0.v\" "
            "share bytes of the arena");
}

TEST(ValidateStates, areDisjointAcrossProgramsOfAStage) {
  TinyOptions options;
  options.draft = options.recurrent = true;
  EXPECT_EQ(messageAfter([](EngineT &) {}, options), "");
  auto useMainsState = [](EngineT &e) {
    const std::string name = "model.layers.0.state";
    ProgramT &draft = *e.programs[1];
    const SliceT &wanted = *named(e.programs[0]->states, name).slice;
    SliceT &own = *named(draft.states, name).slice;
    for (auto &entry : draft.entries)
      for (auto &slice : entry->slices)
        if (slice->arena == own.arena && slice->offset == own.offset)
          slice->offset = wanted.offset;
    own.offset = wanted.offset;
  };
  // What they name and describe alike is one.
  EXPECT_EQ(messageAfter(useMainsState, options), "");
  auto renamed = [&](EngineT &e) {
    useMainsState(e);
    named(e.programs[1]->states, "model.layers.0.state").name = "other";
  };
  EXPECT_EQ(messageAfter(renamed, options),
            "stage 0: states \"model.layers.0.state\" and \"other\" share "
            "bytes of the arena");
}

TEST(ValidateStates, commandsReachStatesOnly) {
  // The same bytes in another shape would be other bytes with more pages.
  auto isRefused = testing::HasSubstr(
      "lies in arena \"kv\" of kind PAGES, but is no state of the program");
  EXPECT_THAT(messageAfter([](EngineT &e) {
                for (auto &slice : e.programs[0]->entries[0]->slices)
                  if (slice->arena == 1 && slice->offset == 0) {
                    slice->shape = {1, 4, 2, 2};
                    slice->strides = {16, 4, 2, 1};
                  }
              }),
              isRefused);
  EXPECT_THAT(
      messageAfter([](EngineT &e) { e.programs[0]->states.pop_back(); }),
      isRefused);
}

} // namespace
