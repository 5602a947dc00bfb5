// Which attention kernel, and how positions are cut into ranges.

#include "test/unit/cuda-plans/PlanFixture.h"

#include <set>

namespace saddle::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class AttentionPlanTest : public PlanTest {
protected:
  struct Shape {
    int64_t tokens = 1, heads = 6, kvHeads = 1, headDim = 128, pageSize = 16,
            sequences = 8, pages = 512;
    double scale = 0.125;
    int64_t cacheStride = 0;
  };
  LaunchDesc attention(mlir::Type type, mlir::Type kv, const Shape &s) {
    LaunchDesc result =
        launch("attention",
               {operand("q", type, {s.tokens, s.heads * s.headDim}),
                operand("kcache", kv, {9000, s.pageSize, s.kvHeads, s.headDim}),
                operand("vcache", kv, {9000, s.pageSize, s.kvHeads, s.headDim},
                        s.cacheStride),
                operand("positions", i32(), {s.tokens}),
                operand("sequences", i32(), {s.tokens}),
                operand("block_table", i32(), {s.sequences, s.pages}),
                operand("out", type, {s.tokens, s.heads * s.headDim})},
               {{"head_dim", s.headDim}});
    mlir::NamedAttrList constants(result.constants);
    constants.append("scale", builder.getF64FloatAttr(s.scale));
    result.constants = constants.getDictionary(&context);
    return result;
  }
};

TEST_F(AttentionPlanTest, OneTokenFillsTheMachine) {
  KernelPlan p = plan(attention(bf16(), bf16(), {}));
  EXPECT_THAT(p.headers, ElementsAre("impls/attention_decode.cuh"));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_EQ(p.functions[0].suffix, "ranges");
  EXPECT_THAT(p.functions[0].body, HasSubstr("using A = Attention<1, 128, 16, "
                                             "128, Matrix<bf16, 1, 768, 768>"));
  EXPECT_THAT(p.functions[0].body, HasSubstr("Matrix<bf16, 144000, 128, 128>"));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("attentionDecode<A, 4, 1>(p, 0.125f);"));
  // 2 CTAs for each of 132 multiprocessors, but 512 pages of 16 positions are
  // 128 ranges of 64.
  EXPECT_THAT(p.functions[0].grid, ElementsAre(128, 1, 1));
  EXPECT_EQ(p.functions[0].residentBlocks, 2u);
  EXPECT_EQ(p.functions[1].suffix, "combine");
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("combineSplits<A, 16, /*everySplit=*/false, "
                        "/*binary=*/true>(p);"));
  EXPECT_THAT(p.functions[1].grid, ElementsAre(6, 1, 1));
  EXPECT_EQ(p.functions[1].block, 512u);
  // Six heads x 128 ranges of 128 sums, a maximum and a total.
  EXPECT_EQ(p.workspaceBytes, 6u * 128 * 130 * 4);
}

/// With the quantised product behind it.
class AttentionLinearPlanTest : public AttentionPlanTest {
protected:
  LaunchDesc fused(int64_t headDim) {
    int64_t width = 48 * headDim, pages = 256;
    LaunchDesc result = launch(
        "attention_linear",
        {operand("q", bf16(), {1, width}),
         operand("kcache", bf16(), {pages, 16, 8, headDim}),
         operand("vcache", bf16(), {pages, 16, 8, headDim}),
         operand("positions", i32(), {1}), operand("sequences", i32(), {1}),
         operand("block_table", i32(), {1, pages}),
         operand("w", e4m3(), {256, width}),
         scale("w_scale", {2, width / 128}, 128, 128),
         operand("out", bf16(), {1, 256})},
        {});
    LaunchStep attend, product;
    attend.op = "attention";
    attend.constants = builder.getDictionaryAttr(
        {builder.getNamedAttr("head_dim", builder.getI64IntegerAttr(headDim)),
         builder.getNamedAttr("scale", builder.getF64FloatAttr(0.125))});
    attend.values = {0, 1, 2, 3, 4, 5, 9};
    product.op = "linear";
    product.constants = builder.getDictionaryAttr(
        {builder.getNamedAttr("act_group", builder.getI64IntegerAttr(128))});
    product.values = {9, 6, 7, 8};
    result.body = {attend, product};
    return result;
  }
};

/// The ranges of a head leave as codes.
TEST_F(AttentionLinearPlanTest, AHeadLeavesAsTheCodesOfItsProduct) {
  KernelPlan p = plan(fused(128));
  ASSERT_EQ(p.functions.size(), 3u);
  EXPECT_EQ(p.functions[0].suffix, "ranges");
  EXPECT_EQ(p.functions[1].suffix, "combine");
  EXPECT_THAT(p.functions[1].body, HasSubstr("combineSplitsEncode<A, "));
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("Matrix<e4m3, 1, 6144, 6144>, Matrix<f32, 1, 48, 48>"));
  EXPECT_EQ(p.functions[2].suffix, "product");
  EXPECT_THAT(p.functions[2].body,
              HasSubstr("p.operands[3] = launch.operands[8];"));
  // The product's workspace begins behind the partial results.
  EXPECT_THAT(p.functions[2].body, HasSubstr("p.workspace = "));
  uint64_t codes = 6144, factors = 48 * 4;
  EXPECT_EQ(p.workspaceBytes % 256, (codes + factors) % 256);

  // Two heads are a group: rows are encoded by a function of their own.
  p = plan(fused(64));
  ASSERT_EQ(p.functions.size(), 4u);
  EXPECT_THAT(p.functions[1].body, HasSubstr("combineSplits<A, "));
  EXPECT_EQ(p.functions[2].suffix, "encode");
}

/// Candidates of attention come first, those of the product behind them.
TEST_F(AttentionLinearPlanTest, OneOfTwoProductsIsDividedOtherwise) {
  KernelPlan planned = plan(fused(128));
  ASSERT_EQ(planned.products.size(), 2u);
  size_t cuts = planned.products[0].ways, streams = planned.products[1].ways;
  ASSERT_GE(cuts, 3u);
  ASSERT_GE(streams, 2u);
  for (size_t number = 1; number <= cuts + streams - 2; ++number) {
    Tuning tuning = Tuning::candidate(number);
    LaunchDesc desc = fused(128);
    desc.tuning = &tuning;
    KernelPlan p = plan(desc);
    for (size_t i = 0; i < 2; ++i)
      EXPECT_EQ(p.products[i].division == planned.products[i].division,
                (number < cuts) != (i == 0))
          << number << ", " << p.products[i].product;
  }
}

TEST_F(AttentionPlanTest, CandidatesOfADecodeAreOtherRangesAndWarps) {
  Shape s;
  s.tokens = s.sequences = 8;
  std::set<std::string> divisions;
  for (unsigned number = 0; number < 5; ++number) {
    Tuning tuning = Tuning::candidate(number);
    LaunchDesc desc = attention(bf16(), bf16(), s);
    desc.tuning = &tuning;
    KernelPlan p = plan(desc);
    ASSERT_EQ(p.products.size(), 1u);
    EXPECT_EQ(p.products[0].product,
              "attention bf16 6/1 heads of 128 tokens 8");
    divisions.insert(p.products[0].division.text());
    // Eight warps fill the registers of a multiprocessor.
    const FunctionPlan &ranges = p.functions[0];
    EXPECT_EQ(ranges.grid[0], p.products[0].division.ranges);
    EXPECT_EQ(ranges.block, p.products[0].division.rangeWarps * 32);
    EXPECT_EQ(ranges.block * ranges.residentBlocks, 256u);
  }
  // 263 places for 8 tokens.
  EXPECT_THAT(divisions,
              ElementsAre("ranges 16 4", "ranges 16 8", "ranges 32 4",
                          "ranges 64 2", "ranges 64 4"));
}

TEST_F(AttentionPlanTest, ManyTokensNeedNoRanges) {
  Shape s;
  s.tokens = s.sequences = 64;
  s.heads = 48, s.kvHeads = 8;
  KernelPlan p = plan(attention(bf16(), bf16(), s));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_EQ(p.functions[0].suffix, "");
  EXPECT_THAT(p.functions[0].grid, ElementsAre(1, 8, 64));
  EXPECT_EQ(p.workspaceBytes, 0u);
}

TEST_F(AttentionPlanTest, NarrowCachesAllowMoreCtas) {
  Shape s;
  s.tokens = s.sequences = 64;
  KernelPlan p = plan(attention(bf16(), e4m3(), s));
  // 3 x 132 / 64.
  EXPECT_THAT(p.functions[0].grid, ElementsAre(6, 1, 64));
  EXPECT_EQ(p.functions[0].residentBlocks, 3u);
  EXPECT_THAT(p.functions[0].body, HasSubstr("attentionDecode<A, 4, 1>("));
}

// Where 8 heads of 64 tokens leave nothing to cut, a warp has two narrow tiles
// under way, for which registers allow two CTAs.
TEST_F(AttentionPlanTest, NarrowCachesOfManyTokensHaveTwoTiles) {
  Shape s;
  s.tokens = s.sequences = 64;
  s.heads = 48, s.kvHeads = 8;
  KernelPlan p = plan(attention(bf16(), e4m3(), s));
  EXPECT_THAT(p.functions[0].grid, ElementsAre(1, 8, 64));
  EXPECT_EQ(p.functions[0].residentBlocks, 2u);
  EXPECT_THAT(p.functions[0].body, HasSubstr("attentionDecode<A, 4, 2>("));
  EXPECT_THAT(plan(attention(bf16(), bf16(), s)).functions[0].body,
              HasSubstr("attentionDecode<A, 4, 1>("));
}

TEST_F(AttentionPlanTest, HeadsGoInGroupsOfEight) {
  Shape s;
  s.heads = 40, s.kvHeads = 2;
  // 20 heads of a kv head are three groups. Of two places on each of 132
  // multiprocessors one stays free: 43 x 6 fill no more than 263.
  EXPECT_THAT(plan(attention(bf16(), bf16(), s)).functions[0].grid,
              ElementsAre(43, 6, 1));
}

TEST_F(AttentionPlanTest, MoreTokensThanSequencesArePrefill) {
  Shape s;
  s.tokens = 512;
  KernelPlan p = plan(attention(bf16(), bf16(), s));
  EXPECT_THAT(p.headers, ElementsAre("impls/attention_prefill.cuh"));
  // 32 blocks of tokens x 6 heads are 24 items of 8 warps. n ranges take 1 / n
  // of a round while 24 n <= 132, and 240 / 4096 n x 24 / 132 of traffic: 5
  // ranges are best, 0.2 + 0.053; 6 need a second round.
  EXPECT_THAT(p.functions[0].body, HasSubstr("Attention<1, 128, 16, 5,"));
  EXPECT_THAT(p.functions[0].grid, ElementsAre(120, 1, 1));
  EXPECT_EQ(p.functions[0].block, 384u);
  EXPECT_EQ(p.functions[0].residentBlocks, 1u);
  // 6 tiles x (128 positions x 128 bf16, two barriers, four numbers), and
  // alignment. The partial results: 512 tokens x 6 heads x 5 x (128 + 2) x 4.
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("attentionPrefill<A, /*sharedBytes=*/197824>(p, "
                        "0.125f, static_cast<uint8_t *>(p.workspace) + "
                        "7987200);"));
  EXPECT_EQ(p.functions[0].sharedBytes, 197824u);
  EXPECT_EQ(p.workspaceBytes, 7987200u + 120 * 256);
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("combineSplits<A, 4, /*everySplit=*/true, "
                        "/*binary=*/true>(p);"));
  // e4m3: as f16, 12 tiles of half as many positions.
  EXPECT_EQ(plan(attention(bf16(), e4m3(), s)).functions[0].sharedBytes,
            12 * (64 * 128 * 2 + 32) + 1024u);
}

TEST_F(AttentionPlanTest, BlocksThatFillTheMachineAreNotCut) {
  Shape s;
  s.tokens = 4096;
  s.pages = 256;
  // 192 items: 1.73 rounds (between 192 / 132 and 2); in two ranges 1.48 and
  // traffic of 240 / 2048 x 2 x 1.45 = 0.34.
  KernelPlan p = plan(attention(bf16(), bf16(), s));
  EXPECT_THAT(p.functions[0].body, HasSubstr("Attention<1, 128, 16, 1,"));
  EXPECT_THAT(p.functions[0].grid, ElementsAre(132, 1, 1));
  EXPECT_EQ(p.workspaceBytes, 132u * 256);
  // With long contexts the traffic is 0.12.
  s.pages = 2048;
  EXPECT_THAT(plan(attention(bf16(), bf16(), s)).functions[0].body,
              HasSubstr("Attention<1, 128, 16, 2,"));
}

TEST_F(AttentionPlanTest, WhatFragmentsCannotHoldTakesTheGeneralKernel) {
  auto header = [&](mlir::Type type, mlir::Type kv, Shape s) {
    return plan(attention(type, kv, s)).headers.front();
  };
  const char *any = "impls/attention.cuh";
  EXPECT_EQ(header(f32(), bf16(), {}), any);
  EXPECT_EQ(header(bf16(), f32(), {}), any);
  Shape s;
  s.headDim = 48;
  EXPECT_EQ(header(bf16(), bf16(), s), any);
  s.headDim = 64;
  EXPECT_EQ(header(bf16(), e4m3(), s), any);
  EXPECT_EQ(header(bf16(), bf16(), s), "impls/attention_decode.cuh");
  s.pageSize = 24;
  EXPECT_EQ(header(bf16(), bf16(), s), any);
  s.tokens = 9;
  EXPECT_EQ(header(bf16(), bf16(), s), "impls/attention_prefill.cuh");
  s.scale = -1;
  EXPECT_EQ(header(bf16(), bf16(), s), any);
}

TEST_F(AttentionPlanTest, TheGeneralKernelHasACtaPerHead) {
  Shape s;
  s.tokens = 5;
  KernelPlan p = plan(attention(f32(), f32(), s));
  // 8 x 132 / (5 x 6).
  EXPECT_THAT(p.functions[0].grid, ElementsAre(35, 6, 5));
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("combineSplits<A, 8, /*everySplit=*/false, "
                        "/*binary=*/false>(p);"));
}

TEST_F(AttentionPlanTest, RefusesGapsAndTooManyTokens) {
  Shape s;
  s.cacheStride = 136;
  EXPECT_EQ(errorOf(attention(bf16(), bf16(), s)),
            "attention needs dense caches, but \"vcache\" has gaps between "
            "pages, slots or heads");
  s = {};
  s.tokens = 70000;
  EXPECT_EQ(errorOf(attention(bf16(), bf16(), s)),
            "attention has 70000 tokens in a step, expected 65535 at most");
}

} // namespace
} // namespace saddle::cuda
