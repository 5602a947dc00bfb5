#include "passes/Target/Sm90a/Plans/Products.h"
#include "test/unit/cuda-plans/StoredFixture.h"

namespace saddle::cuda {
namespace {

using schema::CompanionKind;
using testing::ElementsAre;
using testing::HasSubstr;

/// Which kernels weights of integer codes, or of codes that are decoded, get.
class StoredKernelTest : public StoredPlanTest {
protected:
  /// int8 with a scale for each row.
  LaunchDesc bytes(int64_t tokens, int64_t rows, int64_t cols) {
    return launch("linear",
                  {operand("x", bf16(), {tokens, cols}),
                   operand("w", builder.getIntegerType(8, /*isSigned=*/true),
                           {rows, cols}),
                   of("w_scale", f32(), {rows}, cols, cols),
                   operand("out", bf16(), {tokens, rows})},
                  {{"act_group", 0}});
  }
  /// MXFP8.
  LaunchDesc mxfp8(int64_t tokens, int64_t rows, int64_t cols) {
    LaunchDesc result = bytes(tokens, rows, cols);
    result.operands[1].element = e4m3();
    result.operands[2] = of("w_scale", e8m0(), {rows}, cols, 32);
    return result;
  }
  std::string headerOf(const LaunchDesc &launch) {
    return plan(launch).headers[0];
  }
};

TEST_F(StoredKernelTest, OneTokenMeetsCodesAsIntegers) {
  KernelPlan p = plan(experts(1, 768));
  EXPECT_THAT(p.headers, ElementsAre("impls/experts_digits.cuh"));
  ASSERT_EQ(p.functions.size(), 2u);
  // The second reads the choices before it waits.
  EXPECT_EQ(p.functions[0].next, Next::WhenWaited);
  // 3072 columns are 24 units of 128, four for each of six warps, which are two
  // lines. A stage of a warp has 16 rows of 64 bytes and of a scale for each; a
  // unit of the token has 336 bytes.
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("StoredWeights<Matrix<u8, 393216, 1536, 1536>, "));
  EXPECT_EQ(p.functions[0].sharedBytes,
            6u * (2 * 4 * (1024 + 16 * 4) + 4 * 336));
  // 96 items of eight columns for each of eight choices, 768 in all, are 1.94
  // for each of three CTAs of 132 multiprocessors, and 2.91 for each of two.
  EXPECT_THAT(p.functions[0].grid, ElementsAre(396u, 1u, 1u));
  EXPECT_THAT(p.functions[0].body, HasSubstr(", 256, 6, 4, 2, 2>(p, "));
  EXPECT_FALSE(p.functions[0].waitsItself);
  // Four CTAs of two choices for each 48 of 3072 rows, 1.94 for each
  // multiprocessor; three warps a choice with two of 768 columns' six units,
  // and three tiles of rows, all of them on their way at a time.
  EXPECT_EQ(p.functions[1].grid[0], 256u);
  EXPECT_EQ(p.functions[1].cluster, 4u);
  EXPECT_EQ(p.functions[1].block, 192u);
  EXPECT_THAT(p.functions[1].body, HasSubstr(", 4, 2, 3, 2, 3, 3>(p, "));
  EXPECT_TRUE(p.functions[1].waitsItself);
  // Activations in fp32.
  EXPECT_EQ(p.workspaceBytes, 8u * 768 * 4);
}

TEST_F(StoredKernelTest, APairOfCtasThatAreAloneMultipliesTheSecondProduct) {
  // Four choices take more than half of the shared memory, so that 128 CTAs are
  // on 128 multiprocessors, and less than two thirds: twelve warps have two
  // stages of 16 rows with four units, and as many of the token.
  KernelPlan p = plan(experts(1, 1536));
  EXPECT_THAT(p.functions[1].body, HasSubstr(", 2, 4, 3, 4, 2, 3>(p, "));
  EXPECT_EQ(p.functions[1].sharedBytes,
            12u * (2 * 4 * (1024 + 16 * 4) + 4 * 336));
  EXPECT_EQ(p.functions[1].grid[0], 128u);
  EXPECT_EQ(p.functions[1].cluster, 2u);
  EXPECT_EQ(p.functions[1].block, 384u);
  EXPECT_EQ(p.functions[1].residentBlocks, 1);
  // Those of two tokens would come one after the other.
  EXPECT_THAT(plan(experts(2, 1536)).functions[1].body,
              HasSubstr(", 4, 2, 3, 4, 3, 3>(p, "));
}

TEST_F(StoredKernelTest, LongRowsOfTheSecondProductTakeMoreWarps) {
  // A choice for each CTA, and warps with four units each of 16 and of 24.
  EXPECT_THAT(plan(experts(1, 2048)).functions[1].body,
              HasSubstr(", 8, 1, 4, 4, 3, 4>(p, "));
  EXPECT_THAT(plan(experts(1, 3072)).functions[1].body,
              HasSubstr(", 8, 1, 6, 4, 3, 6>(p, "));
}

TEST_F(StoredKernelTest, ALinearOfOneTokenWalksTilesOfRows) {
  KernelPlan p = plan(bytes(1, 8192, 3072));
  EXPECT_THAT(p.headers, ElementsAre("impls/linear_digits.cuh"));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_TRUE(p.functions[0].waitsItself);
  // Bytes: units of 64 columns, four for each of twelve warps; with three
  // stages a CTA takes 147 KB and 9 KB of the token, so that there is one for
  // each multiprocessor, and 512 tiles are four at most.
  EXPECT_EQ(p.functions[0].grid[0], 132u);
  EXPECT_THAT(p.functions[0].body, HasSubstr(", 12, 4, 3, 4>(p);"));
  // Twice as long rows have room for two stages.
  EXPECT_THAT(plan(bytes(1, 3072, 6144)).functions[0].body,
              HasSubstr(", 12, 8, 2, 2>(p);"));
  // Two tokens walk the tiles one after the other.
  EXPECT_THAT(plan(bytes(2, 8192, 3072)).functions[0].body,
              HasSubstr(", 12, 4, 3, 8>(p);"));
  // Rows of 16.
  EXPECT_EQ(headerOf(bytes(1, 8200, 3072)), "impls/linear.cuh");
}

TEST_F(StoredKernelTest, OneTokenMeetsFloatsOfEightBitsAsF16) {
  KernelPlan p = plan(mxfp8(1, 8192, 3072));
  EXPECT_THAT(p.headers, ElementsAre("impls/linear_digits.cuh"));
  // Four units for each of twelve warps, with two scales of a byte for each of
  // 16 rows: three stages. Of a unit of 64 columns the token has two f16
  // numbers for each and four exponents, and 16 zeros in all.
  EXPECT_EQ(p.functions[0].sharedBytes,
            12u * (3 * 4 * (1024 + 16 * 2) + 4 * (64 * 4 + 16) + 32));
  // The output product of the whole model has room for two stages.
  EXPECT_THAT(plan(mxfp8(1, 3072, 6144)).functions[0].body,
              HasSubstr(", 12, 8, 2, 2>(p);"));
  EXPECT_THAT(p.functions[0].body, HasSubstr("linearDigits<1, false, "));
  // Blocks of 128 rows, or all of them, have one scale.
  LaunchDesc blocks = mxfp8(1, 8192, 3072);
  for (int64_t rows : {128, 8192}) {
    blocks.operands[2].blockRows = rows;
    EXPECT_EQ(headerOf(blocks), "impls/linear_digits.cuh");
  }
  blocks.operands[2].blockRows = 3; // of which there are no whole ones
  EXPECT_EQ(headerOf(blocks), "impls/linear.cuh");
  EXPECT_EQ(headerOf(mxfp8(3, 8192, 3072)), "impls/linear_tile.cuh");
}

TEST_F(StoredKernelTest, TokensThatAreQuantisedByRowsAreSoInTheProduct) {
  LaunchDesc perRow = launch("linear",
                             {operand("x", bf16(), {2, 3072}),
                              operand("w", e4m3(), {8192, 3072}),
                              of("w_scale", f32(), {8192}, 3072, 3072),
                              operand("out", bf16(), {2, 8192})},
                             {{"act_group", 3072}});
  KernelPlan p = plan(perRow);
  EXPECT_THAT(p.headers, ElementsAre("impls/linear_digits.cuh"));
  ASSERT_EQ(p.functions.size(), 1u); // nobody quantises before
  EXPECT_THAT(p.functions[0].body, HasSubstr("linearDigits<1, true, "));
  EXPECT_EQ(p.workspaceBytes, 0u);
}

TEST_F(StoredKernelTest, BlocksOfScalesAreWholeStretchesOrHalves) {
  // A lane reads 32 columns of four bits. Half of them have a scale of one
  // byte, but none of four.
  LaunchDesc nvfp4 = linear(1, 256, 3072, 16);
  nvfp4.operands[1] = codes("w", {256}, 3072, schema::Codes::E2M1);
  nvfp4.operands[2].element = e4m3();
  nvfp4.operands.erase(nvfp4.operands.begin() + 3); // no zeros
  EXPECT_EQ(headerOf(nvfp4), "impls/linear_digits.cuh");
  nvfp4.operands[2].element = f32();
  EXPECT_EQ(headerOf(nvfp4), "impls/linear.cuh");
  // Stretches of a group that units cut.
  EXPECT_EQ(headerOf(linear(1, 256, 3072, 96)), "impls/linear_packed.cuh");
  LaunchDesc rotated = linear(1, 256, 3072);
  rotated.operands[1].encoding.rotated = 128;
  EXPECT_EQ(headerOf(rotated), "impls/linear.cuh");
}

TEST_F(StoredKernelTest, ManyTokensMeetDecodedRows) {
  KernelPlan p = plan(linear(2048, 8192, 3072));
  EXPECT_THAT(p.headers, ElementsAre("impls/linear_tile.cuh"));
  ASSERT_EQ(p.functions.size(), 1u);
  // Two groups with two waves, and three stages beside the codes of four: 48 KB
  // and 8 KB.
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("TileProduct<Matrix<bf16, 2048, 3072, 3072>, "
                        "StoredWeights<"));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("TokenOrder::Anywhere, 2, 2, 3>>(p, "));
  EXPECT_EQ(p.functions[0].block, 512u); // two multiply, two feed
  EXPECT_EQ(p.functions[0].grid[0], 132u);
  // Few tokens of four bits stream.
  EXPECT_EQ(headerOf(linear(32, 8192, 3072)), "impls/linear_packed.cuh");
  EXPECT_EQ(headerOf(linear(33, 8192, 3072)), "impls/linear_tile.cuh");
  // Bytes have no such kernel.
  EXPECT_EQ(headerOf(bytes(3, 8192, 3072)), "impls/linear_tile.cuh");
  EXPECT_EQ(headerOf(mxfp8(3, 8192, 3072)), "impls/linear_tile.cuh");
  LaunchDesc placed = mxfp8(3, 8192, 3072);
  placed.operands.back().alignment = 8; // results are written by 16 bytes
  EXPECT_EQ(headerOf(placed), "impls/linear.cuh");
  LaunchDesc shared = mxfp8(3, 8192, 3072);
  shared.operands[2].blockRows = 8;
  EXPECT_EQ(headerOf(shared), "impls/linear_tile.cuh");
  shared.operands[2].blockRows = 3; // of which there are no whole ones
  EXPECT_EQ(headerOf(shared), "impls/linear.cuh");
  // A whole row of 48 columns is neither a stage of 64 nor a part of one.
  LaunchDesc narrow = bytes(3, 8192, 48);
  narrow.operands[2].blockCols = 48;
  EXPECT_EQ(headerOf(narrow), "impls/linear.cuh");
  LaunchDesc wide = bytes(3, 8192, 96);
  wide.operands[2].blockCols = 96;
  EXPECT_EQ(headerOf(wide), "impls/linear_tile.cuh");
}

TEST_F(StoredKernelTest, RowsOfCodesAreScaledBehindTheirSums) {
  // FP8 with a scale for each row, whose activations have one, too.
  auto quantised = [&](int64_t group, Operand scales) {
    return launch("linear",
                  {operand("x", bf16(), {64, 3072}),
                   operand("w", e4m3(), {8192, 3072}), scales,
                   operand("out", bf16(), {64, 8192})},
                  {{"act_group", group}});
  };
  Operand ofRows = scale("w_scale", {8192, 1}, 1, 3072);
  KernelPlan p = plan(quantised(3072, ofRows));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_THAT(
      p.functions[0].body,
      HasSubstr("encodeRows<1, 3072, Matrix<bf16, 64, 3072, 3072>, "
                "Matrix<e4m3, 64, 3072, 3072>, Matrix<f32, 64, 1, 1>>("));
  // A stage has 128 columns, a token one factor for 3072, rows none in the
  // ring.
  EXPECT_THAT(p.functions[1].body, HasSubstr(", 128, 3072, 0>, Companion<"));
  EXPECT_THAT(p.functions[1].body, HasSubstr("ScaledTokens<Matrix<f32, 64, "));
  // Codes, factors, and the maps of 132 CTAs at the next multiple of 256.
  EXPECT_EQ(p.workspaceBytes,
            64u * 3072 + 256 + uint64_t(TileShape::mapBytes()));
  // One scale in all.
  EXPECT_THAT(
      plan(quantised(3072, scale("w_scale", {1, 1}, 8192, 3072)))
          .functions[1]
          .body,
      HasSubstr(", 128, 3072, 0>, Companion<Matrix<f32, 1, 1, 1>, 8192"));
  // Two tokens are multiplied digit by digit, and rows that are no multiple of
  // eight by kernels for any shape.
  LaunchDesc odd = quantised(3072, scale("w_scale", {8196, 1}, 1, 3072));
  odd.operands[1] = operand("w", e4m3(), {8196, 3072});
  odd.operands.back() = operand("out", bf16(), {64, 8196});
  odd.operands.back().strides[0] = 8200; // where tiles could write
  EXPECT_EQ(headerOf(odd), "impls/linear.cuh");
  // Groups of columns are none that these kernels quantise by.
  EXPECT_EQ(headerOf(quantised(1024, ofRows)), "impls/linear.cuh");
}

TEST_F(StoredKernelTest, ExpertsWhoseRowsHaveScalesMeetTokensAsCodes) {
  auto quantised = [&](int64_t tokens, int64_t inner, int64_t group) {
    return launch("experts",
                  {operand("x", bf16(), {tokens, 3072}),
                   operand("weights", f32(), {tokens, 8}),
                   operand("experts", i32(), {tokens, 8}),
                   operand("w13", e4m3(), {256, 2 * inner, 3072}),
                   of("w13_scale", f32(), {256, 2 * inner}, 3072, 3072),
                   operand("w2", e4m3(), {256, 3072, inner}),
                   of("w2_scale", f32(), {256, 3072}, inner, inner),
                   operand("out", bf16(), {tokens, 3072})},
                  {{"act_group", group}});
  };
  KernelPlan p = plan(quantised(2048, 1536, 3072));
  EXPECT_THAT(p.headers, ElementsAre("impls/experts_tile.cuh"));
  ASSERT_EQ(p.functions.size(), 5u); // prepare, up, inner, down, combine
  EXPECT_THAT(p.functions[1].body, HasSubstr(", 128, 3072, 0>, Companion<"));
  EXPECT_THAT(p.functions[2].body, HasSubstr("encodeInner<3072, 1536, "));
  EXPECT_THAT(p.functions[3].body, HasSubstr(", 128, 1536, 0>, Companion<"));
  // From three tokens on; 160 activations are no runs of 64 rows, and groups
  // of columns are none that rows are scaled by.
  EXPECT_EQ(headerOf(quantised(3, 1536, 3072)), "impls/experts_tile.cuh");
  EXPECT_EQ(headerOf(quantised(2, 1536, 3072)), "impls/experts_digits.cuh");
  EXPECT_EQ(headerOf(quantised(2048, 160, 3072)), "impls/experts.cuh");
  EXPECT_EQ(headerOf(quantised(2048, 1536, 1024)), "impls/experts.cuh");
}

TEST_F(StoredKernelTest, ExpertsWithManyTokensMeetDecodedRows) {
  // 2048 tokens are 64 for each expert; 512 blocks at most.
  KernelPlan p = plan(experts(2048, 1536));
  EXPECT_THAT(p.headers, ElementsAre("impls/experts_tile.cuh"));
  ASSERT_EQ(p.functions.size(), 4u);
  EXPECT_THAT(p.functions[1].body, HasSubstr("NoCompanion, PlainTokens>(p, "));
  EXPECT_THAT(p.functions[2].body, HasSubstr("expertsDownTile<5, "));
  // Of 16384 pairs: activations in bf16, products in fp32.
  EXPECT_GE(p.workspaceBytes, 16384u * (1536 * 2 + 3072 * 4));
  // 384 tokens are 12 for each.
  EXPECT_EQ(headerOf(experts(384, 1536)), "impls/experts_packed.cuh");
  // 160 activations are no runs of 64 rows.
  EXPECT_EQ(headerOf(experts(2048, 160)), "impls/experts_packed.cuh");
}

} // namespace
} // namespace saddle::cuda
