// The planner of linear attention, and of the ops around it.

#include "PlanFixture.h"

#include "runtime/kernels/shared/scan.h"

namespace saddle::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class ScanPlanTest : public PlanTest {
protected:
  struct Sizes {
    int64_t tokens, sequences;
    int64_t heads = 64, rows = 128, cols = 128;
    int64_t stateStride = 0;
  };

  LaunchDesc scan(mlir::Type type, Sizes s) {
    LaunchDesc result =
        with(launch("decay_scan",
                    {operand("qkv", type,
                             {s.tokens, s.heads * (2 * s.rows + s.cols)}),
                     operand("positions", i32(), {s.tokens}),
                     operand("sequences", i32(), {s.tokens}),
                     operand("state", f32(), {1, s.heads, s.rows, s.cols},
                             s.stateStride),
                     operand("out", type, {s.tokens, s.heads * s.cols})},
                    {{"heads", 64}}),
             "rate", 0.5);
    result.sequences = s.sequences;
    return result;
  }
};

TEST_F(ScanPlanTest, DecodesHaveACtaForEachTokenAndColumns) {
  // Parts of 32 columns, since halves of 64 heads do not fill the machine.
  KernelPlan p = plan(scan(bf16(), {1, 8}));
  EXPECT_THAT(p.headers, ElementsAre("impls/scan.cuh"));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("using S = Scan<1, 8, 64, 128, 128,"));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("scanTokens<S, 32, 4, /*everyToken=*/true>"));
  EXPECT_EQ(p.functions[0].grid[0], 256u);
  EXPECT_EQ(p.functions[0].grid[1], 1u);
  EXPECT_EQ(p.functions[0].block, 256u);
  EXPECT_EQ(p.functions[0].residentBlocks, 2u);
  // No smaller ones than that; whole rows of eight tokens do.
  p = plan(scan(bf16(), {1, 8, 8}));
  EXPECT_THAT(p.functions[0].body, HasSubstr("scanTokens<S, 32, 4,"));
  EXPECT_EQ(p.functions[0].grid[0], 32u);
  p = plan(scan(bf16(), {8, 8}));
  EXPECT_THAT(p.functions[0].body, HasSubstr("scanTokens<S, 128, 4,"));
  EXPECT_EQ(p.functions[0].grid[0], 64u);
  EXPECT_EQ(p.functions[0].grid[1], 8u);
}

TEST_F(ScanPlanTest, SlopesAreThoseOfTheModelsHeads) {
  // 64 heads: 2^(-1/8), 2^(-1/4) ... A rank with eight of them takes its own;
  // the rate of the layer comes with the launch.
  for (int64_t tokens : {1, 512})
    EXPECT_THAT(plan(scan(bf16(), {tokens, 8, 8})).functions[0].body,
                StartsWith("static __constant__ const double slopes[] = {\n"
                           "    0.91700404320467122, 0.8408964152537145,"));
}

TEST_F(ScanPlanTest, SiLUIsAppliedToWhatIsRead) {
  LaunchDesc fused = scan(bf16(), {4, 8});
  LaunchStep silu = step("silu", {0, 5}, {}),
             recurrence = step("decay_scan", {5, 1, 2, 4, 3}, {{"heads", 64}},
                               {{"rate", 0.5}});
  fused.op = "silu_decay_scan";
  fused.constants = {};
  fused.body = {silu, recurrence};
  std::swap(fused.operands[3], fused.operands[4]);
  KernelPlan p = plan(fused);
  EXPECT_THAT(p.headers, ElementsAre("impls/scan.cuh"));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("Matrix<bf16, 4, 8192, 8192>, /*activates=*/true>;"));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("scanTokens<S, 128, 4, /*everyToken=*/true>"));
  EXPECT_EQ(p.functions[0].grid[0], 64u);
  EXPECT_EQ(p.functions[0].grid[1], 4u);
  // Of prompts too.
  fused.capacity = 9;
  EXPECT_THAT(plan(fused).functions[0].body,
              HasSubstr("Matrix<bf16, 4, 8192, 8192>, /*activates=*/true>;"));
  EXPECT_THAT(plan(fused).functions[0].body, HasSubstr("scanSpans<S, "));
  // The two CTAs of a head's 128 columns share q and k.
  EXPECT_EQ(plan(fused).functions[0].cluster, 2u);
  fused.operands[4].strides[1] += 20;
  EXPECT_THAT(errorOf(fused), HasSubstr("gaps between heads or rows"));
}

TEST_F(ScanPlanTest, PromptsAreTakenInBlocks) {
  // 64 heads in halves of 64 columns fill the machine.
  KernelPlan p = plan(scan(bf16(), {8192, 8}));
  EXPECT_THAT(p.headers, ElementsAre("impls/scan_tiles.cuh"));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("scanSpans<S, /*sharedBytes=*/216536, /*span=*/8192, "
                        "/*spans=*/1>(p, slopes);"));
  EXPECT_EQ(p.functions[0].grid[0], 128u);
  EXPECT_EQ(p.functions[0].grid[1], 1u);
  EXPECT_EQ(p.functions[0].block, 512u);
  EXPECT_EQ(p.functions[0].sharedBytes, device::ScanLayout{128}.sharedBytes());
  EXPECT_EQ(p.functions[0].residentBlocks, 1u);
  // Nothing is activated, so CTAs of a head have nothing to share.
  EXPECT_EQ(p.functions[0].cluster, 1u);
  EXPECT_EQ(p.workspaceBytes, 0u);
  // Up to 64 rows need less, and parts of 64 columns become whole ones.
  p = plan(scan(bf16(), {128, 8, 4, 24, 72}));
  EXPECT_EQ(p.functions[0].grid[0], 8u);
  EXPECT_EQ(p.functions[0].sharedBytes, device::ScanLayout{64}.sharedBytes());
  // As many tokens as slots are decodes, more are not.
  EXPECT_THAT(plan(scan(bf16(), {64, 64})).functions[0].body,
              HasSubstr("scanTokens<"));
  EXPECT_THAT(plan(scan(bf16(), {65, 64})).functions[0].body,
              HasSubstr("scanSpans<"));
}

TEST_F(ScanPlanTest, SpansOfAPromptFillTheMachine) {
  // Eight heads are 16 CTAs, and 132 fit: eight spans of 256 tokens.
  KernelPlan p = plan(scan(bf16(), {2048, 8, 8}));
  EXPECT_THAT(p.headers, ElementsAre("impls/scan_tiles.cuh"));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_EQ(p.functions[0].suffix, "sums");
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("scanSpanSums<S, /*sharedBytes=*/216536, /*span=*/256, "
                        "/*spans=*/8>(p, slopes);"));
  EXPECT_EQ(p.functions[0].grid[0], 16u);
  EXPECT_EQ(p.functions[0].grid[1], 7u);
  EXPECT_EQ(p.functions[1].suffix, "spans");
  EXPECT_THAT(p.functions[1].body, HasSubstr("scanSpans<S, "));
  EXPECT_EQ(p.functions[1].grid[1], 8u);
  // Two states of 512 KiB for each span, and a number for each CTA.
  EXPECT_EQ(p.workspaceBytes, 8u * (2 * 512 * 1024 + 16 * 4));
  // 32 heads are 64 CTAs: two spans. None is shorter than two blocks.
  p = plan(scan(bf16(), {2048, 8, 32}));
  EXPECT_THAT(p.functions[1].body, HasSubstr("/*span=*/1024, /*spans=*/2>"));
  p = plan(scan(bf16(), {512, 8, 8}));
  EXPECT_THAT(p.functions[1].body, HasSubstr("/*span=*/128, /*spans=*/4>"));
}

TEST_F(ScanPlanTest, WhatHasNoTilesGoesTokenByToken) {
  for (const LaunchDesc &launch :
       {scan(f32(), {512, 8}), scan(f16(), {512, 8}),
        scan(bf16(), {512, 8, 4, 20, 16}), scan(bf16(), {512, 8, 4, 16, 20}),
        scan(bf16(), {512, 8, 4, 256, 16})}) {
    EXPECT_THAT(plan(launch).functions[0].body,
                HasSubstr("/*everyToken=*/false"));
    EXPECT_EQ(plan(launch).functions[0].residentBlocks, 1u);
  }
  // 12 columns are three vectors of four lanes, 7 are single.
  EXPECT_THAT(plan(scan(f32(), {9, 8, 4, 12, 12})).functions[0].body,
              HasSubstr("scanTokens<S, 16, 4,"));
  EXPECT_THAT(plan(scan(f32(), {9, 8, 4, 3, 7})).functions[0].body,
              HasSubstr("scanTokens<S, 8, 1,"));
  // More rows than threads hold by whole rows: parts of eight lanes.
  KernelPlan p = plan(scan(f32(), {9, 8, 4, 512, 128}));
  EXPECT_THAT(p.functions[0].body, HasSubstr("scanTokens<S, 32, 4,"));
  EXPECT_EQ(p.functions[0].grid[0], 4u * 4);
  EXPECT_EQ(p.functions[0].grid[1], 8u);
}

TEST_F(ScanPlanTest, StatesThatNoCtaHoldsAreRefused) {
  EXPECT_THAT(plan(scan(f32(), {9, 8, 1, 4096, 4})).functions[0].body,
              HasSubstr("scanTokens<S, 4, 4,"));
  EXPECT_EQ(errorOf(scan(f32(), {9, 8, 1, 8192, 4})),
            "decay_scan has states of 8192 rows, expected 4096 at most");
  EXPECT_EQ(errorOf(scan(bf16(), {9, 8, 4, 16, 16, 20})),
            "decay_scan needs a dense state, but \"state\" has gaps between "
            "heads or rows");
}

TEST_F(ScanPlanTest, OpsAroundTheScanAreElementwise) {
  auto body = [&](const LaunchDesc &launch) {
    KernelPlan p = plan(launch);
    EXPECT_THAT(p.headers, ElementsAre("impls/elementwise.cuh"));
    EXPECT_EQ(p.functions[0].grid[0],
              24u); // 64 x 384 / 4 vectors, 256 of a CTA
    return p.functions[0].body;
  };
  Operand a = operand("a", bf16(), {64, 384}, 512),
          b = operand("b", bf16(), {64, 384});
  EXPECT_EQ(body(launch("silu", {a, b}, {})),
            "silu<1, Matrix<bf16, 64, 384, 512>, Matrix<bf16, 64, 384, "
            "384>>(p);");
  EXPECT_EQ(body(launch("sigmoid_gate", {a, b, b}, {})),
            "sigmoidGate<1, Matrix<bf16, 64, 384, 512>, Matrix<bf16, 64, 384, "
            "384>, Matrix<bf16, 64, 384, 384>>(p);");
  LaunchDesc add =
      with(with(launch("scaled_add", {a, b, b}, {}), "alpha", 3.5), "beta", 1);
  EXPECT_THAT(body(add), StartsWith("scaledAdd<1, "));
  EXPECT_THAT(body(add), HasSubstr(">(p, 3.5f, 1.0f);"));
}

TEST_F(ScanPlanTest, ASoftmaxRouterHasNoBias) {
  auto router = [&](int64_t experts, int64_t tokens = 65) {
    return launch("softmax_topk",
                  {operand("logits", f32(), {tokens, experts}),
                   operand("weights", f32(), {tokens, 2}),
                   operand("experts", i32(), {tokens, 2})},
                  {});
  };
  KernelPlan p = plan(router(32));
  EXPECT_THAT(p.headers, ElementsAre("impls/router.cuh"));
  EXPECT_EQ(p.functions[0].body,
            "softmaxTopK<1, 32, Matrix<f32, 65, 32, 32>, Matrix<f32, 65, 2, "
            "2>, Matrix<i32, 65, 2, 2>>(p);");
  EXPECT_EQ(p.functions[0].block, 32u);
  EXPECT_EQ(p.functions[0].grid[0], 65u);
  EXPECT_THAT(plan(router(32, 1000)).functions[0].body,
              StartsWith("softmaxTopKOfWarps<1, Matrix<f32, 1000, 32, 32>, "));
  p = plan(launch(
      "shared_gate",
      {operand("weights", f32(), {300, 2}), operand("logit", f32(), {300, 1}),
       operand("routed", f32(), {300, 2}), operand("shared", f32(), {300, 1}),
       operand("experts", i32(), {300, 1})},
      {}));
  EXPECT_THAT(p.functions[0].body,
              StartsWith("sharedGate<1, Matrix<f32, 300, 2, 2>, "));
  EXPECT_EQ(p.functions[0].grid[0], 3u); // of 128 tokens each
  EXPECT_EQ(errorOf(router(2000)), "softmax_topk chooses among 2000 experts, "
                                   "expected 1024 at most");
}

} // namespace
} // namespace saddle::cuda
