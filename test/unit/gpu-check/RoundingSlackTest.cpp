#include "test/gpu/KernelCheck/RoundingSlack.h"

#include "test/unit/cpu/KernelFixture.h"

namespace saddle::check {
namespace {

using cpu::KernelBuilder;
using cpu::Tensor;
using schema::DType;

/// One token, x = (1, 0), chooses expert 3 of those from 2 on with weight 0.5.
/// Its two gates are 2, its ups 28 and `up`; w2 is {{4, -6}, {7, 3}}.
/// `ofCodes`: x is (256, 0) times a factor of 1/256.
std::vector<std::vector<float>>
slackOf(double up, int64_t group, int32_t chosen = 3, bool ofCodes = false) {
  Tensor x = Tensor(DType::F32, {1, 2}).fill({1, 0});
  Tensor codes = Tensor(DType::F8E4M3, {1, 2}).fill({256, 0});
  Tensor factors = Tensor(DType::F32, {1, 1}).fill({1.0 / 256});
  Tensor weights = Tensor(DType::F32, {1, 1}).fill({0.5});
  Tensor experts = Tensor(DType::I32, {1, 1}).fill({double(chosen)});
  Tensor w13 = Tensor(DType::F32, {2, 4, 2})
                   .fill({9, 9, 9, 9, 9, 9, 9, 9, 2, 0, 2, 0, 28, 0, up, 0});
  Tensor w2 = Tensor(DType::F32, {2, 2, 2}).fill({9, 9, 9, 9, 4, -6, 7, 3});
  Tensor out(DType::F32, {1, 2});
  KernelBuilder kernel(ofCodes ? "experts_of_codes" : "experts");
  kernel.rank("expert_start", 2).integer("act_group", group);
  if (ofCodes)
    return roundingSlack(
        kernel.build(),
        cpu::viewsOf({&codes, &factors, &weights, &experts, &w13, &w2, &out}),
        0, 1);
  return roundingSlack(kernel.build(),
                       cpu::viewsOf({&x, &weights, &experts, &w13, &w2, &out}),
                       0, 1);
}

TEST(RoundingSlackTest, AValueBetweenTwoCodesMovesByAStep) {
  // Hidden values are 28 s and 17 s with s = silu(2): codes 448 and 272, which
  // is between 256 and 288. A step of 32 is 2 s.
  double s = 2 / (1 + std::exp(-2.0));
  auto slack = slackOf(17, 128);
  ASSERT_EQ(slack.size(), 1u);
  EXPECT_NEAR(slack[0][0], 0.5 * 6 * 2 * s, 1e-4);
  EXPECT_NEAR(slack[0][1], 0.5 * 3 * 2 * s, 1e-4);
}

TEST(RoundingSlackTest, OtherValuesStay) {
  // 18 is code 288; the first one, the largest, always 448.
  auto slack = slackOf(18, 128);
  ASSERT_EQ(slack.size(), 1u);
  EXPECT_EQ(slack[0], (std::vector<float>{0, 0}));
  // Another rank's expert.
  EXPECT_EQ(slackOf(17, 128, 4)[0], (std::vector<float>{0, 0}));
}

TEST(RoundingSlackTest, CodesAreTheirValues) {
  EXPECT_EQ(slackOf(17, 128, 3, /*ofCodes=*/true), slackOf(17, 128));
}

TEST(RoundingSlackTest, KernelsThatDoNotQuantiseHaveNone) {
  EXPECT_TRUE(slackOf(17, 0).empty());
}

} // namespace
} // namespace saddle::check
