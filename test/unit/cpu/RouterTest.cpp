#include "test/unit/cpu/KernelFixture.h"

#include <algorithm>

namespace saddle::cpu {
namespace {

TEST(RouterTest, BiasChoosesAndScoresWeigh) {
  // Scores are sigmoid(0) = 0.5, sigmoid(ln 3) = 0.75, sigmoid(-ln 3) = 0.25.
  double l = std::log(3.0);
  Tensor logits = Tensor(DType::F32, {1, 4}, 1).fill({0, l, -l, 0});
  // With bias: 0.5, 0.75, 1.25, 0.9, so 2, 3 and 1 win in that order.
  Tensor bias = Tensor(DType::F32, {4}).fill({0, 0, 1, 0.4});
  Tensor weights(DType::F32, {1, 3}, 2), experts(DType::I32, {1, 3}, 1);
  KernelBuilder kernel("router_topk");
  launch(kernel.real("routed_scale", 2), {&logits, &bias, &weights, &experts},
         1);
  EXPECT_EQ(experts.at(0, 0), 2);
  EXPECT_EQ(experts.at(0, 1), 3);
  EXPECT_EQ(experts.at(0, 2), 1);
  // 0.25, 0.5, 0.75 over their sum 1.5, times 2.
  EXPECT_NEAR(weights.at(0, 0), 1.0 / 3, 1e-6);
  EXPECT_NEAR(weights.at(0, 1), 2.0 / 3, 1e-6);
  EXPECT_NEAR(weights.at(0, 2), 1.0, 1e-6);
}

TEST(RouterTest, TiesTakeTheLowerIndex) {
  Tensor logits = Tensor(DType::F32, {1, 5}).fill({0, 1, 0, 1, 1});
  Tensor bias = Tensor(DType::F32, {5}).fill({0, 0, 0, 0, 0});
  Tensor weights(DType::F32, {1, 4}), experts(DType::I32, {1, 4});
  KernelBuilder kernel("router_topk");
  launch(kernel.real("routed_scale", 1), {&logits, &bias, &weights, &experts},
         1);
  EXPECT_EQ(experts.at(0, 0), 1);
  EXPECT_EQ(experts.at(0, 1), 3);
  EXPECT_EQ(experts.at(0, 2), 4);
  EXPECT_EQ(experts.at(0, 3), 0);
}

TEST(RouterTest, AgreesWithASortOnRandomRows) {
  constexpr uint64_t tokens = 20, numExperts = 37, k = 5;
  Tensor logits = Tensor(DType::F32, {tokens, numExperts}, 3).random(1);
  Tensor bias = Tensor(DType::F32, {numExperts}).random(2, 0.3);
  Tensor weights(DType::F32, {tokens, k}), experts(DType::I32, {tokens, k});
  KernelBuilder kernel("router_topk");
  launch(kernel.real("routed_scale", 1.5), {&logits, &bias, &weights, &experts},
         tokens);
  for (uint64_t t = 0; t < tokens; ++t) {
    auto score = [&](int e) { return 1 / (1 + std::exp(-logits.at(t, e))); };
    std::vector<int> order(numExperts);
    for (uint64_t e = 0; e < numExperts; ++e)
      order[e] = e;
    std::sort(order.begin(), order.end(), [&](int x, int y) {
      double left = score(x) + bias.at(x), right = score(y) + bias.at(y);
      return left != right ? left > right : x < y;
    });
    double sum = 0;
    for (uint64_t j = 0; j < k; ++j)
      sum += score(order[j]);
    for (uint64_t j = 0; j < k; ++j) {
      EXPECT_EQ(experts.at(t, j), order[j]);
      EXPECT_NEAR(weights.at(t, j), score(order[j]) / sum * 1.5, 1e-6);
    }
  }
}

TEST(RouterTest, NanStillChoosesDistinctExperts) {
  Tensor logits = Tensor(DType::F32, {1, 3}).fill({NAN, NAN, NAN});
  Tensor bias = Tensor(DType::F32, {3}).fill({0, 0, 0});
  Tensor weights(DType::F32, {1, 2}), experts(DType::I32, {1, 2});
  KernelBuilder kernel("router_topk");
  launch(kernel.real("routed_scale", 1), {&logits, &bias, &weights, &experts},
         1);
  EXPECT_EQ(experts.at(0, 0), 0);
  EXPECT_EQ(experts.at(0, 1), 1);
}

TEST(SoftmaxRouterTest, WeightsAreRenormalised) {
  // Of e^0, e^ln 3 = 3, e^ln 2 = 2 the larger two: 3/5 and 2/5. Far from zero
  // nothing overflows.
  double two = std::log(2.0), three = std::log(3.0);
  Tensor logits = Tensor(DType::F32, {2, 3}, 1)
                      .fill({0, three, two, 1000 + two, 1000, 1000 + three});
  Tensor weights(DType::F32, {2, 2}, 2), experts(DType::I32, {2, 2}, 1);
  KernelBuilder kernel("softmax_topk");
  launch(kernel, {&logits, &weights, &experts}, 2);
  for (int t = 0; t < 2; ++t) {
    EXPECT_EQ(experts.at(t, 0), t ? 2 : 1);
    EXPECT_EQ(experts.at(t, 1), t ? 0 : 2);
    EXPECT_NEAR(weights.at(t, 0), 0.6, t ? 1e-4 : 1e-6);
    EXPECT_NEAR(weights.at(t, 1), 0.4, t ? 1e-4 : 1e-6);
  }
}

TEST(SoftmaxRouterTest, TiesAndNanTakeTheLowerIndex) {
  Tensor logits =
      Tensor(DType::F32, {2, 4}).fill({1, 2, 2, 1, NAN, NAN, NAN, NAN});
  Tensor weights(DType::F32, {2, 3}), experts(DType::I32, {2, 3});
  KernelBuilder kernel("softmax_topk");
  launch(kernel, {&logits, &weights, &experts}, 2);
  EXPECT_EQ(experts.at(0, 0), 1);
  EXPECT_EQ(experts.at(0, 1), 2);
  EXPECT_EQ(experts.at(0, 2), 0);
  for (int j = 0; j < 3; ++j)
    EXPECT_EQ(experts.at(1, j), j);
}

// sigmoid(0) = 1/2, sigmoid(ln 3) = 3/4; far from zero nothing overflows and
// what is left keeps its digits.
TEST(SharedGateTest, ATokenIsSharedOut) {
  Tensor weights = Tensor(DType::F32, {4, 2}, 1)
                       .fill({0.75, 0.25, 1, 0, 0.5, 0.5, 0.5, 0.5});
  Tensor logit =
      Tensor(DType::F32, {4, 1}, 2).fill({0, std::log(3.0), 40, -200});
  Tensor routed(DType::F32, {4, 2}, 1), shared(DType::F32, {4, 1}, 3),
      experts(DType::I32, {4, 1}, 1);
  KernelBuilder kernel("shared_gate");
  launch(kernel, {&weights, &logit, &routed, &shared, &experts}, 4);
  const double parts[] = {0.5, 0.75, 1, 0};
  for (int t = 0; t < 4; ++t) {
    EXPECT_NEAR(shared.at(t, 0), parts[t], 1e-6);
    EXPECT_EQ(experts.at(t, 0), 0);
  }
  EXPECT_NEAR(routed.at(0, 0), 0.375, 1e-6);
  EXPECT_NEAR(routed.at(0, 1), 0.125, 1e-6);
  EXPECT_NEAR(routed.at(1, 0), 0.25, 1e-6);
  EXPECT_EQ(routed.at(1, 1), 0);
  EXPECT_NEAR(routed.at(2, 0) / (0.5 * std::exp(-40.0)), 1, 1e-5);
  EXPECT_EQ(routed.at(3, 1), 0.5);
}

// As transformers writes it: softmax over all, the largest k, divided by their
// sum.
TEST(SoftmaxRouterTest, AgreesWithTheSoftmaxOverAll) {
  constexpr uint64_t tokens = 20, numExperts = 32, k = 2;
  Tensor logits = Tensor(DType::F32, {tokens, numExperts}, 3).random(1, 3);
  Tensor weights(DType::F32, {tokens, k}), experts(DType::I32, {tokens, k});
  KernelBuilder kernel("softmax_topk");
  launch(kernel, {&logits, &weights, &experts}, tokens);
  for (uint64_t t = 0; t < tokens; ++t) {
    std::vector<std::pair<double, int>> scores;
    double sum = 0;
    for (uint64_t e = 0; e < numExperts; ++e) {
      scores.emplace_back(-std::exp(logits.at(t, e)), int(e));
      sum -= scores.back().first;
    }
    std::sort(scores.begin(), scores.end());
    double first = -scores[0].first / sum, second = -scores[1].first / sum;
    EXPECT_EQ(experts.at(t, 0), scores[0].second);
    EXPECT_EQ(experts.at(t, 1), scores[1].second);
    EXPECT_NEAR(weights.at(t, 0), first / (first + second), 1e-6);
    EXPECT_NEAR(weights.at(t, 1), second / (first + second), 1e-6);
  }
}

} // namespace
} // namespace saddle::cpu
