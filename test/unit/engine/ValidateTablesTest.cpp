// One bent engine per rule about facts, limits, arenas, sources, kernels, rank
// groups.

#include "test/unit/engine/Mutate.h"

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
  EXPECT_EQ(messageAfter([](EngineT &e) { e.model->fingerprint = "abc"; }),
            "model: fingerprint is \"abc\", expected 32 lower-case hex digits");
}

TEST(ValidateFacts, programs) {
  EXPECT_EQ(messageAfter([](EngineT &e) { e.programs.clear(); }),
            "0 programs for 1 pipeline stages, expected one each");
  EXPECT_EQ(messageAfter([](EngineT &e) { e.programs[0]->stage = 1; }),
            "program 0 is of stage 1");
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
