// One bent engine per rule about entries, their slices and bindings. The bent
// entry is "decode": 4 tokens, 4 rows.

#include "test/unit/engine/Mutate.h"

using namespace saddle;
using namespace saddle::schema;

namespace {

const std::string kPlace = "program 0: entry \"decode\": ";

std::string entryAfter(const std::function<void(EntryT &)> &mutate) {
  return messageAfter([&](EngineT &e) { mutate(*e.programs[0]->entries[0]); });
}

TEST(ValidateEntries, facts) {
  EXPECT_EQ(entryAfter([](EntryT &e) { e.name = "prefill"; }),
            "program 0: two entries are named \"prefill\"");
  EXPECT_EQ(entryAfter([](EntryT &e) { e.phase = Phase(5); }),
            kPlace + "unknown phase 5");
  EXPECT_EQ(entryAfter([](EntryT &e) { e.tokens = 0; }),
            kPlace + "tokens is 0, expected 1 to 2147483647");
  EXPECT_EQ(entryAfter([](EntryT &e) { e.rows = 1ull << 31; }),
            kPlace + "rows is 2147483648, expected 1 to 2147483647");
}

TEST(ValidateEntries, largestEntriesServeTheLimits) {
  EXPECT_EQ(messageAfter([](EngineT &e) { e.limits->prefill_chunk = 9; }),
            "program 0: the largest PREFILL entry takes 8 tokens, expected "
            "prefill_chunk = 9 or more");
  EXPECT_EQ(entryAfter([](EntryT &e) { e.phase = Phase::PREFILL; }),
            "program 0: the largest DECODE entry takes 0 tokens, expected "
            "max_batch = 4 or more");
}

/// Bends slice 0, the i32 [4] of "tokens" in the IO arena.
std::string sliceAfter(const std::function<void(SliceT &)> &mutate) {
  return entryAfter([&](EntryT &e) { mutate(*e.slices[0]); });
}

TEST(ValidateEntries, slices) {
  const std::string place = kPlace + "slice 0: ";
  EXPECT_EQ(sliceAfter([](SliceT &s) { s.arena = 4; }),
            place + "arena 4 does not exist, there are 4");
  EXPECT_EQ(sliceAfter([](SliceT &s) { s.dtype = DType::UNKNOWN; }),
            place + "unknown dtype 0");
  EXPECT_EQ(sliceAfter([](SliceT &s) { s.shape = s.strides = {}; }),
            place + "shape [] has 0 dimensions, expected 1 to 5");
  EXPECT_EQ(
      sliceAfter([](SliceT &s) { s.shape = s.strides = {1, 1, 1, 1, 1, 1}; }),
      place + "shape [1, 1, 1, 1, 1, 1] has 6 dimensions, expected 1 to "
              "5");
  EXPECT_EQ(sliceAfter([](SliceT &s) { s.strides = {4, 1}; }),
            place + "shape [4] has 1 dimensions, but there are 2 strides");
  EXPECT_EQ(sliceAfter([](SliceT &s) { s.strides = {2}; }),
            place + "stride 0 of shape [4] is 2, expected 1");
  EXPECT_EQ(sliceAfter([](SliceT &s) {
              s.shape = {2, 2};
              s.strides = {1, 1};
            }),
            place + "stride 0 of shape [2, 2] is 1, expected at least 2");
  EXPECT_EQ(sliceAfter([](SliceT &s) { s.shape = {0}; }),
            place + "shape [0] with strides [1] is empty or exceeds 2^64 "
                    "bytes");
  EXPECT_EQ(sliceAfter([](SliceT &s) {
              s.shape = {1ull << 32, 1ull << 32};
              s.strides = {1ull << 32, 1};
            }),
            place + "shape [4294967296, 4294967296] with strides [4294967296, "
                    "1] is empty or exceeds 2^64 bytes");
  EXPECT_EQ(sliceAfter([](SliceT &s) { s.shape = {1ull << 62}; }),
            place + "shape [4611686018427387904] with strides [1] is empty or "
                    "exceeds 2^64 bytes");
  EXPECT_EQ(sliceAfter([](SliceT &s) { s.offset = 2; }),
            place + "offset 2 in arena \"io\" (alignment 64) is not aligned to "
                    "i32");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.arenas[3]->alignment = 2; }),
            place + "offset 0 in arena \"io\" (alignment 2) is not aligned to "
                    "i32");
  // Seven bindings: six of one 64-byte unit, logits of 4 * 16 * 4 bytes.
  EXPECT_EQ(sliceAfter([](SliceT &s) { s.offset = 640; }),
            place + "16 bytes at offset 640 reach beyond arena \"io\" of 640 "
                    "bytes");
  EXPECT_EQ(sliceAfter([](SliceT &s) { s.offset = ~0ull - 3; }),
            place + "16 bytes at offset 18446744073709551612 reach beyond "
                    "arena \"io\" of 640 bytes");
}

BindingT &bindingOf(EntryT &entry, const char *name) {
  return named(entry.bindings, name);
}

TEST(ValidateEntries, bindingsAreComplete) {
  for (const char *name : {"tokens", "positions", "sequences", "slots",
                           "block_table", "rows", "logits"}) {
    EXPECT_EQ(entryAfter([&](EntryT &e) {
                auto &all = e.bindings;
                all.erase(std::find_if(all.begin(), all.end(), [&](auto &b) {
                  return b->name == name;
                }));
              }),
              kPlace + "binding \"" + name + "\" is missing");
    EXPECT_EQ(entryAfter([&](EntryT &e) {
                e.bindings.push_back(
                    std::make_unique<BindingT>(bindingOf(e, name)));
              }),
              kPlace + "binding \"" + name + "\": appears twice");
  }
  EXPECT_EQ(entryAfter([](EntryT &e) { bindingOf(e, "rows").name = "raws"; }),
            kPlace + "binding \"raws\": unknown name");
  EXPECT_EQ(entryAfter([](EntryT &e) {
              bindingOf(e, "rows").slice = 999;
            }).substr(0, 77),
            (kPlace + "binding \"rows\": slice 999 does not exist, there are ")
                .substr(0, 77));
}

TEST(ValidateEntries, bindingsHaveTheirTypes) {
  struct Case {
    const char *name, *type;
  } cases[] = {{"tokens", "i32 [4]"},         {"positions", "i32 [4]"},
               {"sequences", "i32 [4]"},      {"slots", "i32 [4]"},
               {"block_table", "i32 [4, 4]"}, {"rows", "i32 [4]"},
               {"logits", "f32 [4, 16]"}};
  for (const Case &c : cases) {
    // Any other binding's slice that has another type.
    const char *other =
        std::string(c.name) == "logits" ? "block_table" : "logits";
    std::string found =
        std::string(other) == "logits" ? "f32 [4, 16]" : "i32 [4, 4]";
    EXPECT_EQ(entryAfter([&](EntryT &e) {
                bindingOf(e, c.name).slice = bindingOf(e, other).slice;
              }),
              kPlace + "binding \"" + c.name + "\": is " + found +
                  ", expected " + c.type);
  }
  EXPECT_EQ(messageAfter([](EngineT &e) { e.limits->max_seq_len = 17; }),
            kPlace + "binding \"block_table\": is i32 [4, 4], expected i32 "
                     "[4, 5]");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.model->vocab_size = 17; }),
            kPlace + "binding \"logits\": is f32 [4, 16], expected f32 [4, "
                     "17]");
}

TEST(ValidateEntries, bindingsAreDenseAndInIo) {
  EXPECT_EQ(entryAfter([](EntryT &e) {
              SliceT &table = *e.slices[bindingOf(e, "block_table").slice];
              table.strides = {5, 1};
            }),
            kPlace + "binding \"block_table\": strides [5, 1] leave gaps, "
                     "expected a dense slice");
  EXPECT_EQ(entryAfter([](EntryT &e) { e.slices[0]->arena = 2; }),
            kPlace + "binding \"tokens\": lies in arena \"activations\" of "
                     "kind TRANSIENT, expected IO");
}

TEST(ValidateEntries, bindingsDoNotOverlap) {
  EXPECT_EQ(entryAfter([](EntryT &e) {
              e.slices[bindingOf(e, "positions").slice]->offset = 12;
            }),
            kPlace + "bindings \"tokens\" and \"positions\" share bytes of the "
                     "arena");
}

/// Bends the "decode" entry of an engine with two candidates for a row.
std::string
candidatesAfter(const std::function<void(EngineT &, EntryT &)> &mutate) {
  TinyOptions options;
  options.candidates = 2;
  return messageAfter(
      [&](EngineT &e) { mutate(e, *e.programs[0]->entries[0]); }, options);
}

TEST(ValidateEntries, candidates) {
  auto erase = [](EntryT &entry, const char *name) {
    auto &all = entry.bindings;
    all.erase(std::find_if(all.begin(), all.end(),
                           [&](auto &b) { return b->name == name; }));
  };
  EXPECT_EQ(candidatesAfter([](EngineT &, EntryT &) {}), "");
  for (const char *name : {"candidate_values", "candidate_tokens"})
    EXPECT_EQ(candidatesAfter([&](EngineT &, EntryT &e) { erase(e, name); }),
              kPlace + "binding \"" + name + "\" is missing");
  EXPECT_EQ(candidatesAfter([](EngineT &, EntryT &e) {
              bindingOf(e, "candidate_tokens").slice =
                  bindingOf(e, "candidate_values").slice;
            }),
            kPlace + "binding \"candidate_tokens\": is f32 [4, 2], expected "
                     "i32 [4, 2]");
  EXPECT_EQ(candidatesAfter([&](EngineT &e, EntryT &) {
              for (const char *name : {"candidate_values", "candidate_tokens"})
                erase(*e.programs[0]->entries[1], name);
            }),
            "program 0: entry \"prefill\" yields 0 candidates for a row, but "
            "entry \"decode\" yields 2");
}

} // namespace
