#include "test/unit/cuda-plans/PlanFixture.h"

namespace saddle::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using ProductsPlanTest = PlanTest;

TEST_F(ProductsPlanTest, OddLinearIsOneFunction) {
  KernelPlan p = plan(
      launch("linear",
             {operand("x", f32(), {5, 35}, 40), operand("w", f16(), {10, 35}),
              operand("out", f32(), {5, 10})},
             {{"act_group", 0}}));
  EXPECT_THAT(p.headers, ElementsAre("impls/linear.cuh"));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_EQ(p.functions[0].body,
            "linearAnyShape<1, Matrix<f32, 5, 35, 40>, Matrix<f16, 10, 35, "
            "35>, Matrix<f32, 5, 10, 10>, Unscaled>(p, p.operands[0]);");
  // 2 blocks of four tokens x 10 rows = 20 warps, 8 in a CTA.
  EXPECT_EQ(p.functions[0].grid[0], 3u);
  EXPECT_EQ(p.functions[0].block, 256u);
  EXPECT_EQ(p.workspaceBytes, 0u);
}

TEST_F(ProductsPlanTest, OddScaledLinearRoundsFirst) {
  KernelPlan p = plan(launch(
      "linear_scaled",
      {operand("x", bf16(), {5, 35}), operand("w", e4m3(), {10, 35}),
       operand("scale", f32(), {3, 5}), operand("out", bf16(), {5, 10}, 12)},
      {{"act_group", 16}, {"block_rows", 4}, {"block_cols", 8}}));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_EQ(p.functions[0].body,
            "roundToGroups<1, 16, Matrix<bf16, 5, 35, 35>>(p, p.operands[0], "
            "p.workspace);");
  // 5 rows x 3 groups of at most 16 values, a warp each.
  EXPECT_EQ(p.functions[0].grid[0], 2u);
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("BlockScaled<Matrix<f32, 3, 5, 5>, 4, 8>"));
  EXPECT_EQ(p.workspaceBytes, 5u * 35 * 4);
}

TEST_F(ProductsPlanTest, ExpertsOfAnyShape) {
  KernelPlan p = plan(launch(
      "experts",
      {operand("x", f32(), {3, 35}), operand("weights", f32(), {3, 2}),
       operand("experts", i32(), {3, 2}), operand("w13", f32(), {4, 20, 35}),
       operand("w2", f32(), {4, 35, 10}), operand("out", f32(), {3, 35})},
      {{"act_group", 16}}));
  ASSERT_EQ(p.functions.size(), 4u);
  // x rounded, then 3 tokens x 2 choices x 10 activations.
  EXPECT_EQ(p.workspaceBytes, 4u * (3 * 35 + 3 * 2 * 10));
  EXPECT_THAT(p.functions[3].body,
              HasSubstr("static_cast<float *>(p.workspace) + 105"));
  // 60 activations, a warp each.
  EXPECT_EQ(p.functions[1].grid[0], 8u);
}

TEST_F(ProductsPlanTest, ExpertsWithGapsAreRefused) {
  Operand w13 = operand("w13", f32(), {4, 20, 35});
  w13.strides[0] = 1000;
  EXPECT_EQ(
      errorOf(launch(
          "experts",
          {operand("x", f32(), {3, 35}), operand("weights", f32(), {3, 2}),
           operand("experts", i32(), {3, 2}), w13,
           operand("w2", f32(), {4, 35, 10}), operand("out", f32(), {3, 35})},
          {{"act_group", 0}})),
      "operand \"w13\" of experts: one expert begins 1000 elements after "
      "the last, expected its 20 rows of 35; experts must follow each "
      "other without a gap");
}

} // namespace
} // namespace saddle::cuda
