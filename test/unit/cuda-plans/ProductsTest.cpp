#include "test/unit/cuda-plans/PlanFixture.h"

namespace saddle::cuda {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
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
            "linearAnyShape<1, Matrix<f32, 5, 35, 40>, "
            "StoredWeights<Matrix<f16, 10, 35, 35>>, Matrix<f32, 5, 10, 10>>"
            "(p, p.operands[0]);");
  // 2 blocks of four tokens x 10 rows = 20 warps, 8 in a CTA.
  EXPECT_EQ(p.functions[0].grid[0], 3u);
  EXPECT_EQ(p.functions[0].block, 256u);
  EXPECT_EQ(p.workspaceBytes, 0u);
}

TEST_F(ProductsPlanTest, OddScaledLinearRoundsFirst) {
  KernelPlan p = plan(launch(
      "linear",
      {operand("x", bf16(), {5, 35}), operand("w", e4m3(), {10, 35}),
       scale("w_scale", {3, 5}, 4, 8), operand("out", bf16(), {5, 10}, 12)},
      {{"act_group", 16}}));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_EQ(p.functions[0].body,
            "roundToGroups<1, 16, Matrix<bf16, 5, 35, 35>>(p, p.operands[0], "
            "p.workspace);");
  // 5 rows x 3 groups of at most 16 values, a warp each.
  EXPECT_EQ(p.functions[0].grid[0], 2u);
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("Companion<Matrix<f32, 3, 5, 5>, 4, 8>"));
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

TEST_F(ProductsPlanTest, OddRowsWithAScaleEachTakeKernelsOfAnyShape) {
  KernelPlan linear = plan(launch(
      "linear",
      {operand("x", bf16(), {2, 120}), operand("w", e4m3(), {16, 120}),
       scale("w_scale", {16, 1}, 1, 120), operand("out", bf16(), {2, 16})},
      {{"act_group", 120}}));
  EXPECT_THAT(linear.headers, ElementsAre("impls/linear.cuh"));
  EXPECT_THAT(linear.functions[1].body,
              HasSubstr("Companion<Matrix<f32, 16, 1, 1>, 1, 120>"));
  KernelPlan experts = plan(launch(
      "experts",
      {operand("x", bf16(), {2, 120}), operand("weights", f32(), {2, 2}),
       operand("experts", i32(), {2, 2}), operand("w13", e4m3(), {4, 64, 120}),
       scale("w13_scale", {4, 64, 1}, 1, 120),
       operand("w2", e4m3(), {4, 120, 32}),
       scale("w2_scale", {4, 120, 1}, 1, 32), operand("out", bf16(), {2, 120})},
      {{"act_group", 120}}));
  EXPECT_THAT(experts.headers, ElementsAre("impls/experts.cuh"));
  EXPECT_THAT(experts.functions[1].body,
              HasSubstr("Companion<Matrix<f32, 256, 1, 1>, 1, 120, 64>"));
  EXPECT_THAT(experts.functions[3].body,
              HasSubstr("Companion<Matrix<f32, 480, 1, 1>, 1, 32, 120>"));
}

TEST_F(ProductsPlanTest, PackedWeightsOfAnyShapeSayHowTheyAreStored) {
  Operand w = operand("w", u8(), {10, 18}); // 36 columns
  w.encoding = {schema::Codes::UINT, 2, 0};
  LaunchDesc odd = launch(
      "linear",
      {operand("x", f32(), {5, 36}), w,
       companion("w_scale", f32(), {10, 3}, 12, schema::CompanionKind::SCALE),
       companion("w_zero", u8(), {10, 3}, 12, schema::CompanionKind::ZERO),
       operand("out", f32(), {5, 10})},
      {{"act_group", 0}});
  KernelPlan p = plan(odd);
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_EQ(p.functions[0].body,
            "linearAnyShape<1, Matrix<f32, 5, 36, 36>, "
            "StoredWeights<Matrix<u8, 10, 18, 18>, Nibbles<0>, "
            "Companion<Matrix<f32, 10, 3, 3>, 1, 12>, "
            "Companion<Matrix<u8, 10, 3, 3>, 1, 12>>, "
            "Matrix<f32, 5, 10, 10>>(p, p.operands[0]);");
  std::swap(odd.operands[2], odd.operands[3]);
  EXPECT_EQ(errorOf(odd), "companions of \"w\" stand in another order than "
                          "scale, zero, global scale");
}

// The other factor is rotated, in front of the product that it is for.
TEST_F(ProductsPlanTest, RotatedWeightsMeetRotatedRows) {
  Operand w = operand("w", e4m3(), {16, 128});
  w.encoding.rotated = 32;
  KernelPlan linear = plan(launch("linear",
                                  {operand("x", bf16(), {5, 128}), w,
                                   scale("w_scale", {1, 1}, 16, 128),
                                   operand("out", bf16(), {5, 16})},
                                  {{"act_group", 0}}));
  ASSERT_EQ(linear.functions.size(), 2u);
  EXPECT_EQ(linear.functions[0].body,
            "rotateRows<1, 32, Matrix<bf16, 5, 128, 128>>(p, p.operands[0], "
            "p.workspace);");
  EXPECT_THAT(
      linear.functions[1].body,
      testing::StartsWith("linearAnyShape<1, Matrix<f32, 5, 128, 128>, "));
  EXPECT_EQ(linear.workspaceBytes, 5u * 128 * 4);

  // Int4 that would stream if it were not for the rows of w2.
  Operand w13 = operand("w13", u8(), {4, 256, 128}),
          w2 = operand("w2", u8(), {4, 256, 64});
  w13.encoding = w2.encoding = {schema::Codes::UINT, 2, 8, 0};
  w2.encoding.rotated = 128;
  KernelPlan experts = plan(
      launch("experts",
             {operand("x", bf16(), {3, 256}), operand("weights", f32(), {3, 2}),
              operand("experts", i32(), {3, 2}), w13,
              scale("w13_scale", {4, 256, 1}, 1, 256), w2,
              scale("w2_scale", {4, 256, 1}, 1, 128),
              operand("out", bf16(), {3, 256})},
             {{"act_group", 0}}));
  ASSERT_EQ(experts.functions.size(), 3u);
  EXPECT_EQ(experts.functions[0].suffix, "up");
  EXPECT_EQ(experts.functions[1].suffix, "rotate_inner");
  EXPECT_EQ(experts.functions[1].body,
            "rotateInner<1, 128, 128, Matrix<i32, 3, 2, 2>, 4>(p, "
            "p.workspace);");
  EXPECT_EQ(experts.functions[2].suffix, "down");
}

TEST_F(ProductsPlanTest, BytesAreNumbersWithOrWithoutASign) {
  auto bodyOf = [&](mlir::Type type, uint32_t zero) {
    Operand w = operand("w", type, {10, 36});
    w.encoding = {schema::Codes::ELEMENTS, 1, zero};
    return plan(launch("linear",
                       {operand("x", f32(), {5, 36}), w,
                        scale("w_scale", {10, 1}, 1, 36),
                        operand("out", f32(), {5, 10})},
                       {{"act_group", 0}}))
        .functions[0]
        .body;
  };
  EXPECT_THAT(bodyOf(u8(), 128),
              HasSubstr("Matrix<u8, 10, 36, 36>, Bytes<128>, Companion<"));
  EXPECT_THAT(bodyOf(builder.getIntegerType(8, /*isSigned=*/true), 0),
              HasSubstr("Matrix<i8, 10, 36, 36>, Numbers, Companion<"));
}

TEST_F(ProductsPlanTest, ExpertsMayBeStoredInTwoWays) {
  Operand w2 = operand("w2", u8(), {4, 35, 5}); // 10 columns
  w2.encoding = {schema::Codes::E2M1, 2, 0};
  Operand global = companion("w2_global_scale", f32(), {4, 1, 1}, 10,
                             schema::CompanionKind::GLOBAL_SCALE);
  global.blockRows = 35;
  global.divides = true;
  KernelPlan p = plan(
      launch("experts",
             {operand("x", f32(), {3, 35}), operand("weights", f32(), {3, 2}),
              operand("experts", i32(), {3, 2}),
              operand("w13", f32(), {4, 20, 35}), w2,
              companion("w2_scale", e4m3(), {4, 35, 1}, 16,
                        schema::CompanionKind::SCALE),
              global, operand("out", f32(), {3, 35})},
             {{"act_group", 0}}));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("StoredWeights<Matrix<f32, 80, 35, 35>>"));
  // Operand 4 is w2.
  EXPECT_THAT(
      p.functions[1].body,
      HasSubstr("4, StoredWeights<Matrix<u8, 140, 5, 5>, E2M1, "
                "Companion<Matrix<e4m3, 140, 1, 1>, 1, 16, 35>, NoCompanion, "
                "Companion<Matrix<f32, 4, 1, 1>, 35, 10, 1>, true>"));
}

//===--- MiniMax-M2.5 -----------------------------------------------------===//

/// A projection of M2.5 with FP8 weights, `rows` x `cols` on this rank.
class M25PlanTest : public PlanTest {
protected:
  LaunchDesc projection(int64_t tokens, int64_t rows, int64_t cols) {
    return launch("linear",
                  {operand("x", bf16(), {tokens, cols}),
                   operand("w", e4m3(), {rows, cols}),
                   scale("w_scale", {rows / 128, cols / 128}, 128, 128),
                   operand("out", bf16(), {tokens, rows})},
                  {{"act_group", 128}});
  }
  /// The experts of one of eight ranks, each with an eighth of the width; or
  /// of fewer.
  LaunchDesc experts(int64_t tokens, int64_t inner = 192) {
    return launch("experts",
                  {operand("x", bf16(), {tokens, 3072}),
                   operand("weights", f32(), {tokens, 8}),
                   operand("experts", i32(), {tokens, 8}),
                   operand("w13", e4m3(), {256, 2 * inner, 3072}),
                   scale("w13_scale", {256, inner / 32, 24}, 64, 128),
                   operand("w2", e4m3(), {256, 3072, inner}),
                   scale("w2_scale", {256, 24, inner / 64}, 128, 64),
                   operand("out", bf16(), {tokens, 3072})},
                  {{"act_group", 128}});
  }
  /// The same with blocks of 128 x 128, as the published model has them.
  LaunchDesc expertsInBlocks(int64_t tokens, int64_t inner = 768,
                             int64_t hidden = 3072, int64_t held = 256) {
    int64_t groups = hidden / 128, innerGroups = (inner + 127) / 128;
    return launch(
        "experts",
        {operand("x", bf16(), {tokens, hidden}),
         operand("weights", f32(), {tokens, 8}),
         operand("experts", i32(), {tokens, 8}),
         operand("w13", e4m3(), {held, 2 * inner, hidden}),
         scale("w13_scale", {held, 2 * inner / 128, groups}, 128, 128),
         operand("w2", e4m3(), {held, hidden, inner}),
         scale("w2_scale", {held, groups, innerGroups}, 128, 128),
         operand("out", bf16(), {tokens, hidden})},
        {{"act_group", 128}});
  }
};

TEST_F(M25PlanTest, ExpertsOfOneTokenTakeTheWidestRowsThatFillTheMachine) {
  auto up = [&](int64_t tokens, int64_t inner) {
    return plan(experts(tokens, inner)).functions[0];
  };
  // 48 rows are 24 columns: 32 blocks of 768 for each of 8 choices.
  EXPECT_THAT(up(1, 768).body, HasSubstr("StreamShape<48, 1, 2, 2, 2, 1, 8>"));
  EXPECT_THAT(up(1, 768).grid, ElementsAre(32, 8, 1));
  // Two of them fit on a multiprocessor.
  EXPECT_LE(2 * up(1, 768).sharedBytes, 225u * 1024);
  // At tp=4 there would be 128, or 192 of 32 rows: too few. Of 16 there are
  // 384, and of two tokens 256 of 48.
  EXPECT_THAT(up(1, 384).body, HasSubstr("StreamShape<16, 1, 2, 2, 3, 1, 8>"));
  EXPECT_THAT(up(1, 384).grid, ElementsAre(48, 8, 1));
  EXPECT_LE(4 * up(1, 384).sharedBytes, 225u * 1024);
  EXPECT_THAT(up(2, 384).grid, ElementsAre(16, 8, 2));
  // 640 is no multiple of 24: 40 blocks of 16 columns.
  EXPECT_THAT(up(1, 640).body, HasSubstr("StreamShape<32, 1, 2, 2, 2, 1, 8>"));
  EXPECT_THAT(up(1, 640).grid, ElementsAre(40, 8, 1));
}

TEST_F(M25PlanTest, OProjOfOneTokenEncodesForItself) {
  KernelPlan p = plan(projection(1, 3072, 768));
  ASSERT_EQ(p.functions.size(), 1u);
  const FunctionPlan &f = p.functions[0];
  // Tiles of 16 rows make 192 CTAs; six warps have a group of 128 columns each.
  EXPECT_THAT(f.body, HasSubstr("linearEncodeStream<1, 128, "));
  EXPECT_THAT(f.body, HasSubstr("StreamShape<16, 1, 2, 2, 2, 1, 6>"));
  EXPECT_EQ(f.grid[0], 192u);
  EXPECT_EQ(f.block, 6u * 32);
  // A stage: 16 rows of 128 bytes and two factors, in whole 16 bytes; two of
  // them for each warp. Behind them a token of 768 codes and 64 bytes, and 6
  // groups of 8 factors.
  EXPECT_EQ(f.sharedBytes, 6u * 2 * (2048 + 16) + 832 + 6 * 8 * 4);
  EXPECT_EQ(p.workspaceBytes, 0u);
  EXPECT_TRUE(f.waitsItself);
}

TEST_F(M25PlanTest, QKVOfEightTokensIsEncodedFirst) {
  KernelPlan p = plan(projection(8, 1024, 3072));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_THAT(p.functions[0].body, HasSubstr("encodeRows<1, 128, "));
  EXPECT_FALSE(p.functions[0].waitsItself);
  // 64 tiles of 16 rows are too few: 8 rows, 8 warps along the columns.
  EXPECT_EQ(p.functions[1].grid[0], 128u);
  EXPECT_EQ(p.functions[1].grid[1], 1u);
  EXPECT_EQ(p.functions[1].block, 256u);
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("static_cast<uint8_t *>(p.workspace) + 24576"));
  // Codes, then a factor for each of 24 groups.
  EXPECT_EQ(p.workspaceBytes, 8u * 3072 + 8 * 24 * 4);
}

TEST_F(M25PlanTest, PanelsOfRowsMeetUpTo64Tokens) {
  // 4096 rows on 132 multiprocessors: 128 panels of 32. A stage is 128 bytes of
  // 64 tokens and 32 rows, 12,288; factors of 24 stages are 64 and 4 of each,
  // 6,528 bytes; with two barriers for a stage, 18 of them fit in 232,448.
  KernelPlan p = plan(projection(33, 4096, 3072));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_THAT(p.functions[0].body, HasSubstr("encodeRows<1, 128, "));
  EXPECT_THAT(p.headers, ElementsAre("impls/linear_panel.cuh"));
  const FunctionPlan &f = p.functions[1];
  EXPECT_THAT(f.body, HasSubstr("linearPanel<1, "));
  EXPECT_THAT(f.body, HasSubstr("PanelShape<32, 18>"));
  EXPECT_EQ(f.grid[0], 128u);
  EXPECT_EQ(f.grid[1], 1u);
  EXPECT_EQ(f.block, 640u);
  EXPECT_EQ(f.sharedBytes, 18u * 12288 + 6528 + 18 * 16);
  EXPECT_TRUE(f.waitsItself);
  // 3072 rows: panels of 24, in which a block of scales can end.
  EXPECT_THAT(plan(projection(64, 3072, 3072)).functions[1].body,
              HasSubstr("PanelShape<24, "));
  // Fewer tokens stream, and so does what would have 8 rows in a panel; other
  // tokens than 64 at most, and rows for which 64 are too few, are tiles.
  EXPECT_THAT(plan(projection(16, 4096, 3072)).functions[1].body,
              HasSubstr("linearStream<"));
  EXPECT_THAT(plan(projection(40, 1024, 3072)).functions[1].body,
              HasSubstr("linearStream<"));
  EXPECT_THAT(plan(projection(65, 8192, 3072)).functions[1].body,
              HasSubstr("linearTile<"));
  EXPECT_THAT(plan(projection(64, 200064, 3072)).functions[1].body,
              HasSubstr("linearTile<"));
}

TEST_F(M25PlanTest, PanelsOfLongRowsDoNotFit) {
  // 512 stages, whose factors take 512 x (64 + 3) x 4 = 137,216 bytes, leave
  // room for the ring in all of the shared memory only; 1024 stages none.
  KernelPlan p = plan(projection(64, 3072, 512 * 128));
  EXPECT_THAT(p.functions[1].body, HasSubstr("PanelShape<24, 8>"));
  EXPECT_EQ(p.products[0].ways, 2u + 3); // one panel, a stream, tiles
  EXPECT_THAT(plan(projection(64, 3072, 1024 * 128)).functions[1].body,
              HasSubstr("linearStream<"));
}

TEST_F(M25PlanTest, PanelsHaveWholeLinesAndPairs) {
  // Of bf16 a line is 64 columns. 2,048 columns are 32 stages of 10,240 bytes.
  auto plain = [&](int64_t cols, int64_t outStride) {
    return plan(launch("linear",
                       {operand("x", bf16(), {64, cols}),
                        operand("w", bf16(), {2048, cols}),
                        operand("out", bf16(), {64, 2048}, outStride)},
                       {{"act_group", 0}}))
        .functions[0]
        .body;
  };
  EXPECT_THAT(plain(2048, 2048), HasSubstr("PanelShape<16, 22>"));
  EXPECT_THAT(plain(2080, 2048), HasSubstr("linearStream<"));
  EXPECT_THAT(plain(2048, 2049), HasSubstr("linearStream<"));
}

TEST_F(M25PlanTest, PrefillIsTiles) {
  KernelPlan p = plan(projection(2048, 8192, 3072));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_THAT(p.headers, ElementsAre("impls/linear_tile.cuh"));
  const FunctionPlan &f = p.functions[1];
  EXPECT_THAT(f.body, HasSubstr("linearTile<"));
  // 32 blocks of 256 rows x 16 of 128 tokens are walked by a CTA on each
  // multiprocessor, two of which share the rows.
  EXPECT_THAT(f.body,
              HasSubstr("TokenOrder::InPairs, 2, 2, 4, 128, 128, 128>"));
  EXPECT_EQ(f.grid[0], 132u);
  EXPECT_EQ(f.cluster, 2u);
  EXPECT_EQ(f.block, 384u);
  // Four stages of 128 tokens and 256 rows, 128 bytes each; their factors, one
  // for each token and 64 rows, in whole 128 bytes; 128 bytes of results of 16
  // tokens for each of 8 warps; for six items a row for each token, their
  // number and count, and a number for 64 tokens of either group; barriers.
  EXPECT_EQ(f.sharedBytes, 4u * 384 * 128 + (4 * 132 * 4 + 64) + 8 * 16 * 128 +
                               6 * (128 * 4 + 8 + 2 * 64 * 4) + 4 * 16);
  // Codes and factors of the tokens, then two tensor maps of 128 bytes for each
  // CTA.
  EXPECT_EQ(p.workspaceBytes, 2048u * (3072 + 24 * 4) + 132 * 2 * 128);
}

/// 8 blocks of 256 rows x 4 of 128 tokens would leave most of the machine idle:
/// 64 tokens and 128 rows, and as deep a ring as there may be.
TEST_F(M25PlanTest, SmallerTilesWhereThereAreFew) {
  KernelPlan p = plan(projection(512, 2048, 3072));
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("TokenOrder::InOrder, 1, 1, 8, 128, 128, 128>"));
  EXPECT_EQ(p.functions[1].grid[0], 16u * 8);
  EXPECT_EQ(p.functions[1].cluster, 1u);
  EXPECT_EQ(p.functions[1].block, 256u);
}

/// Where no step has two blocks of tokens, there is nobody to share rows with.
TEST_F(M25PlanTest, OneBlockOfTokensIsNoPair) {
  KernelPlan p = plan(projection(128, 33792, 3072));
  EXPECT_THAT(p.functions[1].body, HasSubstr("TokenOrder::InOrder, 2, 2, "));
  EXPECT_EQ(p.functions[1].cluster, 1u);
  EXPECT_EQ(plan(projection(129, 33792, 3072)).functions[1].cluster, 2u);
}

/// Rows of 3232 bytes: 3072 codes, 24 factors from byte 3072 on, then what
/// experts are asked for.
TEST_F(M25PlanTest, RowsThatCameAsCodesAreNotEncoded) {
  auto projectionOf = [&](int64_t tokens, int64_t stride) {
    return launch("linear_of_codes",
                  {operand("codes", e4m3(), {tokens, 3072}, stride),
                   operand("factors", f32(), {tokens, 24}, stride / 4),
                   operand("w", e4m3(), {4096, 3072}),
                   scale("w_scale", {32, 24}, 128, 128),
                   operand("out", bf16(), {tokens, 4096})},
                  {{"act_group", 128}});
  };
  KernelPlan p = plan(projectionOf(8192, 3168));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_EQ(p.functions[0].suffix, "product");
  // The kernel's operands are those of linear; factors stand behind them.
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("p.operands[0] = launch.operands[0];\n"
                        "p.operands[1] = launch.operands[2];\n"
                        "p.operands[2] = launch.operands[3];\n"
                        "p.operands[3] = launch.operands[4];\n"
                        "p.operands[4] = launch.operands[1];\n"));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("linearTile<1, Matrix<e4m3, 8192, 3072, 3168>, "));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("ScaledTokens<Matrix<f32, 8192, 24, 792>, 128>>(p, "
                        "p.operands[0], p.operands[4], "
                        "static_cast<uint8_t *>(p.workspace) + 0);"));
  EXPECT_EQ(p.functions[0].cluster, 2u);
  // No codes in the workspace, only maps.
  EXPECT_EQ(p.workspaceBytes,
            plan(projection(8192, 4096, 3072)).workspaceBytes -
                8192u * (3072 + 24 * 4));

  // Rows that copies of 16 bytes cannot take are decoded for the kernel of any
  // shape.
  p = plan(projectionOf(64, 3084));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_EQ(p.functions[0].suffix, "decode");
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("decodeRows<1, 128, Matrix<e4m3, 64, 3072, 3084>, "
                        "Matrix<f32, 64, 24, 771>>(p, p.operands[0], "
                        "p.operands[4], p.workspace);"));
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("linearAnyShape<1, Matrix<f32, 64, 3072, 3072>, "));
  EXPECT_EQ(p.workspaceBytes, 64u * 3072 * 4);
}

TEST_F(M25PlanTest, ExpertsOfCodesSortAlone) {
  auto of = [&](int64_t tokens, int64_t inner, int64_t stride = 3232) {
    LaunchDesc desc = experts(tokens, inner);
    desc.op = "experts_of_codes";
    desc.operands[0] = operand("codes", e4m3(), {tokens, 3072}, stride);
    desc.operands.insert(desc.operands.begin() + 1,
                         operand("factors", f32(), {tokens, 24}, stride / 4));
    desc.operands[2] = operand("weights", f32(), {tokens, 8}, stride / 4);
    desc.operands[3] = operand("experts", i32(), {tokens, 8}, stride / 4);
    return desc;
  };
  KernelPlan p = plan(of(8192, 192));
  ASSERT_EQ(p.functions.size(), 4u); // sort, up, down, combine
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("planExperts<1, 8, Matrix<i32, 8192, 8, 808>>(p, "));
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("p.operands[8] = launch.operands[1];"));
  EXPECT_THAT(p.functions[1].body, HasSubstr("p.operands[0], p.operands[8], "));
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("TileProduct<Matrix<e4m3, 8192, 3072, 3232>, "));
  EXPECT_THAT(p.functions[3].body, HasSubstr("Matrix<f32, 8192, 8, 808>"));
  // Few tokens stream.
  p = plan(of(64, 192));
  EXPECT_THAT(p.functions[0].body, HasSubstr("planExperts<1, 1, "));
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("expertsUpStream<8, Matrix<e4m3, 64, 3072, 3232>, "));
  // Others are decoded.
  p = plan(of(64, 192, 3244));
  EXPECT_EQ(p.functions[0].suffix, "decode");
  EXPECT_THAT(p.functions[1].body, HasSubstr("expertsUpAnyShape<1, Matrix<f32, "
                                             "64, 3072, 3072>, "));
}

TEST_F(M25PlanTest, RowsAreEncodedWhereTheyAreToStand) {
  KernelPlan p = plan(launch("encode_rows",
                             {operand("x", bf16(), {4096, 3072}),
                              operand("codes", e4m3(), {4096, 3072}, 3168),
                              operand("factors", f32(), {4096, 24}, 792)},
                             {{"group", 128}}));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_EQ(p.functions[0].suffix, "");
  EXPECT_EQ(p.functions[0].body,
            "encodeRows<1, 128, Matrix<bf16, 4096, 3072, 3072>, "
            "Matrix<e4m3, 4096, 3072, 3168>, Matrix<f32, 4096, 24, 792>>(p, "
            "p.operands[0], p.operands[1], p.operands[2]);");
}

/// A warp encodes a group at once, and holds 512 of a token's columns.
TEST_F(M25PlanTest, GroupsOfUpTo512ColumnsStream) {
  auto headers = [&](int64_t group) {
    return plan(launch("linear",
                       {operand("x", bf16(), {4, 3072}),
                        operand("w", e4m3(), {2048, 3072}),
                        scale("w_scale", {16, 24}, 128, 128),
                        operand("out", bf16(), {4, 2048})},
                       {{"act_group", group}}))
        .headers;
  };
  EXPECT_EQ(headers(512), headers(128));
  EXPECT_NE(headers(1024), headers(128));
}

/// fp32 weights: they stream for few tokens; for many they are three parts in
/// bf16 and one product. The step says which.
TEST_F(M25PlanTest, TheRouterOfAPromptIsThreeParts) {
  auto router = [&](int64_t tokens, int64_t cols = 3072, int64_t stride = 256) {
    return plan(launch("linear",
                       {operand("x", bf16(), {tokens, cols}),
                        operand("w", f32(), {256, cols}),
                        operand("out", f32(), {tokens, 256}, stride)},
                       {{"act_group", 0}}));
  };
  KernelPlan p = router(8192);
  ASSERT_EQ(p.functions.size(), 3u);
  // 327,680 / 256 tokens.
  EXPECT_EQ(p.functions[0].suffix, "few");
  EXPECT_THAT(p.functions[0].body,
              StartsWith("if (p.step->counts[1] >= 1280) {\n"
                         "  waitForPrevious();\n  allowNext();\n"
                         "  splitWeights<Matrix<f32, 256, 3072, 3072>, "
                         "Matrix<bf16, 768, 3072, 3072>>(p, p.workspace);\n"
                         "  return;\n}\nlinearStream<"));
  // 128 blocks of 64 tokens x 3 of 256 rows.
  EXPECT_EQ(p.functions[1].suffix, "product");
  EXPECT_THAT(
      p.functions[1].body,
      AllOf(StartsWith("if (p.step->counts[1] < 1280)\n  return;\n"),
            HasSubstr("many.operands[2] = static_cast<uint8_t *>(p.workspace) "
                      "+ 4718592;"),
            HasSubstr("Matrix<f32, 8192, 768, 768>, TileProduct<Matrix<bf16, "
                      "8192, 3072, 3072>, Matrix<bf16, 768, 3072, 3072>, "
                      "TokenOrder::InOrder, 1, 2, "),
            // The parts, their products, then tensor maps of each CTA.
            HasSubstr("static_cast<uint8_t *>(p.workspace) + 29884416, "
                      "p.workspace);")));
  EXPECT_EQ(p.functions[1].grid[0], 132u);
  EXPECT_EQ(p.functions[2].suffix, "sum");
  EXPECT_THAT(p.functions[2].body,
              HasSubstr("sumParts<1, 2, Matrix<f32, 8192, 768, 768>, "
                        "Matrix<f32, 8192, 256, 256>>(p, "));
  EXPECT_EQ(p.workspaceBytes, 768u * 3072 * 2 + 8192 * 768 * 4 + 132 * 256);
  // A rank's share of such a prompt: items of 128 rows, from 212,992 / 256
  // tokens on.
  p = router(4096);
  EXPECT_THAT(p.functions[0].body,
              StartsWith("if (p.step->counts[1] >= 832) {"));
  EXPECT_THAT(p.functions[1].body, HasSubstr("TokenOrder::InOrder, 1, 1, "));
  EXPECT_THAT(router(4097).functions[1].body,
              HasSubstr("TokenOrder::InOrder, 1, 2, "));
  // Too few tokens, columns that are not whole stages, rows that are not whole
  // 16 bytes.
  EXPECT_EQ(router(831).functions.size(), 1u);
  EXPECT_EQ(router(832).functions.size(), 3u);
  EXPECT_EQ(router(8192, 3080).functions.size(), 1u);
  EXPECT_EQ(router(8192, 3072, 258).functions.size(), 1u);
}

TEST_F(M25PlanTest, TilesWriteSixteenBytesAtATime) {
  LaunchDesc launch = projection(2048, 8192, 3072);
  launch.operands.back() = operand("out", bf16(), {2048, 8192}, 8196);
  KernelPlan p = plan(launch);
  EXPECT_THAT(p.headers, ElementsAre("impls/linear_stream.cuh"));
}

TEST_F(M25PlanTest, RouterDividesRowsUntilTheMachineIsFull) {
  KernelPlan p = plan(
      launch("linear",
             {operand("x", bf16(), {1, 3072}), operand("w", f32(), {256, 3072}),
              operand("out", f32(), {1, 256})},
             {{"act_group", 0}}));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.functions[0].body, HasSubstr("linearStream<1, "));
  EXPECT_THAT(p.functions[0].body, HasSubstr("StreamShape<2, 1, "));
  EXPECT_EQ(p.functions[0].grid[0], 128u);
}

/// 128 CTAs of 16 tokens rather than 256 of 8, which would fetch weights twice
/// as often.
TEST_F(M25PlanTest, RouterOf64TokensFetchesWeightsFourTimes) {
  KernelPlan p = plan(launch("linear",
                             {operand("x", bf16(), {64, 3072}),
                              operand("w", f32(), {256, 3072}),
                              operand("out", f32(), {64, 256})},
                             {{"act_group", 0}}));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.functions[0].body, HasSubstr("StreamShape<8, 2, "));
  EXPECT_EQ(p.functions[0].grid[0], 32u);
  EXPECT_EQ(p.functions[0].grid[1], 4u);
}

TEST_F(M25PlanTest, RowsOfTheLanguageModelHead) {
  KernelPlan p = plan(launch("linear",
                             {operand("x", bf16(), {8, 3072}),
                              operand("w", bf16(), {25008, 3072}),
                              operand("out", f32(), {8, 25008})},
                             {{"act_group", 0}}, engine::Extent::Rows));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.functions[0].body, HasSubstr("linearStream<2, "));
  EXPECT_EQ(p.functions[0].grid[0], 25008u / 16);
}

TEST_F(M25PlanTest, UnalignedViewsTakeTheKernelForAnyShape) {
  Operand x = operand("x", bf16(), {8, 3072}, 3080);
  x.alignment = 2;
  KernelPlan p = plan(launch("linear",
                             {x, operand("w", bf16(), {1024, 3072}),
                              operand("out", bf16(), {8, 1024})},
                             {{"act_group", 0}}));
  EXPECT_THAT(p.headers, ElementsAre("impls/linear.cuh"));
}

TEST_F(M25PlanTest, ExpertsOfOneTokenAreTwoFunctions) {
  KernelPlan p = plan(experts(1));
  EXPECT_THAT(p.headers, ElementsAre("impls/experts_decode.cuh"));
  ASSERT_EQ(p.functions.size(), 2u);
  // 192 columns of 8 for each of 8 choices.
  EXPECT_THAT(p.functions[0].grid, ElementsAre(24u, 8u, 1u));
  EXPECT_FALSE(p.functions[0].waitsItself);
  // The second reads the choices before it waits.
  EXPECT_EQ(p.functions[0].next, Next::WhenWaited);
  // 16 rows of w2, a warp for each choice.
  EXPECT_THAT(p.functions[1].grid, ElementsAre(192u, 1u, 1u));
  EXPECT_EQ(p.functions[1].block, 256u);
  EXPECT_TRUE(p.functions[1].waitsItself);
  EXPECT_EQ(p.workspaceBytes, 8u * 192 * 4);
}

TEST_F(M25PlanTest, ExpertsOfManyTokensArePlanned) {
  KernelPlan p = plan(experts(64));
  EXPECT_THAT(p.headers, ElementsAre("impls/experts_stream.cuh"));
  ASSERT_EQ(p.functions.size(), 5u);
  EXPECT_EQ(p.functions[0].suffix, "prepare");
  EXPECT_EQ(p.functions[0].sharedBytes, 5u * 4 * 256);
  EXPECT_EQ(p.functions[0].residentBlocks, 3u);
  EXPECT_EQ(p.functions[0].cluster, 1u);
  EXPECT_EQ(p.functions[1].suffix, "up");
  // 512 pairs in blocks of 8 tokens: 256 + 64 blocks at most.
  EXPECT_THAT(p.functions[1].body, HasSubstr("ExpertPlan<256, 512, 8>"));
  EXPECT_EQ(p.functions[2].suffix, "inner");
  EXPECT_EQ(p.functions[3].suffix, "down");
  // A row of w2 is a stage of 3 units of 64 columns, scaled one by one.
  EXPECT_THAT(p.functions[3].body, StartsWith("expertsDownStream<1, "));
  EXPECT_THAT(p.functions[3].body,
              HasSubstr("StreamShape<16, 1, 3, 1, 2, 8, 1>"));
  // A warp for 512 bytes of a token: 24 parts.
  EXPECT_THAT(p.functions[4].body,
              StartsWith("combineExperts<1, 7, 256, 24, "));
  EXPECT_THAT(p.functions[4].grid, ElementsAre(64u * 24 / 8, 1u, 1u));
  // The list of blocks and pairs; codes and factors of 64 tokens of 3072 and of
  // 512 pairs of 192 (in 24 and 2 groups); 192 activations and 3072 products of
  // each pair. All of them are multiples of 256 but the first.
  EXPECT_EQ(p.workspaceBytes,
            (16u + 16 * (256 + 64) + 4 * 512 + 255) / 256 * 256 +
                64 * (3072 + 24 * 4) + 512 * (192 + 2 * 4) +
                512 * 4 * (192 + 3072));
}

TEST_F(M25PlanTest, ExpertsHaveCandidates) {
  auto candidatesOf = [&](auto describe) {
    std::vector<std::string> all;
    for (unsigned number = 0;; ++number) {
      Tuning tuning = Tuning::candidate(number);
      LaunchDesc desc = describe();
      desc.tuning = &tuning;
      KernelPlan p = plan(desc);
      if (p.products.empty() || number == p.products[0].ways)
        return all;
      const Division &way = p.products[0].division;
      // What the plan says is what the code does.
      const char *form = way.isDecode() ? "expertsUpDecode<"
                         : way.isFlow() ? "expertsUpFlow<"
                                        : "expertsUpStream<";
      bool isFirst = way.isDecode() || way.isFlow();
      EXPECT_THAT(p.functions[isFirst ? 0 : 1].body, StartsWith(form));
      all.push_back(way.text());
    }
  };
  auto divisions = [&](int64_t tokens, int64_t inner) {
    return candidatesOf([&] { return experts(tokens, inner); });
  };
  EXPECT_EQ(plan(experts(8)).products[0].product,
            "experts e4m3 8 of 256 held 256 384x3072 group 128 tokens 8");
  // A token: rows of CTAs, and sorted as more are.
  EXPECT_THAT(divisions(1, 768),
              ElementsAre("decode 48 16", "sorted 1 4 1", "decode 48 8",
                          "decode 48 32", "decode 32 16", "decode 16 16"));
  // A few: sorted, and each pair for itself.
  EXPECT_THAT(divisions(8, 768),
              ElementsAre("sorted 4 8 1", "decode 48 16", "sorted 2 8 1",
                          "sorted 8 8 1", "sorted 4 4 1", "sorted 4 8 2"));
  // The same in blocks of 128 columns: weights flow, or not.
  EXPECT_THAT(candidatesOf([&] { return expertsInBlocks(8); }),
              ElementsAre("flow 8 2", "sorted 4 8 1", "decode 48 16",
                          "sorted 2 8 1", "sorted 8 8 1", "sorted 4 4 1",
                          "sorted 4 8 2"));
  EXPECT_THAT(divisions(64, 192), ElementsAre("sorted 4 8 1", "sorted 2 8 1",
                                              "sorted 8 8 1", "sorted 4 8 2"));
  // Tiles have none.
  EXPECT_THAT(divisions(2048, 768), testing::IsEmpty());
}

TEST_F(M25PlanTest, ExpertsAreDividedAsMeasured) {
  std::string error;
  auto tuning = Tuning::parse(
      R"({"machine": "H", "driver": "5", "date": "2026-12-01",
          "multiprocessors": 132, "products": [
           {"product": "experts e4m3 8 of 256 held 256 1536x3072 group 128 tokens 8",
            "division": "decode 48 16", "us": 1, "planned_us": 2},
           {"product": "experts e4m3 8 of 256 held 256 384x3072 group 128 tokens 8",
            "division": "sorted 16 8 1", "us": 1, "planned_us": 2}]})",
      error);
  ASSERT_TRUE(tuning.has_value()) << error;
  auto planned = [&](int64_t tokens, int64_t inner) {
    LaunchDesc desc = experts(tokens, inner);
    desc.tuning = &*tuning;
    return plan(desc).products[0];
  };
  EXPECT_EQ(planned(8, 768).division, Division::decode(48, 16));
  EXPECT_THAT(planned(8, 768).why, StartsWith("measured 1.0 us"));
  // Other shapes, and what is no way.
  EXPECT_EQ(planned(7, 768).why, "");
  EXPECT_EQ(planned(8, 192).why, "");
}

/// Few pairs with short rows are streamed one by one, unless ranks hold experts
/// of their own.
TEST_F(M25PlanTest, ExpertsAreSortedWherePairsAreManyOrLong) {
  auto isSorted = [&](const LaunchDesc &desc) {
    return plan(desc).headers.front() == "impls/experts_stream.cuh";
  };
  for (int64_t inner : {192, 384, 768, 1536})
    EXPECT_FALSE(isSorted(experts(2, inner))) << inner;
  // 8 x 8 pairs of 384 columns are 24 Ki.
  EXPECT_FALSE(isSorted(experts(8, 384)));
  EXPECT_FALSE(isSorted(experts(4, 768)));
  EXPECT_TRUE(isSorted(experts(5, 768)));
  EXPECT_TRUE(isSorted(experts(9, 192)));
  mlir::NamedAttrList constants(experts(4).constants);
  constants.append("expert_start",
                   dist::RankValueAttr::get(&context, 0, 1, 8, 256));
  LaunchDesc own = experts(4);
  own.constants = constants.getDictionary(&context);
  EXPECT_TRUE(isSorted(own));
}

/// Rings are filled for the next item while sums of one are added, so sums have
/// a place of their own.
TEST_F(M25PlanTest, ExpertsOfManyTokensFetchAhead) {
  KernelPlan p = plan(experts(64, 768));
  ASSERT_EQ(p.functions.size(), 5u);
  const FunctionPlan &up = p.functions[1], &down = p.functions[3];
  EXPECT_EQ(up.suffix, "up");
  // What it multiplies is only known when the pairs are sorted.
  EXPECT_FALSE(up.waitsItself);
  // `down` reads the plan that `prepare` made before it waits.
  EXPECT_EQ(p.functions[0].next, Next::AtOnce);
  EXPECT_EQ(up.next, Next::WhenWaited);
  EXPECT_THAT(up.body, HasSubstr("StreamShape<16, 1, 4, 2, 2, 8, 1>"));
  // Each of 8 warps has 2 stages of 16 rows and 8 tokens of 256 bytes with two
  // factors for each token and 8 rows, in whole 16 bytes; then sums of 8 tokens
  // and 128 rows, and 4 more.
  EXPECT_EQ(up.sharedBytes, 8u * 2 * (24 * 256 + 80) + 8 * (128 + 4) * 4);
  EXPECT_EQ(up.grid[0], 2u * 132);
  EXPECT_EQ(down.suffix, "down");
  EXPECT_TRUE(down.waitsItself);
  EXPECT_THAT(down.body, StartsWith("expertsDownStream<"));
}

/// Weights in blocks of 128 columns flow: a CTA's rings run from its first unit
/// of work to its last one.
TEST_F(M25PlanTest, ExpertsOfFewTokensFlow) {
  KernelPlan p = plan(expertsInBlocks(64));
  EXPECT_THAT(p.headers, ElementsAre("impls/experts_flow.cuh"));
  ASSERT_EQ(p.functions.size(), 3u);
  const FunctionPlan &up = p.functions[0], &down = p.functions[1];
  EXPECT_EQ(up.suffix, "up");
  EXPECT_EQ(down.suffix, "down");
  EXPECT_EQ(p.functions[2].suffix, "combine");
  // 24 groups of 128 columns: 3 for each of 8 warps. 6: of 2 warps; rings have
  // 6 stages.
  EXPECT_THAT(up.body, StartsWith("expertsUpFlow<1, "));
  EXPECT_THAT(up.body, HasSubstr(", 8, 6>(p, "));
  EXPECT_THAT(down.body, StartsWith("expertsDownFlow<1, "));
  EXPECT_THAT(down.body, HasSubstr(", 2, 6>(p, "));
  for (const FunctionPlan *function : {&up, &down}) {
    // Stages of 16 rows with two factors; sums of 8 tokens of 20 floats for 8
    // warps, twice; 256 + 64 blocks of 8 bytes; 512 pairs of 2.
    EXPECT_EQ(function->sharedBytes,
              8u * 6 * (16 * 128 + 8) + 2 * 8 * 8 * 20 * 4 + 320 * 8 + 512 * 2);
    // Two fit on a multiprocessor, which takes 1 KB for each.
    EXPECT_LE(2 * (function->sharedBytes + 1024), 227u * 1024);
    EXPECT_EQ(function->residentBlocks, 2u);
    EXPECT_EQ(function->grid[0], 2u * 132);
    EXPECT_EQ(function->block, 256u);
    EXPECT_TRUE(function->waitsItself);
  }
  // Activations and products of 512 pairs, in fp32.
  EXPECT_EQ(p.workspaceBytes, 512u * 4 * (768 + 3072));
  // Others of M2.5's ranks, and warps that share rows of w2.
  EXPECT_THAT(plan(expertsInBlocks(64, 1536)).functions[1].body,
              HasSubstr(", 4, 6>(p, "));
  EXPECT_THAT(plan(expertsInBlocks(64, 384)).functions[1].body,
              HasSubstr(", 1, 6>(p, "));
}

TEST_F(M25PlanTest, ExpertsFlowWhereTheyCan) {
  auto flows = [&](const LaunchDesc &desc) {
    return plan(desc).headers.front() == "impls/experts_flow.cuh";
  };
  // Four tokens of this rank go pair by pair; 8 * 5 * 768 is above 24 Ki.
  EXPECT_FALSE(flows(expertsInBlocks(4)));
  EXPECT_TRUE(flows(expertsInBlocks(5)));
  // 96 tokens with 8 of 128 experts are 6 for each, 97 are 7.
  EXPECT_TRUE(flows(expertsInBlocks(96, 768, 3072, 128)));
  EXPECT_FALSE(flows(expertsInBlocks(97, 768, 3072, 128)));
  // No CTA sorts more than 1024 pairs.
  EXPECT_TRUE(flows(expertsInBlocks(128)));
  EXPECT_FALSE(flows(expertsInBlocks(129)));
  // Blocks of 64 columns; half a group.
  EXPECT_FALSE(flows(experts(64, 768)));
  EXPECT_FALSE(flows(expertsInBlocks(64, 704)));
  // 32 groups are 4 for each of 8 warps, whose codes registers do not hold.
  EXPECT_FALSE(flows(expertsInBlocks(64, 768, 4096)));
  EXPECT_TRUE(flows(expertsInBlocks(64, 768, 2048)));
  LaunchDesc narrow = expertsInBlocks(64);
  narrow.operands[0].strides[0] = 3076;
  EXPECT_FALSE(flows(narrow));
}

TEST_F(M25PlanTest, ExpertsOfPrefillAreTiles) {
  KernelPlan p = plan(experts(2048));
  EXPECT_THAT(p.headers, ElementsAre("impls/experts_tile.cuh"));
  // The first product encodes the activations.
  ASSERT_EQ(p.functions.size(), 4u);
  // 16,384 pairs are sorted by a cluster of 8 CTAs; the others encode, in whole
  // clusters.
  EXPECT_THAT(p.functions[0].body, HasSubstr("prepareExperts<1, 8, 128, "));
  EXPECT_EQ(p.functions[0].cluster, 8u);
  EXPECT_EQ(p.functions[0].grid[0] % 8, 0u);
  EXPECT_EQ(plan(experts(1024)).functions[0].cluster, 1u);
  EXPECT_EQ(plan(experts(1025)).functions[0].cluster, 8u);
  EXPECT_THAT(p.functions[1].body, HasSubstr("expertsUpEncodeTile<8, "));
  EXPECT_THAT(p.functions[1].body, HasSubstr("ExpertPlan<256, 16384, 128>"));
  EXPECT_EQ(p.functions[1].grid[0], 132u);
  // Tokens of the second product lie in the order of blocks.
  EXPECT_THAT(p.functions[1].body, HasSubstr("TokenOrder::Anywhere, 2, 2, "));
  EXPECT_THAT(p.functions[2].body,
              AllOf(HasSubstr("expertsDownTile<"),
                    HasSubstr("TokenOrder::InOrder, 2, 2, ")));
  // Products are bf16, as the result is.
  EXPECT_THAT(p.functions[2].body, HasSubstr("reinterpret_cast<bf16 *>"));
  // Of many tokens a warp has three times 256 columns.
  EXPECT_THAT(p.functions[3].body, StartsWith("combineExperts<1, 7, 256, 4, "));
  EXPECT_EQ(p.functions[3].grid[0], 2048u * 4 / 8);
}

/// A group of the activations that is no tile of columns is encoded by a
/// function of its own, and fp32 results are added from fp32 products.
TEST_F(M25PlanTest, ExpertsThatTilesDoNotEncode) {
  LaunchDesc launch = experts(512);
  launch.operands.back() = operand("out", f32(), {512, 3072});
  llvm::SmallVector<mlir::NamedAttribute> constants;
  for (mlir::NamedAttribute constant : launch.constants)
    constants.push_back(
        constant.getName() == "act_group"
            ? builder.getNamedAttr("act_group", builder.getI64IntegerAttr(64))
            : constant);
  launch.constants = builder.getDictionaryAttr(constants);
  KernelPlan p = plan(launch);
  ASSERT_EQ(p.functions.size(), 5u);
  EXPECT_THAT(p.functions[1].body, HasSubstr("expertsUpTile<8, "));
  EXPECT_THAT(p.functions[1].body, HasSubstr("ExpertPlan<256, 4096, 128>"));
  EXPECT_THAT(p.functions[2].body, HasSubstr("encodeInner<64, 192, "));
  EXPECT_THAT(p.functions[3].body,
              AllOf(HasSubstr("reinterpret_cast<float *>"),
                    HasSubstr("TokenOrder::Anywhere, 2, 2, ")));
}

/// Where experts are on eight ranks, an eighth of the pairs comes here: 64
/// tokens with 8 of 256 experts are 2 for each, which one tile of 8 takes.
TEST_F(M25PlanTest, GroupsOfExpertsShareTheTokens) {
  LaunchDesc launch = experts(64);
  for (Operand &operand : launch.operands)
    if (operand.shape.size() == 3)
      operand.shape[0] = 32;
  auto tilesOf = [&](int64_t groups) {
    llvm::SmallVector<mlir::NamedAttribute> constants(launch.constants.begin(),
                                                      launch.constants.end());
    constants.push_back(builder.getNamedAttr(
        "expert_start", dist::RankValueAttr::get(&context, 0, 1, groups,
                                                 groups == 1 ? 0 : 32)));
    LaunchDesc changed = launch;
    changed.constants = builder.getDictionaryAttr(constants);
    return plan(changed).functions[1].body;
  };
  EXPECT_THAT(tilesOf(8), HasSubstr("ExpertPlan<32, 512, 8>"));
  EXPECT_THAT(tilesOf(1), HasSubstr("ExpertPlan<32, 512, 128>"));
}

TEST_F(M25PlanTest, PlainExpertsSplitTheirActivations) {
  KernelPlan p = plan(launch("experts",
                             {operand("x", bf16(), {16, 3072}),
                              operand("weights", f32(), {16, 8}),
                              operand("experts", i32(), {16, 8}),
                              operand("w13", bf16(), {32, 384, 3072}),
                              operand("w2", bf16(), {32, 3072, 192}),
                              operand("out", bf16(), {16, 3072})},
                             {{"act_group", 0}}));
  ASSERT_EQ(p.functions.size(), 5u);
  EXPECT_THAT(p.functions[2].body,
              HasSubstr("splitInner<192, Matrix<bf16, 256, 192, 192>>"));
  // The two halves have tiles of their own.
  EXPECT_THAT(p.functions[3].body, HasSubstr("expertsDownStream<2, "));
}

} // namespace
} // namespace saddle::cuda
