// Synthetic weights: the same model whatever the topology.

#include "test/unit/weights/LoadedWeights.h"

#include <cmath>

using namespace saddle;
using Values = std::vector<float>;

namespace {

LoadedWeights load(uint32_t tp, uint32_t rank,
                   const std::string &spec = "synthetic:7",
                   schema::DType weights = schema::DType::BF16) {
  TinyOptions options;
  options.tp = tp;
  options.weights = weights;
  LoadedWeights loaded(*tinyEngine(options), spec, rank);
  EXPECT_TRUE(loaded.status.ok()) << loaded.status.message();
  return loaded;
}

Values part(const Values &values, size_t begin, size_t count) {
  return Values(values.begin() + begin, values.begin() + begin + count);
}

TEST(Synthetic, everyTopologySeesTheSameModel) {
  LoadedWeights whole = load(1, 0);
  LoadedWeights second = load(2, 1);
  // Rows 8..15 of the table, q heads 2 and 3, experts 2 and 3.
  EXPECT_EQ(second.values("model.embed_tokens.weight"),
            part(whole.values("model.embed_tokens.weight"), 64, 64));
  const std::string qkv = "model.layers.0.self_attn.qkv";
  EXPECT_EQ(part(second.values(qkv), 0, 64), part(whole.values(qkv), 64, 64));
  const std::string w13 = "model.layers.0.block_sparse_moe.w13";
  EXPECT_EQ(second.values(w13), part(whole.values(w13), 128, 128));
  // Columns 8..15 of row 0.
  const std::string o = "model.layers.0.self_attn.o_proj.weight";
  EXPECT_EQ(part(second.values(o), 0, 8), part(whole.values(o), 8, 8));
}

TEST(Synthetic, seedAndNameMatter) {
  const char *table = "model.embed_tokens.weight";
  EXPECT_EQ(load(1, 0).values(table), load(1, 0).values(table));
  EXPECT_NE(load(1, 0).values(table), load(1, 0, "synthetic:8").values(table));
  EXPECT_NE(load(1, 0).values(table), load(1, 0).values("lm_head.weight"));
}

/// An output of splitmix64 (Steele, Lea and Flood 2014) in the state `x`.
uint64_t splitmix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Devices make them by the same generator, and what a seed means is for ever.
TEST(Synthetic, valuesAreSplitmixes) {
  // The first numbers of the seed 0.
  constexpr uint64_t kStep = 0x9e3779b97f4a7c15u;
  ASSERT_EQ(splitmix(kStep), 0xe220a8397b1dcdafu);
  ASSERT_EQ(splitmix(2 * kStep), 0x6e789e6aa1b965f4u);
  LoadedWeights loaded = load(1, 0);
  auto source = WeightSource::open(loaded.engine->root(), "synthetic:7");
  ASSERT_TRUE(source.ok()) << source.status().message();
  const auto &sources = *loaded.engine->root().sources();
  for (uint32_t i = 0; i < sources.size(); ++i) {
    if (sources.Get(i)->name()->str() != "model.embed_tokens.weight")
      continue;
    const auto &made = (*source)->syntheticValues()->tensors[i];
    Values values = loaded.values("model.embed_tokens.weight");
    for (size_t j = 0; j < values.size(); ++j) {
      uint64_t bits = splitmix(made.streams[0] + j * kStep);
      float unit = float(int64_t(bits) >> 40) * 0x1p-23f;
      EXPECT_EQ(values[j],
                bf16ToFloat(floatToBf16(made.center + made.spread * unit)))
          << j;
    }
    return;
  }
  FAIL() << "no table of tokens";
}

double meanSquare(const Values &values) {
  double squares = 0;
  for (float value : values)
    squares += double(value) * value;
  return squares / double(values.size());
}

TEST(Synthetic, valuesHaveTheSizeThatTheirUseAsksFor) {
  LoadedWeights loaded = load(1, 0);
  for (float value : loaded.values("model.norm.weight"))
    EXPECT_NEAR(value, 1, 0.1 + 0.004); // rounded to bf16
  // Uniform with variance 1/8: within sqrt(3/8), mean square near 0.125. The
  // mean over 128 elements has a standard deviation of
  // 0.125 * sqrt(0.8 / 128) = 0.01.
  Values head = loaded.values("lm_head.weight");
  for (float value : head)
    EXPECT_LE(std::fabs(value), 0.6124 * 1.004);
  EXPECT_NEAR(meanSquare(head), 0.125, 0.04);
  // Tokens begin 8 large: mean square 64, deviation of it 64 * 0.08.
  EXPECT_NEAR(meanSquare(loaded.values("model.embed_tokens.weight")), 64, 20);
  // A router hardly prefers an expert.
  for (float value :
       loaded.values("model.layers.0.block_sparse_moe.e_score_correction_bias"))
    EXPECT_LE(std::fabs(value), 0.01);
}

/// What `tree` loads of a matrix after it got a scale for each of its rows.
Values withScale(schema::EngineT &tree, const std::string &matrix) {
  auto scale = std::make_unique<schema::SourceT>();
  scale->name = "the factors";
  scale->dtype = schema::DType::F32;
  scale->shape = {16, 1};
  scale->companion = schema::CompanionKind::SCALE;
  for (uint32_t i = 0; i < tree.sources.size(); ++i)
    if (tree.sources[i]->name == matrix)
      scale->companion_of = i + 1;
  scale->ignored_reason = "only its being there counts";
  tree.sources.push_back(std::move(scale));
  LoadedWeights loaded(tree, "synthetic:7", 0);
  EXPECT_TRUE(loaded.status.ok()) << loaded.status.message();
  return loaded.values(matrix);
}

TEST(Synthetic, matricesWithAScaleUseItsRange) {
  // Stored 256 times larger, so that codes are not subnormal; as they are
  // without a scale.
  TinyOptions options;
  options.weights = schema::DType::F8E4M3;
  auto tree = tinyEngine(options);
  const char *matrix = "lm_head.weight";
  EXPECT_NEAR(meanSquare(LoadedWeights(*tree, "synthetic:7", 0).values(matrix)),
              0.125, 0.04);
  EXPECT_NEAR(meanSquare(withScale(*tree, matrix)) / 65536, 0.125, 0.04);
  // The codes of a table are no larger than others'; its scale would be.
  const char *table = "model.embed_tokens.weight";
  EXPECT_NEAR(meanSquare(withScale(*tinyEngine(options), table)) / 65536, 0.125,
              0.04);
}

TEST(Synthetic, seedMustBeANumber) {
  for (const char *seed : {"", "x", "1x", "-1", " 1", "18446744073709551616"}) {
    std::string spec = std::string("synthetic:") + seed;
    LoadedWeights loaded(*tinyEngine(), spec, 0);
    EXPECT_EQ(loaded.status.message(),
              "weights \"" + spec + "\": \"" + seed +
                  "\" is no seed, expected a whole number from 0 to 2^64-1, as "
                  "in synthetic:7");
  }
  EXPECT_TRUE(LoadedWeights(*tinyEngine(), "synthetic:18446744073709551615", 0)
                  .status.ok());
}

} // namespace
