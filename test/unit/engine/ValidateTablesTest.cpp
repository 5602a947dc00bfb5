// One bent engine per rule about facts, limits, arenas, sources, kernels, rank
// groups.

#include "test/unit/engine/Mutate.h"

#include <gmock/gmock.h>

using namespace saddle;
using namespace saddle::schema;

namespace {

TEST(ValidateFacts, otherTargetsAreUnsupported) {
  auto tree = tinyEngine();
  tree->target = "sm_80";
  auto file = engineFileOf(*tree);
  auto engine = saddle::Engine::fromBytes(file.data(), file.size(), "t");
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), StatusCode::Unsupported);
  EXPECT_EQ(engine.status().message(),
            "t: compiled for target \"sm_80\", but this build knows only "
            "\"cpu\" and \"sm_90a\"");
}

TEST(ValidateFacts, dtypes) {
  EXPECT_EQ(messageAfter([](EngineT &e) { e.compute_dtype = DType::F16; }),
            "compute_dtype is f16, expected f32 or bf16");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.kv_dtype = DType::I32; }),
            "kv_dtype is i32, expected f32, bf16 or f8e4m3");
}

TEST(ValidateFacts, topology) {
  EXPECT_EQ(messageAfter([](EngineT &e) { e.topology->tp = 0; }),
            "topology: tp is 0, expected 1 to 4096");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.topology->tp = ~0u; }),
            "topology: tp is 4294967295, expected 1 to 4096");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.topology->pp = 4096; }),
            "topology: pp is 4096, expected 1 to 2048");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.topology->dp = 3; }),
            "topology: dp = 3 does not divide tp = 2");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.topology->ep = 0; }),
            "topology: ep = 0 does not divide tp = 2");
}

TEST(ValidateFacts, limits) {
  EXPECT_EQ(messageAfter([](EngineT &e) { e.limits->max_batch = 0; }),
            "limits: max_batch is 0, expected 1 to 2147483647");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.limits->max_seq_len = 0; }),
            "limits: max_seq_len is 0, expected 1 to 2147483647");
  EXPECT_EQ(
      messageAfter([](EngineT &e) { e.limits->prefill_chunk = 1u << 31; }),
      "limits: prefill_chunk is 2147483648, expected 1 to 2147483647");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.limits->page_size = 0; }),
            "limits: page_size is 0, expected 1 to 2147483647");
}

TEST(ValidateFacts, model) {
  EXPECT_EQ(messageAfter([](EngineT &e) { e.model->vocab_size = 0; }),
            "model: vocab_size is 0, expected 1 to 2147483647");
}

TEST(ValidateFacts, checkpoints) {
  EXPECT_EQ(
      messageAfter([](EngineT &e) { e.checkpoints[0]->fingerprint = "abc"; }),
      "checkpoint \"main\": fingerprint is \"abc\", expected 32 lower-case hex "
      "digits");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.checkpoints.clear(); }),
            "the first checkpoint is not \"main\"");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.checkpoints[0]->name = "draft"; }),
            "the first checkpoint is not \"main\"");
  TinyOptions draft;
  draft.draft = true;
  EXPECT_EQ(
      messageAfter([](EngineT &e) { e.checkpoints[1]->name = "main"; }, draft),
      "two checkpoints are named \"main\"");
  auto withPart = [](auto change) {
    return messageAfter([&](EngineT &e) {
      auto part = std::make_unique<StoredPartT>();
      part->name = "x";
      part->tensor = "y";
      change(*part);
      e.checkpoints[0]->parts.push_back(std::move(part));
    });
  };
  EXPECT_EQ(withPart([](StoredPartT &p) { p.tensor = "y*"; }),
            "part \"x\": is read from \"y*\", expected two names, or two "
            "beginnings of names with * behind them");
  EXPECT_EQ(withPart([](StoredPartT &p) { p.stack = 3; }),
            "part \"x\": is a stack of 3 and read from \"y\"");
  EXPECT_EQ(withPart([](StoredPartT &p) {
              p.first = 2;
              p.count = 3;
              p.of = 4;
            }),
            "part \"x\": is 3 from 2 on of 4");
  EXPECT_EQ(messageAfter([](EngineT &e) {
              for (const char *name : {"a.{}", "b.{}"}) {
                auto part = std::make_unique<StoredPartT>();
                part->name = name;
                part->tensor = "y";
                part->stack = uint64_t(1) << 24;
                e.checkpoints[0]->parts.push_back(std::move(part));
              }
            }),
            "checkpoint \"main\": the parts name more than 16777216 tensors");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.sources[1]->checkpoint = 1; }),
            "source \"model.layers.0.input_layernorm.weight\": checkpoint 1 "
            "does not exist, there are 1");
}

TEST(ValidateFacts, programs) {
  EXPECT_EQ(messageAfter([](EngineT &e) { e.programs.clear(); }),
            "no program is named \"main\", which sessions run");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.programs[0]->name = "draft"; }),
            "no program is named \"main\", which sessions run");
  EXPECT_EQ(
      messageAfter([](EngineT &e) { e.programs[0]->stage = 1; }),
      "a program \"main\" is of stage 1, but there are 1 pipeline stages");
}

/// Two programs of two stages each.
std::string afterPrograms(
    const std::function<void(std::vector<std::unique_ptr<ProgramT>> &)> &bend) {
  TinyOptions options;
  options.draft = true;
  options.pp = 2;
  options.layers = 2;
  return messageAfter([&](EngineT &e) { bend(e.programs); }, options);
}

TEST(ValidateFacts, programsHaveNamesAndStages) {
  EXPECT_EQ(afterPrograms([](auto &) {}), "");
  EXPECT_EQ(afterPrograms([](auto &all) { all[3]->stage = 0; }),
            "two programs are \"draft\" of stage 0");
  EXPECT_EQ(afterPrograms([](auto &all) { all[2]->name = "main"; }),
            "two programs are \"main\" of stage 0");
  EXPECT_EQ(afterPrograms([](auto &all) { all.pop_back(); }),
            "program \"draft\" lacks stage 1 of 2");
  EXPECT_EQ(afterPrograms([](auto &all) { all.erase(all.begin()); }),
            "program \"main\" lacks stage 0 of 2");
  EXPECT_EQ(afterPrograms([](auto &all) { std::swap(all[1], all[2]); }),
            "place 1 holds program \"draft\" of stage 0, expected \"main\" of "
            "stage 1: stages follow each other, and \"main\" comes first");
  EXPECT_EQ(afterPrograms([](auto &all) { std::swap(all[2], all[3]); }),
            "place 2 holds program \"draft\" of stage 1, expected \"draft\" of "
            "stage 0: stages follow each other, and \"main\" comes first");
  EXPECT_EQ(afterPrograms([](auto &all) { all[3]->entries.pop_back(); }),
            "program \"draft\" 1 has 1 entries, but program \"draft\" 0 has 2");
  EXPECT_EQ(afterPrograms([](auto &all) {
              all[2]->entries.clear();
              all[3]->entries.clear();
            }),
            "program \"draft\" 0: has no entries, expected some");
}

TEST(ValidateFacts, programsShareWeightsThatAreTheSame) {
  const std::string embedding = "model.embed_tokens.weight";
  TinyOptions two;
  two.draft = true;
  std::string message = messageAfter(
      [&](EngineT &e) {
        WeightT &shared = named(e.programs[1]->weights, embedding);
        shared.pieces[0]->source =
            named(e.programs[1]->weights, "lm_head.weight").pieces[0]->source;
      },
      two);
  EXPECT_EQ(message, "stage 0: weight \"" + embedding +
                         "\" at offset 0 begins inside weight \"" + embedding +
                         "\", which has 256 bytes at offset 0");
  message = messageAfter(
      [&](EngineT &e) {
        auto &weights = e.programs[1]->weights;
        named(weights, "lm_head.weight").slice->offset =
            named(e.programs[0]->weights, "lm_head.weight").slice->offset;
      },
      two);
  EXPECT_EQ(message.substr(0, 31), "stage 0: weight \"lm_head.weight");
}

TEST(ValidateTables, arenas) {
  EXPECT_EQ(messageAfter([](EngineT &e) { e.arenas[1]->name = "weights"; }),
            "two arenas are named \"weights\"");
  EXPECT_EQ(
      messageAfter([](EngineT &e) { e.arenas[1]->kind = ArenaKind::UNKNOWN; }),
      "arena \"kv\": unknown kind 0");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.arenas[1]->kind = ArenaKind(9); }),
            "arena \"kv\": unknown kind 9");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.arenas[1]->alignment = 48; }),
            "arena \"kv\": alignment is 48, expected a power of two up to "
            "2097152");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.arenas[1]->alignment = 0; }),
            "arena \"kv\": alignment is 0, expected a power of two up to "
            "2097152");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.arenas[1]->bytes = ~0ull; }),
            "arena \"kv\": 18446744073709551615 bytes, expected at most "
            "281474976710656");
  EXPECT_EQ(messageAfter([](EngineT &e) {
              e.arenas[1]->bytes = e.arenas[2]->bytes = 1ull << 47;
            }).substr(0, 50),
            "arena \"activations\": the arenas up to here have 28");
}

TEST(ValidateTables, unpackingsFitTheirTensors) {
  // A source of its own, which nothing reads.
  auto message = [&](const std::function<void(UnpackingT &)> &change,
                     DType dtype = DType::I32,
                     std::vector<uint64_t> shape = {4, 6}) {
    return messageAfter([&](EngineT &e) {
      auto source = std::make_unique<SourceT>();
      source->name = "extra";
      source->dtype = dtype;
      source->shape = shape;
      source->ignored_reason = "a test";
      source->unpacking = std::make_unique<UnpackingT>();
      UnpackingT &how = *source->unpacking;
      how.bits = 4;
      how.order = {0, 1, 2, 3, 4, 5, 6, 7};
      how.per_element = 2;
      how.rows = 4;
      how.cols = 24;
      change(how);
      e.sources.push_back(std::move(source));
    });
  };
  EXPECT_EQ(message([](UnpackingT &) {}), "");
  // Padding: 41 .. 48 values fill 6 words.
  EXPECT_EQ(message([](UnpackingT &how) { how.cols = 21; }), "");
  EXPECT_EQ(message([](UnpackingT &how) {
              how.transposed = how.along_rows = true;
              how.rows = 6;
              how.cols = 16;
            }),
            "");
  EXPECT_EQ(message([](UnpackingT &how) { how.cols = 25; }),
            "source \"extra\": a matrix of 4 x 25 elements comes from [4, 7] "
            "words, but the shape is [4, 6]");
  EXPECT_EQ(message([](UnpackingT &how) { how.order[1] = 0; }),
            "source \"extra\": the order of 8 values in a word is no order of "
            "0 .. n-1");
  const std::string expected = "; expected words of i32 or u8 full of values "
                               "of 4 or 8 bits, and at most "
                               "8 bits to an element";
  EXPECT_EQ(message([](UnpackingT &how) { how.bits = 3; }),
            "source \"extra\": unpacks [4, 6] into 4 x 24 elements of 2 values "
            "of 3 bits, 8 to a word" +
                expected);
  EXPECT_EQ(message([](UnpackingT &how) { how.per_element = 3; }),
            "source \"extra\": unpacks [4, 6] into 4 x 24 elements of 3 values "
            "of 4 bits, 8 to a word" +
                expected);
  EXPECT_EQ(message([](UnpackingT &) {}, DType::F32),
            "source \"extra\": unpacks [4, 6] into 4 x 24 elements of 2 values "
            "of 4 bits, 8 to a word" +
                expected);
  EXPECT_EQ(message([](UnpackingT &) {}, DType::I32, {24}),
            "source \"extra\": unpacks [24] into 4 x 24 elements of 2 values "
            "of 4 bits, 8 to a word" +
                expected);
}

TEST(ValidateTables, companionsBelongToAnotherSource) {
  // Source 0 becomes a companion of what the caller says.
  auto message = [](CompanionKind kind, uint32_t of) {
    return messageAfter([&](EngineT &e) {
      e.sources[0]->companion = kind;
      e.sources[0]->companion_of = of;
    });
  };
  auto tree = tinyEngine();
  const std::string place = "source \"" + tree->sources[0]->name + "\": ",
                    count = std::to_string(tree->sources.size());
  EXPECT_EQ(message(CompanionKind::SCALE, 2), "");
  EXPECT_EQ(message(CompanionKind::ZERO, 2), "");
  EXPECT_EQ(message(CompanionKind(4), 2),
            place + "is a companion of kind 4; this runtime reads kinds 1 to "
                    "3");
  EXPECT_EQ(message(CompanionKind::SCALE, 0),
            place +
                "is the companion of source 0 - 1, expected another of "
                "the " +
                count);
  EXPECT_EQ(message(CompanionKind::SCALE, 1),
            place +
                "is the companion of source 1 - 1, expected another of "
                "the " +
                count);
  EXPECT_EQ(message(CompanionKind::SCALE, 999),
            place +
                "is the companion of source 999 - 1, expected another of "
                "the " +
                count);
  uint32_t stack = 0;
  while (tree->sources[stack]->stack == 0)
    ++stack;
  EXPECT_EQ(message(CompanionKind::SCALE, stack + 1),
            place + "has a stack of 0, but the weight \"" +
                tree->sources[stack]->name +
                "\", of which it is a companion, has " +
                std::to_string(tree->sources[stack]->stack));
}

TEST(ValidateTables, sources) {
  auto after = [](const std::function<void(SourceT &)> &mutate) {
    return messageAfter(
        [&](EngineT &e) { mutate(named(e.sources, "lm_head.weight")); });
  };
  const std::string place = "source \"lm_head.weight\": ";
  EXPECT_EQ(after([](SourceT &s) { s.name = "model.norm.weight"; }),
            "two sources are named \"model.norm.weight\"");
  EXPECT_EQ(after([](SourceT &s) { s.dtype = DType(77); }),
            place + "unknown dtype 77");
  EXPECT_EQ(after([](SourceT &s) { s.shape = {16, 0}; }),
            place + "shape [16, 0] is empty or needs more than 2^64 bytes");
  EXPECT_EQ(after([](SourceT &s) { s.shape = {1ull << 32, 1ull << 32}; }),
            place + "shape [4294967296, 4294967296] is empty or needs more "
                    "than 2^64 bytes");
  EXPECT_EQ(after([](SourceT &s) { s.shape = {1, 1, 16, 8}; }),
            place + "shape [1, 1, 16, 8] has 4 dimensions, expected at most 3");
  EXPECT_EQ(messageAfter([](EngineT &e) {
              auto unread = std::make_unique<SourceT>();
              unread->name = "unread";
              unread->dtype = DType::F32;
              unread->shape = {1, 4, 16, 16};
              unread->ignored_reason = "recomputed";
              e.sources.push_back(std::move(unread));
            }),
            "");
  EXPECT_EQ(after([](SourceT &s) { s.stack = 2; }),
            place + "a stack of 2 tensors needs exactly one {} in its name");
  EXPECT_EQ(after([](SourceT &s) {
              s.stack = 2;
              s.name = "{}.{}";
            }),
            "source \"{}.{}\": a stack of 2 tensors needs exactly one {} in "
            "its name");
  EXPECT_EQ(after([](SourceT &s) {
              s.stack = 1ull << 60;
              s.name = "{}";
            }),
            "source \"{}\": the sources name more than 16777216 tensors");
}

TEST(ValidateTables, groupsAreOfIgnoredVectors) {
  auto after = [](const char *reason, DType dtype,
                  std::vector<uint64_t> shape) {
    return messageAfter([&](EngineT &e) {
      auto source = std::make_unique<SourceT>();
      source->name = "extra";
      source->dtype = dtype;
      source->shape = shape;
      source->ignored_reason = reason;
      source->group = 4;
      e.sources.push_back(std::move(source));
    });
  };
  EXPECT_EQ(after("x", DType::I32, {8}), "");
  const std::string refused = "source \"extra\": has groups of 4, which only "
                              "an ignored vector of i32 has";
  EXPECT_EQ(after("", DType::I32, {8}), refused);
  EXPECT_EQ(after("x", DType::F32, {8}), refused);
  EXPECT_EQ(after("x", DType::I32, {2, 8}), refused);
}

TEST(ValidateTables, floatsOfCompanionsAreDivided) {
  auto after = [](uint32_t of, DType dtype) {
    return messageAfter([&](EngineT &e) {
      e.sources[0]->over = 7;
      e.sources[0]->dtype = dtype;
      e.sources[0]->companion_of = of;
    });
  };
  const std::string rule =
      ", divided by 7, which only floats of a companion are";
  EXPECT_THAT(after(0, DType::F32), testing::HasSubstr("is f32" + rule));
  EXPECT_THAT(after(2, DType::U8), testing::HasSubstr("is u8" + rule));
}

TEST(ValidateTables, everySourceIsReadOrIgnored) {
  auto addSource = [](EngineT &e, const char *reason) {
    auto source = std::make_unique<SourceT>();
    source->name = "extra";
    source->dtype = DType::F32;
    source->shape = {4};
    source->ignored_reason = reason;
    e.sources.push_back(std::move(source));
  };
  EXPECT_EQ(messageAfter([&](EngineT &e) { addSource(e, "unused by M2"); }),
            "");
  EXPECT_EQ(messageAfter([&](EngineT &e) { addSource(e, ""); }),
            "source \"extra\": no weight reads it, and no reason to ignore it "
            "is given");
}

TEST(ValidateTables, kernels) {
  EXPECT_EQ(messageAfter(
                [](EngineT &e) { named(e.kernels, "rope").name = "linear"; }),
            "two kernels are named \"linear\"");
  auto rankValueAfter = [](const std::function<void(RankValueT &)> &mutate) {
    return messageAfter([&](EngineT &e) {
      mutate(*named(named(e.kernels, "embedding").attributes, "vocab_start")
                  .rank_value);
    });
  };
  const std::string place = "kernel \"embedding\": attribute \"vocab_start\": ";
  EXPECT_EQ(rankValueAfter([](RankValueT &v) { v.divisor = 0; }),
            place + "rank value has divisor 0 and modulus 2, expected 1 or "
                    "more");
  EXPECT_EQ(rankValueAfter([](RankValueT &v) { v.modulus = 0; }),
            place + "rank value has divisor 1 and modulus 0, expected 1 or "
                    "more");
  EXPECT_EQ(rankValueAfter([](RankValueT &v) { v.base = v.step = 1ull << 63; }),
            place + "rank value 9223372036854775808 + 1 * 9223372036854775808 "
                    "exceeds 64 bits");
}

TEST(ValidateTables, rankGroupsPartitionTheRanks) {
  auto after = [](uint32_t size, std::vector<uint32_t> ranks) {
    return messageAfter([&](EngineT &e) {
      e.rank_groups[0]->size = size;
      e.rank_groups[0]->ranks = ranks;
    });
  };
  const std::string place = "rank groups 0 (\"tp\"): ";
  EXPECT_EQ(after(2, {1, 0}), "");
  EXPECT_EQ(after(0, {0, 1}), place + "size 0 does not divide 2 ranks");
  EXPECT_EQ(after(3, {0, 1}), place + "size 3 does not divide 2 ranks");
  EXPECT_EQ(after(2, {0, 1, 1}), place + "3 ranks are listed, expected 2");
  EXPECT_EQ(after(2, {0, 2}), place + "rank 2 does not exist, there are 2");
  EXPECT_EQ(after(2, {1, 1}), place + "rank 1 is listed twice");
}

} // namespace
