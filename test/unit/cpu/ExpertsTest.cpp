#include "test/unit/cpu/KernelFixture.h"
#include "test/unit/cpu/Quantization.h"

#include <functional>

namespace saddle::cpu {
namespace {

constexpr uint64_t kTokens = 7, kHidden = 35, kInner = 10, kHeld = 3, kK = 2;
using Weight = std::function<double(int expert, int row, int column)>;

/// Expert ids of 6 experts; this rank holds kHeld of them.
Tensor chosenExperts() {
  return Tensor(DType::I32, {kTokens, kK}, 1)
      .fill({0, 1, 2, 3, 3, 4, 5, 3, 4, 3, 0, 5, 1, 2});
}

void expectMlps(const Tensor &x, const Tensor &weights, const Tensor &experts,
                const Tensor &out, uint64_t count, int start, size_t group,
                const Weight &w13, const Weight &w2) {
  for (uint64_t t = 0; t < count; ++t) {
    std::vector<double> input(kHidden), expected(kHidden), sizes(kHidden);
    for (uint64_t i = 0; i < kHidden; ++i)
      input[i] = x.at(t, i);
    input = quantized(input, group);
    for (uint64_t j = 0; j < kK; ++j) {
      int e = int(experts.at(t, j)) - start;
      if (e < 0 || e >= int(kHeld))
        continue;
      std::vector<double> inner(kInner);
      for (uint64_t r = 0; r < kInner; ++r) {
        double gate = 0, up = 0;
        for (uint64_t i = 0; i < kHidden; ++i) {
          gate += input[i] * w13(e, r, i);
          up += input[i] * w13(e, kInner + r, i);
        }
        inner[r] = gate / (1 + std::exp(-gate)) * up;
      }
      inner = quantized(inner, group);
      for (uint64_t i = 0; i < kHidden; ++i)
        for (uint64_t r = 0; r < kInner; ++r) {
          double term = weights.at(t, j) * inner[r] * w2(e, i, r);
          expected[i] += term;
          sizes[i] += std::fabs(term);
        }
    }
    // Next to a rounding boundary, fp32 and double may quantise `inner` to
    // neighbouring codes, 1/8 apart at most.
    double slack = group ? 0.07 : 4e-6;
    for (uint64_t i = 0; i < kHidden; ++i)
      EXPECT_NEAR(out.at(t, i), expected[i],
                  tolerance(out.view.dtype, expected[i], sizes[i]) +
                      slack * sizes[i])
          << "token " << t << " column " << i;
  }
}

using ExpertsParameters = std::tuple<DType, DType, int>;
class ExpertsTest : public testing::TestWithParam<ExpertsParameters> {};

TEST_P(ExpertsTest, AddsTheChosenExpertsHeldHere) {
  auto [a, w, group] = GetParam();
  Tensor x = Tensor(a, {kTokens, kHidden}, 3).random(1);
  Tensor weights = Tensor(DType::F32, {kTokens, kK}, 1).random(2);
  Tensor experts = chosenExperts();
  Tensor w13 = Tensor(w, {kHeld, 2 * kInner, kHidden}, 3).random(3, 0.3);
  Tensor w2 = Tensor(w, {kHeld, kHidden, kInner}, 2).random(4, 0.3);
  Tensor out = Tensor(a, {kTokens, kHidden}, 1).random(5);
  for (uint32_t rank : {0, 1}) { // rank 1 holds experts 3..5
    KernelBuilder kernel("experts");
    kernel.rank("expert_start", 0, 1, 2, kHeld).integer("act_group", group);
    launch(kernel, {&x, &weights, &experts, &w13, &w2, &out}, kTokens,
           {a, DType::F32, rank});
    expectMlps(
        x, weights, experts, out, kTokens, rank * kHeld, group,
        [&](int e, int row, int column) { return w13.at(e, row, column); },
        [&](int e, int row, int column) { return w2.at(e, row, column); });
  }
}

INSTANTIATE_TEST_SUITE_P(
    Storage, ExpertsTest,
    testing::Combine(testing::Values(DType::F32, DType::BF16),
                     testing::Values(DType::F32, DType::BF16, DType::F16,
                                     DType::F8E4M3),
                     testing::Values(0, 16)));

TEST(ExpertsTest, OfCodesAreWhatTheyMakeOfTheirInput) {
  Tensor x = Tensor(DType::BF16, {kTokens, kHidden}, 3).random(1);
  Tensor weights = Tensor(DType::F32, {kTokens, kK}, 1).random(2);
  Tensor experts = chosenExperts();
  Tensor w13 = Tensor(DType::BF16, {kHeld, 2 * kInner, kHidden}).random(3, 0.3);
  Tensor w2 = Tensor(DType::BF16, {kHeld, kHidden, kInner}).random(4, 0.3);
  Tensor codes(DType::F8E4M3, {kTokens, kHidden}, 1);
  Tensor factors(DType::F32, {kTokens, (kHidden + 15) / 16}, 3);
  Tensor expected(DType::BF16, {kTokens, kHidden}),
      found(DType::BF16, {kTokens, kHidden}, 2);
  KernelBuilder encode("encode_rows"), of("experts_of_codes"), plain("experts");
  launch(encode.integer("group", 16), {&x, &codes, &factors}, kTokens,
         {DType::BF16});
  of.rank("expert_start", 0, 1, 2, kHeld).integer("act_group", 16);
  plain.rank("expert_start", 0, 1, 2, kHeld).integer("act_group", 16);
  launch(of, {&codes, &factors, &weights, &experts, &w13, &w2, &found}, kTokens,
         {DType::BF16, DType::F32, 1});
  launch(plain, {&x, &weights, &experts, &w13, &w2, &expected}, kTokens,
         {DType::BF16, DType::F32, 1});
  for (uint64_t t = 0; t < kTokens; ++t)
    for (uint64_t i = 0; i < kHidden; ++i)
      EXPECT_EQ(found.at(t, i), expected.at(t, i));
}

TEST(ExpertsTest, NothingChosenHereIsZero) {
  Tensor x = Tensor(DType::F32, {2, 4}).random(1);
  Tensor weights = Tensor(DType::F32, {2, 1}).fill({1, 1});
  Tensor experts = Tensor(DType::I32, {2, 1}).fill({5, -3});
  Tensor w13 = Tensor(DType::F32, {1, 6, 4}).random(3);
  Tensor w2 = Tensor(DType::F32, {1, 4, 3}).random(4);
  Tensor out = Tensor(DType::F32, {2, 4}).random(5);
  KernelBuilder kernel("experts");
  kernel.rank("expert_start", 0).integer("act_group", 0);
  launch(kernel, {&x, &weights, &experts, &w13, &w2, &out}, 2);
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < 4; ++i)
      EXPECT_EQ(out.at(t, i), 0);
}

TEST(ExpertsTest, AnExpertNamedTwiceCountsTwice) {
  Tensor x = Tensor(DType::F32, {1, 4}).random(1);
  Tensor w13 = Tensor(DType::F32, {1, 6, 4}).random(3);
  Tensor w2 = Tensor(DType::F32, {1, 4, 3}).random(4);
  Tensor twice(DType::F32, {1, 4}), once(DType::F32, {1, 4});
  KernelBuilder kernel("experts");
  kernel.rank("expert_start", 0).integer("act_group", 0);
  Tensor weights2 = Tensor(DType::F32, {1, 2}).fill({0.25, 0.5});
  Tensor experts2 = Tensor(DType::I32, {1, 2}).fill({0, 0});
  launch(kernel, {&x, &weights2, &experts2, &w13, &w2, &twice}, 1);
  Tensor weights1 = Tensor(DType::F32, {1, 1}).fill({0.75});
  Tensor experts1 = Tensor(DType::I32, {1, 1}).fill({0});
  launch(kernel, {&x, &weights1, &experts1, &w13, &w2, &once}, 1);
  for (int i = 0; i < 4; ++i)
    EXPECT_NEAR(twice.at(0, i), once.at(0, i), 1e-5);
}

TEST(ExpertsTest, ATokenHasTheSameBitsInEveryBatch) {
  Tensor x = Tensor(DType::F32, {kTokens, kHidden}).random(1);
  Tensor weights = Tensor(DType::F32, {kTokens, kK}).random(2);
  Tensor experts = chosenExperts();
  Tensor w13 = Tensor(DType::BF16, {6, 2 * kInner, kHidden}).random(3);
  Tensor w2 = Tensor(DType::BF16, {6, kHidden, kInner}).random(4);
  Tensor batch(DType::F32, {kTokens, kHidden});
  KernelBuilder kernel("experts");
  kernel.rank("expert_start", 0).integer("act_group", 0);
  launch(kernel, {&x, &weights, &experts, &w13, &w2, &batch}, kTokens);
  for (uint64_t t = 0; t < kTokens; ++t) {
    Tensor row(DType::F32, {1, kHidden}), rowWeights(DType::F32, {1, kK});
    Tensor rowExperts(DType::I32, {1, kK}), alone(DType::F32, {1, kHidden});
    for (uint64_t i = 0; i < kHidden; ++i)
      row.set(x.at(t, i), 0, i);
    for (uint64_t j = 0; j < kK; ++j) {
      rowWeights.set(weights.at(t, j), 0, j);
      rowExperts.set(experts.at(t, j), 0, j);
    }
    launch(kernel, {&row, &rowWeights, &rowExperts, &w13, &w2, &alone}, 1);
    for (uint64_t i = 0; i < kHidden; ++i)
      EXPECT_EQ(alone.at(0, i), batch.at(t, i));
  }
}

TEST(ExpertsTest, BlockScalesOfBothMatrices) {
  // Odd blocks: 3 x 8 over [20, 35] and 16 x 3 over [35, 10].
  Tensor x = Tensor(DType::F32, {kTokens, kHidden}).random(1);
  Tensor weights = Tensor(DType::F32, {kTokens, kK}).random(2);
  Tensor experts = chosenExperts();
  Tensor w13 = Tensor(DType::F8E4M3, {kHeld, 2 * kInner, kHidden}, 1).random(3);
  Tensor w2 = Tensor(DType::F8E4M3, {kHeld, kHidden, kInner}, 1).random(4);
  Tensor scale13 = Tensor(DType::F32, {kHeld, 7, 5}, 1).random(6, 0.2);
  Tensor scale2 = Tensor(DType::F32, {kHeld, 3, 4}, 1).random(7, 0.2);
  Tensor out(DType::F32, {kTokens, kHidden}, 1);
  for (int group : {0, 16}) {
    KernelBuilder kernel("experts");
    kernel.rank("expert_start", 1).integer("act_group", group);
    kernel.scale(3, 8).scale(16, 3);
    launch(kernel, {&x, &weights, &experts, &w13, &scale13, &w2, &scale2, &out},
           kTokens - 1);
    expectMlps(
        x, weights, experts, out, kTokens - 1, 1, group,
        [&](int e, int row, int column) {
          return w13.at(e, row, column) * scale13.at(e, row / 3, column / 8);
        },
        [&](int e, int row, int column) {
          return w2.at(e, row, column) * scale2.at(e, row / 16, column / 3);
        });
  }
}

TEST(ExpertsTest, TheTwoMatricesMayBeStoredApart) {
  Tensor x = Tensor(DType::F32, {kTokens, kHidden}).random(1);
  Tensor weights = Tensor(DType::F32, {kTokens, kK}).random(2);
  Tensor experts = chosenExperts();
  Tensor w13 = Tensor(DType::BF16, {kHeld, 2 * kInner, kHidden}).random(3);
  Tensor w2 = Tensor(DType::F8E4M3, {kHeld, kHidden, kInner}, 1).random(4);
  Tensor scale = Tensor(DType::F32, {kHeld, kHidden, 1}, 1).random(7, 0.2);
  Tensor out(DType::F32, {kTokens, kHidden}, 1);
  KernelBuilder kernel("experts");
  kernel.rank("expert_start", 1).integer("act_group", 0);
  launch(kernel.plain().scale(1, kInner),
         {&x, &weights, &experts, &w13, &w2, &scale, &out}, kTokens);
  expectMlps(
      x, weights, experts, out, kTokens, 1, 0,
      [&](int e, int row, int column) { return w13.at(e, row, column); },
      [&](int e, int row, int column) {
        return w2.at(e, row, column) * scale.at(e, row, 0);
      });
}

} // namespace
} // namespace saddle::cpu
