#include "test/gpu/KernelCheck/ChoiceSlack.h"

#include "test/unit/cpu/KernelFixture.h"

namespace saddle::check {
namespace {

using cpu::KernelBuilder;
using cpu::Tensor;
using schema::DType;

/// x, weights of norm and router, bias; norm, weights, experts; logits between.
const schema::Kernel &normRouter(KernelBuilder &kernel) {
  kernel.step("rms_norm", {0, 1, 4}).real("eps", 1e-6);
  kernel.step("linear", {4, 2, 7}).integer("act_group", 0);
  kernel.step("router_topk", {7, 3, 5, 6}).real("routed_scale", 1);
  return kernel.temporary(DType::F32, {3}).build();
}

struct Case {
  explicit Case(double last = 1)
      : norm(Tensor(DType::BF16, {2, 2}).fill({1, 1, 1, last})) {}

  Tensor x = Tensor(DType::BF16, {2, 2}).fill({1, 1, 1, 1});
  Tensor gamma = Tensor(DType::F32, {2}).fill({1, 1});
  Tensor router = Tensor(DType::F32, {3, 2}).fill({0, 8, 4, 0, 100, 100});
  Tensor bias = Tensor(DType::F32, {3}).fill({0, 0, 0});
  Tensor norm;
  Tensor weights = Tensor(DType::F32, {2, 2}).fill({0.5, 0.25, 0.5, 0.25});
  Tensor experts = Tensor(DType::I32, {2, 2}).fill({0, 1, 1, 0});

  std::vector<View> views() {
    return cpu::viewsOf(
        {&x, &gamma, &router, &bias, &norm, &weights, &experts});
  }
};

TEST(ChoiceSlack, WhatRowsDifferByMovesWeights) {
  KernelBuilder kernel("rms_norm_router");
  // Row 1's second column one bf16 step below: logits move by 8 / 256 and 0.
  Case expected, found(1 - 1.0 / 256);
  auto result =
      choiceSlack(normRouter(kernel), expected.views(), found.views(), {0, 1});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->weights, 5u);
  double most = 8.0 / 256;
  ASSERT_EQ(result->slack.size(), 2u);
  EXPECT_EQ(result->slack[0], (std::vector<float>{0, 0}));
  EXPECT_FLOAT_EQ(result->slack[1][0], 2 * most * 0.5);
  EXPECT_FLOAT_EQ(result->slack[1][1], 2 * most * 0.25);
}

TEST(ChoiceSlack, RowsOfASampleStandElsewhere) {
  KernelBuilder kernel("rms_norm_router");
  Case expected, found(1 - 1.0 / 256);
  // The reference's first row is that of the device's second one.
  auto result =
      choiceSlack(normRouter(kernel), expected.views(), found.views(), {1});
  ASSERT_TRUE(result);
  ASSERT_EQ(result->slack.size(), 1u);
  EXPECT_GT(result->slack[0][0], 0);
}

TEST(ChoiceSlack, KernelsWithoutARowInFrontHaveNone) {
  KernelBuilder kernel("router_topk");
  kernel.real("routed_scale", 1);
  Tensor logits = Tensor(DType::F32, {1, 3}).fill({1, 2, 3});
  Case the;
  auto views = cpu::viewsOf({&logits, &the.bias, &the.weights, &the.experts});
  EXPECT_FALSE(choiceSlack(kernel.build(), views, views, {0}));
}

} // namespace
} // namespace saddle::check
