#include "test/unit/cuda-plans/StoredFixture.h"

namespace saddle::cuda {
namespace {

using schema::CompanionKind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

using PackedPlanTest = StoredPlanTest;

TEST_F(PackedPlanTest, AFewTokensDivideColumnsAmongWarps) {
  KernelPlan p = plan(linear(3, 8192, 3072));
  EXPECT_THAT(p.headers, ElementsAre("impls/linear_packed.cuh"));
  ASSERT_EQ(p.functions.size(), 1u);
  // 512 tiles of 16 rows. Two tiles for a CTA would make 256 CTAs, fewer than
  // two for each of 132 multiprocessors.
  EXPECT_EQ(p.functions[0].grid[0], 512u);
  // 3072 columns are 12 stages of 256, not two for each of eight warps; 24 of
  // 128 are three for each.
  EXPECT_THAT(p.functions[0].body,
              HasSubstr(", 1, PackedShape<128, 4, 1, 4, 1, 8>>(p, nullptr);"));
  EXPECT_TRUE(p.functions[0].waitsItself);
  EXPECT_EQ(p.workspaceBytes, 0u);
}

TEST_F(PackedPlanTest, SeveralBlocksOfTokensArePutInOrderOnce) {
  KernelPlan p = plan(linear(32, 8192, 3072));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_EQ(p.functions[0].body,
            "orderRows<1, 128, Matrix<bf16, 32, 3072, 3072>>(p, "
            "p.operands[0], p.workspace);");
  EXPECT_EQ(p.workspaceBytes, 32u * 3072 * 2);
  // Two blocks of 16 tokens.
  EXPECT_EQ(p.functions[1].grid[1], 2u);
  EXPECT_THAT(p.functions[1].body, HasSubstr(", 1, PackedShape<128, "));
}

TEST_F(PackedPlanTest, GroupsDecideWhatIsReadTogether) {
  auto shapeOf = [&](LaunchDesc launch) {
    return plan(launch).functions[0].body;
  };
  EXPECT_THAT(shapeOf(linear(3, 256, 3072, 64)), HasSubstr("PackedShape<64, "));
  EXPECT_THAT(shapeOf(linear(3, 256, 3072, 32)), HasSubstr("PackedShape<32, "));
  // 192 columns are no units of 128.
  EXPECT_THAT(shapeOf(linear(3, 256, 192, 64)), HasSubstr("PackedShape<64, "));
  // Scales of one byte multiply codes, so their groups need not be units.
  LaunchDesc nvfp4 = launch("linear",
                            {operand("x", bf16(), {3, 3072}),
                             codes("w", {256}, 3072, schema::Codes::E2M1),
                             of("w_scale", e4m3(), {256}, 3072, 16),
                             of("w_global_scale", f32(), {1}, 3072, 3072,
                                CompanionKind::GLOBAL_SCALE),
                             operand("out", bf16(), {3, 256})},
                            {{"act_group", 0}});
  nvfp4.operands[3].blockRows = 256;
  EXPECT_THAT(shapeOf(nvfp4), HasSubstr("PackedShape<128, "));
  LaunchDesc mxfp4 = launch("linear",
                            {operand("x", bf16(), {3, 3072}),
                             codes("w", {256}, 3072, schema::Codes::E2M1),
                             of("w_scale", e8m0(), {256}, 3072, 32),
                             operand("out", bf16(), {3, 256})},
                            {{"act_group", 0}});
  EXPECT_THAT(shapeOf(mxfp4), HasSubstr("PackedShape<128, "));
}

TEST_F(PackedPlanTest, WhatCannotStreamIsOfAnyShape) {
  auto isAnyShape = [&](LaunchDesc launch) {
    return plan(launch).headers[0] == "impls/linear.cuh";
  };
  EXPECT_FALSE(isAnyShape(linear(1, 256, 128)));
  EXPECT_TRUE(isAnyShape(linear(1, 250, 128)));     // tiles of 16 rows
  EXPECT_TRUE(isAnyShape(linear(1, 256, 144, 48))); // units of 32 columns
  LaunchDesc wide = linear(1, 256, 128);
  wide.operands[0].element = f32(); // tokens are bf16
  EXPECT_TRUE(isAnyShape(wide));
  LaunchDesc placed = linear(1, 256, 128);
  placed.operands[0].alignment = 16; // tokens are read by 16 bytes
  EXPECT_FALSE(isAnyShape(placed));
  placed.operands[0].alignment = 8;
  EXPECT_TRUE(isAnyShape(placed));
  LaunchDesc odd = linear(1, 256, 128);
  odd.operands[1].alignment = 8; // rows begin at multiples of 16 bytes
  EXPECT_TRUE(isAnyShape(odd));
  LaunchDesc shared = linear(3, 256, 128);
  shared.operands[2].blockRows = 8; // a row has scales of its own
  EXPECT_TRUE(isAnyShape(shared));
}

TEST_F(PackedPlanTest, MoreTokensAreSortedByExpert) {
  KernelPlan p = plan(experts(64, 768));
  ASSERT_EQ(p.functions.size(), 4u);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("prepareExpertsPacked<1, 128, Matrix<bf16, 64, 3072, "
                        "3072>, Matrix<i32, 64, 8, 8>>"));
  // 512 pairs over 256 experts in blocks of 4: at most 384 blocks. The second
  // product has two tokens for each of a block's.
  EXPECT_THAT(p.functions[1].body, HasSubstr("ExpertPlan<256, 512, 4>"));
  // The last operand is the result.
  EXPECT_THAT(p.functions[3].body,
              HasSubstr("combineExperts<1, " +
                        std::to_string(experts(64, 768).operands.size() - 1) +
                        ", "));
  // 12 groups of eight tiles of rows for each block, 24 of the second product:
  // 4608 and 9216, 4 and 8 times 1056. Tokens have two buffers.
  EXPECT_THAT(p.functions[1].body,
              HasSubstr(", 4, 2, PackedShape<128, 8, 1, "));
  EXPECT_THAT(p.functions[2].body,
              HasSubstr(", 8, 2, PackedShape<128, 8, 1, "));
}

TEST_F(PackedPlanTest, BlocksGrowWithTheTokensOfAnExpert) {
  // 384 tokens are 12 for each expert. Room for the tokens of a block and their
  // rests is 12 warps' for one buffer.
  KernelPlan p = plan(experts(384, 1536));
  EXPECT_THAT(p.functions[1].body, HasSubstr("ExpertPlan<256, 3072, 16>"));
  EXPECT_THAT(p.functions[2].body, HasSubstr(", 1, PackedShape<128, 8, 4, "));
}

TEST_F(PackedPlanTest, ExpertsWithoutTilesAreOfAnyShape) {
  EXPECT_THAT(plan(experts(4, 768)).headers,
              ElementsAre("impls/experts_packed.cuh"));
  LaunchDesc launch = experts(4, 768);
  launch.operands[0].element = f32();
  EXPECT_THAT(plan(launch).headers, ElementsAre("impls/experts.cuh"));
}

} // namespace
} // namespace saddle::cuda
