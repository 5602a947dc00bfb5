#include "runtime/src/sample/Sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace saddle::sample {
namespace {

using testing::ElementsAre;

Sampler make(const SamplerOptions &options) {
  auto sampler = Sampler::create(options);
  EXPECT_TRUE(sampler.ok()) << sampler.status().message();
  return *sampler;
}

/// How often each token was drawn.
std::map<int32_t, int> draw(const SamplerOptions &options,
                            const std::vector<float> &logits, int times) {
  Sampler sampler = make(options);
  std::map<int32_t, int> counts;
  for (int i = 0; i < times; ++i) {
    auto token = sampler.sample(logits.data(), logits.size());
    EXPECT_TRUE(token.ok()) << token.status().message();
    ++counts[*token];
  }
  return counts;
}

SamplerOptions options(double temperature, uint64_t topK, double topP,
                       uint64_t seed = 1) {
  SamplerOptions result;
  result.temperature = temperature;
  result.topK = topK;
  result.topP = topP;
  result.seed = seed;
  return result;
}

TEST(SamplerTest, GreedyTakesTheFirstOfTheLargest) {
  EXPECT_THAT(draw({}, {1, 3, 3, 2}, 3), ElementsAre(std::pair(1, 3)));
  EXPECT_THAT(draw({}, {-INFINITY, -5}, 1), ElementsAre(std::pair(1, 1)));
}

TEST(SamplerTest, TheGeneratorIsSplitMix64) {
  // The published test vector: the first outputs for seed 1234567.
  const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u,
                               9817491932198370423u, 4593380528125082431u,
                               16408922859458223821u};
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(uniform(1234567, i), double(expected[i] >> 11) * 0x1p-53);
}

TEST(SamplerTest, FrequenciesFollowTheSoftmax) {
  // Weights 1 : 2 : 4 at temperature 1, 1 : 4 : 16 at 0.5.
  std::vector<float> logits = {0, std::log(2.0f), std::log(4.0f)};
  constexpr int n = 70000;
  auto counts = draw(options(1, 0, 1), logits, n);
  for (int i = 0; i < 3; ++i) // 5 standard deviations are about 650
    EXPECT_NEAR(counts[i], n * std::pow(2, i) / 7, 700);
  counts = draw(options(0.5, 0, 1), logits, n);
  for (int i = 0; i < 3; ++i)
    EXPECT_NEAR(counts[i], n * std::pow(4, i) / 21, 700);
}

TEST(SamplerTest, TopKKeepsTheLargest) {
  auto counts = draw(options(1, 2, 1), {0, 1, 1, 1, -3}, 1000);
  ASSERT_EQ(counts.size(), 2u) << "ties: the lower indices";
  EXPECT_GT(counts[1], 400);
  EXPECT_GT(counts[2], 400);
  EXPECT_EQ(draw(options(1, 99, 1), {0, 0, 0}, 1000).size(), 3u);
  EXPECT_THAT(draw(options(5, 1, 1), {0, 2, 1}, 50),
              ElementsAre(std::pair(1, 50)));
}

TEST(SamplerTest, TopPKeepsTheSmallestSufficientSet) {
  // Probabilities 0.1, 0.2, 0.3, 0.4.
  std::vector<float> logits;
  for (float p : {0.1f, 0.2f, 0.3f, 0.4f})
    logits.push_back(std::log(p));
  EXPECT_EQ(draw(options(1, 0, 0.35), logits, 500).size(), 1u);
  auto counts = draw(options(1, 0, 0.65), logits, 7000);
  ASSERT_EQ(counts.size(), 2u);
  EXPECT_NEAR(counts[2], 3000, 300);
  EXPECT_NEAR(counts[3], 4000, 300);
  EXPECT_EQ(draw(options(1, 0, 0.95), logits, 5000).size(), 4u);
  // Top-k first: of {0.4, 0.3} renormalised, 0.57 suffices for 0.5.
  EXPECT_THAT(draw(options(1, 2, 0.5), logits, 100),
              ElementsAre(std::pair(3, 100)));
}

TEST(SamplerTest, SeedsRepeatAndDiffer) {
  std::vector<float> logits(100, 0.0f);
  auto sequence = [&](uint64_t seed) {
    Sampler sampler = make(options(1, 0, 1, seed));
    std::vector<int32_t> tokens;
    for (int i = 0; i < 20; ++i)
      tokens.push_back(*sampler.sample(logits.data(), logits.size()));
    return tokens;
  };
  EXPECT_EQ(sequence(7), sequence(7));
  EXPECT_NE(sequence(7), sequence(8));
  // 100 equal weights: token = floor(100 u).
  std::vector<int32_t> expected;
  for (int i = 0; i < 20; ++i)
    expected.push_back(int32_t(100 * uniform(7, i)));
  EXPECT_EQ(sequence(7), expected);
}

TEST(SamplerTest, RefusesBadOptions) {
  EXPECT_EQ(Sampler::create(options(-1, 0, 1)).status().message(),
            "temperature -1: expected a finite number of 0 or more");
  EXPECT_FALSE(Sampler::create(options(NAN, 0, 1)).ok());
  EXPECT_FALSE(Sampler::create(options(INFINITY, 0, 1)).ok());
  EXPECT_EQ(Sampler::create(options(1, 0, 0)).status().message(),
            "top-p 0: expected more than 0 and at most 1");
  EXPECT_FALSE(Sampler::create(options(1, 0, 1.5)).ok());
  EXPECT_FALSE(Sampler::create(options(1, 0, NAN)).ok());
}

TEST(SamplerTest, RefusesBadLogits) {
  Sampler sampler = make({});
  auto message = [&](std::vector<float> logits) {
    return sampler.sample(logits.data(), logits.size()).status().message();
  };
  EXPECT_EQ(message({1, NAN}), "logit 1 of 2 is nan, expected a finite number");
  EXPECT_EQ(message({INFINITY}),
            "logit 0 of 1 is inf, expected a finite number");
  EXPECT_EQ(message({-INFINITY, -INFINITY}), "all 2 logits are excluded");
  EXPECT_EQ(message({}), "all 0 logits are excluded");
}

/// The candidates of `logits`: largest first, ties by token.
std::pair<std::vector<float>, std::vector<int32_t>>
candidatesOf(const std::vector<float> &logits, size_t count) {
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = int32_t(i);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    float x = logits[size_t(a)], y = logits[size_t(b)];
    return x != y ? x > y : a < b;
  });
  order.resize(count);
  std::vector<float> values;
  for (int32_t token : order)
    values.push_back(logits[size_t(token)]);
  return {values, order};
}

TEST(SamplerTest, CandidatesGiveTheTokensOfTheWholeRow) {
  // 200 logits of 21 values, so many are equal, also around the k-th; some are
  // excluded. At 1e9 all weights are nearly the same.
  std::vector<float> logits;
  for (int i = 0; i < 200; ++i)
    logits.push_back(i % 17 == 3 ? -INFINITY : float(i * 37 % 21) - 10);
  constexpr size_t count = 16;
  auto [values, tokens] = candidatesOf(logits, count);
  for (double temperature : {0.0, 0.3, 1.0, 1e9})
    for (uint64_t topK : {1, 5, 16})
      for (double topP : {1.0, 0.6}) {
        Sampler whole = make(options(temperature, topK, topP, 5));
        Sampler few = make(options(temperature, topK, topP, 5));
        for (int i = 0; i < 50; ++i) {
          auto expected = whole.sample(logits.data(), logits.size());
          auto found =
              few.sampleCandidates(values.data(), tokens.data(), count);
          ASSERT_TRUE(expected.ok() && found.ok());
          EXPECT_EQ(*found, *expected)
              << temperature << " " << topK << " " << topP << " draw " << i;
        }
      }
}

TEST(SamplerTest, LargerLogitsGoFirstEvenWhenWeightsAreEqual) {
  // exp(-1e-20) is 1 in double, so the weights do not tell the tokens apart.
  EXPECT_THAT(draw(options(1e20, 1, 1), {1, 2}, 3),
              ElementsAre(std::pair(1, 3)));
}

TEST(SamplerTest, CandidatesThatDoNotSufficeAreRefused) {
  EXPECT_TRUE(needsOnly(options(0, 0, 1), 1));
  EXPECT_FALSE(needsOnly(options(0, 0, 1), 0));
  EXPECT_TRUE(needsOnly(options(1, 2, 1), 2));
  EXPECT_FALSE(needsOnly(options(1, 3, 1), 2));
  EXPECT_FALSE(needsOnly(options(1, 0, 0.5), 2));
  const float values[] = {2, 1};
  const int32_t tokens[] = {7, 9};
  Sampler sampler = make(options(1, 3, 1));
  EXPECT_EQ(sampler.sampleCandidates(values, tokens, 2).status().message(),
            "temperature 1 and top-k 3 need whole rows of logits, or a top-k "
            "of 1 to 2 for 2 candidates");
}

TEST(SamplerTest, BadCandidatesAreNamed) {
  Sampler sampler = make({});
  const int32_t tokens[] = {7, 9};
  auto message = [&](float first) {
    const float values[] = {first, -INFINITY};
    return sampler.sampleCandidates(values, tokens, 2).status().message();
  };
  EXPECT_EQ(message(NAN), "the logit of token 7 is nan, expected a finite "
                          "number");
  EXPECT_EQ(message(INFINITY), "the logit of token 7 is inf, expected a finite "
                               "number");
  EXPECT_EQ(message(-INFINITY), "all 2 candidates are excluded");
}

} // namespace
} // namespace saddle::sample
