#include "test/unit/cpu/KernelFixture.h"

#include <algorithm>
#include <cstring>

namespace saddle::cpu {
namespace {

TEST(CandidatesTest, LargestFirstAndTiesTakeTheLowerToken) {
  Tensor logits =
      Tensor(DType::F32, {2, 5}, 3).fill({1, 7, 7, -2, 7, 0, -1, 0, 5, -9});
  Tensor values(DType::F32, {2, 3}, 2), tokens(DType::I32, {2, 3}, 1);
  KernelBuilder kernel("top_candidates");
  // Rank 3 of 4 shares of 5 tokens begins at token 15.
  kernel.rank("vocab_start", 0, 1, 4, 5);
  launch(kernel, {&logits, &values, &tokens}, 2, {DType::F32, DType::F32, 3});
  const int expectedTokens[2][3] = {{16, 17, 19}, {18, 15, 17}};
  const double expectedValues[2][3] = {{7, 7, 7}, {5, 0, 0}};
  for (int row = 0; row < 2; ++row)
    for (int j = 0; j < 3; ++j) {
      EXPECT_EQ(tokens.at(row, j), expectedTokens[row][j]);
      EXPECT_EQ(values.at(row, j), expectedValues[row][j]);
    }
}

TEST(CandidatesTest, NanComesFirstAndZerosAreEqual) {
  Tensor logits =
      Tensor(DType::F32, {1, 6}).fill({-0.0, INFINITY, NAN, 0, NAN, -INFINITY});
  Tensor values(DType::F32, {1, 6}), tokens(DType::I32, {1, 6});
  KernelBuilder kernel("top_candidates");
  kernel.rank("vocab_start", 0, 1, 1, 0);
  launch(kernel, {&logits, &values, &tokens}, 1);
  const int expected[] = {2, 4, 1, 0, 3, 5};
  for (int j = 0; j < 6; ++j)
    EXPECT_EQ(tokens.at(0, j), expected[j]);
  EXPECT_TRUE(std::isnan(values.at(0, 1)));
  EXPECT_EQ(values.at(0, 2), INFINITY);
  EXPECT_EQ(values.at(0, 5), -INFINITY);
}

TEST(CandidatesTest, TokensOfAReducedVocabularyAreMapped) {
  Tensor tokens = Tensor(DType::I32, {2, 3}, 2).fill({0, 3, 1, -1, 4, 2});
  Tensor table(DType::I64, {4}), out(DType::I32, {2, 3}, 1);
  const int64_t offsets[] = {0, 5, 5, 196};
  std::memcpy(table.view.data, offsets, sizeof offsets);
  KernelBuilder kernel("map_tokens");
  launch(kernel, {&tokens, &table, &out}, 2);
  // The last two rows' first tokens lie outside the table.
  const int expected[2][3] = {{0, 199, 6}, {-1, 4, 7}};
  for (int row = 0; row < 2; ++row)
    for (int j = 0; j < 3; ++j)
      EXPECT_EQ(out.at(row, j), expected[row][j]);
}

TEST(CandidatesTest, OneCandidateOfOneLogit) {
  Tensor logits = Tensor(DType::F32, {3, 1}, 1).fill({-3, 4, 5});
  Tensor values(DType::F32, {3, 1}, 1), tokens(DType::I32, {3, 1}, 1);
  KernelBuilder kernel("top_candidates");
  kernel.rank("vocab_start", 2, 1, 1, 0);
  launch(kernel, {&logits, &values, &tokens}, 2);
  EXPECT_EQ(values.at(0, 0), -3);
  EXPECT_EQ(values.at(1, 0), 4);
  EXPECT_EQ(tokens.at(1, 0), 2);
}

TEST(CandidatesTest, MergedSharesAreTheCandidatesOfTheWhole) {
  // Values of 9 steps, so that there are ties within and across the shares.
  constexpr uint64_t rows = 4, vocab = 120, shares = 4, kept = 17;
  Tensor logits = Tensor(DType::F32, {rows, vocab}).random(7);
  std::vector<double> coarse;
  for (uint64_t i = 0; i < rows; ++i)
    for (uint64_t j = 0; j < vocab; ++j)
      coarse.push_back(std::round(3 * logits.at(i, j)) / 3);
  std::vector<double> values, tokens;
  auto sorted = [&](uint64_t row, uint64_t first, uint64_t count) {
    std::vector<uint64_t> order(count);
    for (uint64_t j = 0; j < count; ++j)
      order[j] = first + j;
    std::sort(order.begin(), order.end(), [&](uint64_t a, uint64_t b) {
      double x = coarse[row * vocab + a], y = coarse[row * vocab + b];
      return x != y ? x > y : a < b;
    });
    return order;
  };
  for (uint64_t row = 0; row < rows; ++row)
    for (uint64_t share = 0; share < shares; ++share) {
      auto order = sorted(row, share * vocab / shares, vocab / shares);
      for (uint64_t j = 0; j < kept; ++j) {
        tokens.push_back(double(order[j]));
        values.push_back(coarse[row * vocab + order[j]]);
      }
    }
  Tensor given = Tensor(DType::F32, {rows, shares * kept}, 1).fill(values);
  Tensor givenTokens =
      Tensor(DType::I32, {rows, shares * kept}, 2).fill(tokens);
  Tensor merged(DType::F32, {rows, kept}),
      mergedTokens(DType::I32, {rows, kept});
  KernelBuilder kernel("merge_candidates");
  launch(kernel, {&given, &givenTokens, &merged, &mergedTokens}, rows);
  for (uint64_t row = 0; row < rows; ++row) {
    auto order = sorted(row, 0, vocab);
    for (uint64_t j = 0; j < kept; ++j) {
      EXPECT_EQ(mergedTokens.at(row, j), double(order[j]));
      EXPECT_EQ(merged.at(row, j), float(coarse[row * vocab + order[j]]));
    }
  }
}

} // namespace
} // namespace saddle::cpu
