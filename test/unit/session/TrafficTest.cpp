// Bytes that commands must move, against sums by hand for the tiny engine: 4
// query heads and 2 KV heads of 4, hidden 8, 4 experts of width 4, 2 chosen,
// vocabulary 16; all f32 but the weights, which are bf16 where stored so.

#include "runtime/src/session/Traffic.h"
#include "test/unit/session/Sessions.h"

#include <map>

namespace saddle::session {
namespace {

class TrafficTest : public testing::Test {
protected:
  /// Bytes of each command of the first layer, by op and place.
  std::map<std::string, uint64_t> bytesOfStep(const Tokens &prompt,
                                              const Tokens &next,
                                              const TinyOptions &tiny = {}) {
    auto session = open(tiny);
    uint32_t a = *session->addSequence(), b = *session->addSequence();
    step(*session, {{a, prompt, LogitsWanted::None}});
    std::map<std::string, uint64_t> bytes;
    session->setTrace([&](const TraceEvent &event) {
      bytes[std::string(event.op) + " " + event.place] = event.bytes;
    });
    step(*session,
         {{a, next, LogitsWanted::Last}, {b, next, LogitsWanted::None}});
    return bytes;
  }
};

TEST_F(TrafficTest, DecodeOfTwoSequences) {
  auto bytes = bytesOfStep({1, 2, 3, 4, 5}, {6});
  // Two token ids, two rows of the table (8 bf16) and of the output (8 f32).
  EXPECT_EQ(bytes.at("embedding model.embed_tokens"), 2 * (4 + 16 + 32u));
  // x [2, 16], w [8, 16] bf16, out [2, 8].
  EXPECT_EQ(bytes.at("linear model.layers.0.self_attn.o_proj"),
            2 * 64 + 256 + 2 * 32u);
  // The caches hold 6 tokens of one sequence and 1 of the other, 8 values each
  // twice; q, positions, sequences, out for two tokens; 7 tokens are one whole
  // page of four in the table.
  EXPECT_EQ(bytes.at("attention model.layers.0.self_attn.attention"),
            7 * 2 * 32 + 2 * (64 + 4 + 4 + 64) + 4u);
  // k and v in, k and v into the cache, two slots.
  EXPECT_EQ(bytes.at("kv_append model.layers.0.self_attn.kv"),
            2 * (32 + 32 + 4 + 32 + 32u));
  // Only the row of the sequence whose logits are wanted.
  EXPECT_EQ(bytes.at("linear lm_head"), 32 + 256 + 64u);
}

TEST_F(TrafficTest, StateOfSequencesIsReadAndWritten) {
  TinyOptions tiny;
  tiny.recurrent = true;
  auto bytes = bytesOfStep({1, 2, 3}, {6}, tiny);
  // Two tokens with q, k and v of four heads of 4, a position, a sequence and
  // the output; two states of four matrices of 4 x 4, both ways.
  EXPECT_EQ(bytes.at("decay_scan model.layers.0.self_attn.scan"),
            2 * (3 * 64 + 4 + 4 + 64) + 2 * 2 * 4 * 64u);
}

TEST_F(TrafficTest, ExpertsMoveTheBytesOfThoseThatWereHit) {
  auto session = open({});
  uint32_t a = *session->addSequence(), b = *session->addSequence();
  uint64_t bytes = 0;
  Routing routing;
  session->setTrace([&](const TraceEvent &event) {
    bool isExperts = std::string(event.op) == "experts";
    EXPECT_EQ(event.routing.held, isExperts ? 4u : 0u) << event.op;
    if (isExperts) {
      bytes = event.bytes;
      routing = event.routing;
    }
  });
  // The same token at the start of both: two of four experts, both twice.
  const Tokens six = {6};
  step(*session, {{a, six, LogitsWanted::Last}, {b, six, LogitsWanted::None}});
  EXPECT_EQ(routing.hit, 2u);
  // Four choices of four experts, two at a time: 4 * (1 - (1 - 2/4)^2).
  EXPECT_DOUBLE_EQ(routing.independent, 3);
  // Of w13 [4, 8, 8] and w2 [4, 8, 4] in bf16 a half. Besides x and out [2, 8],
  // weights and experts [2, 2].
  EXPECT_EQ(bytes, 256 + 128 + 2 * (32 + 8 + 8) + 2 * 32u);
}

TEST_F(TrafficTest, RanksCountTheExpertsThatTheyHold) {
  TinyOptions tiny;
  tiny.tp = tiny.ep = 4;
  auto session = open(tiny);
  std::map<uint32_t, uint64_t> hits;
  session->setTrace([&](const TraceEvent &event) {
    if (event.routing.held == 0)
      return;
    EXPECT_EQ(event.routing.held, 1u);
    EXPECT_DOUBLE_EQ(event.routing.independent, 0.5); // 2 of 4 choices
    hits[event.rank] = event.routing.hit;
  });
  const Tokens six = {6};
  step(*session, {{*session->addSequence(), six, LogitsWanted::Last}});
  ASSERT_EQ(hits.size(), 4u);
  EXPECT_EQ(hits[0] + hits[1] + hits[2] + hits[3], 2u);
}

TEST_F(TrafficTest, ExchangesHaveTheirGroupAndTheirBytes) {
  TinyOptions tiny;
  tiny.tp = 4;
  tiny.dp = 2;
  auto session = open(tiny);
  std::map<std::string, Exchange> exchanges;
  session->setTrace([&](const TraceEvent &event) {
    EXPECT_EQ(event.chain.functions, 0u) << event.op; // of a device
    EXPECT_EQ(event.chain.steps, event.exchange.kind == Exchange::None)
        << event.op;
    if (event.rank == 0)
      exchanges[std::string(event.op) + " " + event.place] = event.exchange;
  });
  const Tokens six = {6, 7};
  uint32_t a = *session->addSequence(), b = *session->addSequence();
  step(*session, {{a, six, LogitsWanted::Last}, {b, six, LogitsWanted::Last}});
  auto expect = [&](const char *name, Exchange::Kind kind, uint32_t ranks,
                    uint64_t bytes) {
    ASSERT_TRUE(exchanges.count(name)) << name;
    EXPECT_EQ(exchanges[name].kind, kind) << name;
    EXPECT_EQ(exchanges[name].ranks, ranks) << name;
    EXPECT_EQ(exchanges[name].bytes, bytes) << name;
  };
  for (auto &[name, exchange] : exchanges)
    if (exchange.kind == Exchange::None)
      EXPECT_EQ(exchange.bytes, 0u) << name;
  // Two tokens of this replica, eight f32 each; of both replicas twice that.
  expect("all_reduce_sum model.layers.0.self_attn.o_proj", Exchange::Sum, 2,
         2 * 32);
  size_t gathers = 0, scatters = 0;
  for (auto &[name, exchange] : exchanges) {
    if (exchange.ranks == 2 && exchange.bytes == 4 * 32) {
      gathers += exchange.kind == Exchange::Gather;
      scatters += exchange.kind == Exchange::Scatter;
    }
  }
  EXPECT_GE(gathers, 1u);
  EXPECT_GE(scatters, 1u);
}

TEST_F(TrafficTest, ProductsAreCounted) {
  auto session = open({});
  std::map<std::string, Operations> operations;
  session->setTrace([&](const TraceEvent &event) {
    operations[std::string(event.op) + " " + event.place] = event.operations;
  });
  uint32_t a = *session->addSequence(), b = *session->addSequence();
  const Tokens prompt = {1, 2, 3}, six = {6};
  step(*session, {{a, prompt, LogitsWanted::None}});
  step(*session, {{a, six, LogitsWanted::Last}, {b, six, LogitsWanted::None}});
  auto of = [&](const char *name) { return operations.at(name).all; };
  // Two tokens with w [8, 16]; one row with [16, 8].
  EXPECT_EQ(of("linear model.layers.0.self_attn.o_proj"), 2 * 2 * 8 * 16.0);
  EXPECT_EQ(of("linear lm_head"), 2 * 16 * 8.0);
  // 4 + 1 positions, 16 columns of queries, with keys and with values.
  EXPECT_EQ(of("attention model.layers.0.self_attn.attention"),
            2 * 2 * 5 * 16.0);
  // Two tokens, two experts each, w13 [8, 8] and w2 [8, 4].
  EXPECT_EQ(of("experts model.layers.0.block_sparse_moe.experts"),
            2 * 4 * (64 + 32.0));
  EXPECT_EQ(of("embedding model.embed_tokens"), 0);
  for (auto &[name, each] : operations)
    EXPECT_EQ(each.e4m3, 0) << name; // bf16 weights
}

} // namespace
} // namespace saddle::session
