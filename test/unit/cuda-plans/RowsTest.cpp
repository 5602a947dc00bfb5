// Norms, rows, rotations, caches and the router.

#include "test/unit/cuda-plans/PlanFixture.h"

#include "passes/Target/Sm90a/Plans/Literals.h"
#include "runtime/kernels/shared/exchange.h"

namespace saddle::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class RowsPlanTest : public PlanTest {
protected:
  /// The launch with a float constant more.
  LaunchDesc rmsNorm(mlir::Type type, int64_t rows, int64_t width,
                     int64_t stride = 0) {
    return with(launch("rms_norm",
                       {operand("x", type, {rows, width}, stride),
                        operand("weight", f32(), {width}),
                        operand("out", type, {rows, width})},
                       {}),
                "eps", 1e-6);
  }
  LaunchDesc qkNorm(std::vector<int64_t> cache, int64_t qWidth, int64_t kWidth,
                    int64_t headDim, int64_t rotaryDim, bool exchanges = false,
                    int64_t tokens = 64) {
    int64_t row = qWidth + 2 * kWidth;
    LaunchDesc result = launch(
        exchanges ? "qk_norm_all_reduce_rope_kv_append"
                  : "qk_norm_rope_kv_append",
        {operand("x1", bf16(), {tokens, qWidth}, row),
         operand("x2", bf16(), {tokens, kWidth}, row),
         operand("weight", f32(), {qWidth}), operand("weight", f32(), {kWidth}),
         operand("positions", i32(), {tokens}),
         operand("v", bf16(), {tokens, kWidth}, row),
         operand("slots", i32(), {tokens}),
         operand("out", bf16(), {tokens, qWidth}),
         operand("kcache", e4m3(), cache), operand("vcache", e4m3(), cache)},
        {});
    int64_t next = 10, sums = next++;
    result.body.push_back(step("sum_of_squares", {0, 1, sums}, {}));
    if (exchanges) {
      result.body.push_back(step("all_reduce_sum", {sums, next}, {}));
      sums = next++;
    }
    auto scale = [&](int64_t x, int64_t weight, int64_t divisor) {
      result.body.push_back(step("rms_scale", {x, sums, weight, next},
                                 {{"column", x}, {"divisor", divisor}},
                                 {{"eps", 1e-6}}));
      return next++;
    };
    int64_t q = scale(0, 2, 6144), k = scale(1, 3, 1024);
    auto turn = [&](int64_t x, int64_t out) {
      result.body.push_back(
          step("rope", {x, 4, out},
               {{"head_dim", headDim}, {"rotary_dim", rotaryDim}},
               {{"theta", 1e4}}));
    };
    turn(q, 7);
    turn(k, next);
    result.body.push_back(step("kv_append", {next, 5, 6, 8, 9}, {}));
    return result;
  }
};

TEST_F(RowsPlanTest, FloatLiteralsKeepTheirBits) {
  EXPECT_EQ(floatLiteral(1), "1.0f");
  EXPECT_EQ(floatLiteral(6144), "6144.0f");
  EXPECT_EQ(floatLiteral(1e-6), "9.99999997e-07f");
  EXPECT_EQ(floatLiteral(-0.5), "-0.5f");
  EXPECT_EQ(floatLiteral(1e10), "1e+10f");
}

TEST_F(RowsPlanTest, FrequenciesAreThePowersOfTheta) {
  // 10000^0, 10000^(-1/4), 10000^(-2/4), 10000^(-3/4).
  EXPECT_EQ(rotaryFrequencies(8, 1e4),
            "static __constant__ const float frequencies[] = {\n"
            "    1.0f, 0.100000001f, 0.00999999978f, 0.00100000005f};\n");
}

TEST_F(RowsPlanTest, EmbeddingTakesVectorsWhereRowsAllow) {
  auto embedding = [&](int64_t width) {
    return plan(launch("embedding",
                       {operand("tokens", i32(), {64}),
                        operand("table", bf16(), {100, width}),
                        operand("out", bf16(), {64, width})},
                       {}));
  };
  KernelPlan p = embedding(3072);
  EXPECT_THAT(p.headers, ElementsAre("impls/rows.cuh"));
  EXPECT_EQ(p.functions[0].body,
            "embedding<1, Matrix<bf16, 100, 3072, 3072>, Matrix<bf16, 64, "
            "3072, 3072>>(p);");
  // 64 x 3072 / 8 vectors, 256 in a CTA.
  EXPECT_EQ(p.functions[0].grid[0], 96u);
  // 64 x 3073 single values are more than the machine needs: 132 x 8 CTAs have
  // 256 of them each in turn.
  EXPECT_EQ(embedding(3073).functions[0].grid[0], 768u);
}

TEST_F(RowsPlanTest, SelectRowsCountsItsOutput) {
  KernelPlan p =
      plan(launch("select_rows",
                  {operand("x", f32(), {512, 64}), operand("rows", i32(), {8}),
                   operand("out", f32(), {8, 64})},
                  {}, engine::Extent::Rows));
  EXPECT_EQ(p.functions[0].body, "selectRows<2, Matrix<f32, 512, 64, 64>, "
                                 "Matrix<f32, 8, 64, 64>>(p);");
  EXPECT_EQ(p.functions[0].grid[0], 1u);
}

TEST_F(RowsPlanTest, NormsHaveACtaPerRow) {
  KernelPlan p = plan(rmsNorm(bf16(), 64, 3072));
  // 3072 / 8 vectors, one per thread.
  EXPECT_EQ(p.functions[0].body,
            "rmsNorm<1, 384, Matrix<bf16, 64, 3072, 3072>, Matrix<bf16, 64, "
            "3072, 3072>>(p, 9.99999997e-07f);");
  EXPECT_EQ(p.functions[0].block, 384u);
  EXPECT_EQ(p.functions[0].grid[0], 64u);
  // 33 single values: two warps. 8192 rows: 16 CTAs per multiprocessor.
  EXPECT_EQ(plan(rmsNorm(bf16(), 64, 33)).functions[0].block, 64u);
  EXPECT_EQ(plan(rmsNorm(bf16(), 64, 3072, 3076)).functions[0].block, 1024u);
  EXPECT_EQ(plan(rmsNorm(bf16(), 8192, 3072)).functions[0].grid[0], 2112u);
  // From there on a thread has as much of a row as it holds, 32 values, but no
  // CTA has fewer than 128; 6144 / 32.
  EXPECT_EQ(plan(rmsNorm(bf16(), 2112, 6144)).functions[0].block, 192u);
  EXPECT_EQ(plan(rmsNorm(bf16(), 2112, 3072)).functions[0].block, 128u);
  EXPECT_EQ(plan(rmsNorm(bf16(), 2111, 6144)).functions[0].block, 768u);
}

TEST_F(RowsPlanTest, RowsThatNoCtaHoldsAreRefused) {
  EXPECT_EQ(errorOf(rmsNorm(bf16(), 1, 40000)),
            "rms_norm has rows of 40000 elements, expected 32768 at most");
}

TEST_F(RowsPlanTest, AddRmsNormHasBothOutputs) {
  LaunchDesc fused =
      launch("add_rms_norm",
             {operand("a", bf16(), {4, 64}), operand("b", bf16(), {4, 64}, 72),
              operand("weight", f32(), {64}), operand("out", bf16(), {4, 64}),
              operand("out", bf16(), {4, 64})},
             {});
  fused.body = {step("add", {0, 1, 3}, {}),
                step("rms_norm", {3, 2, 4}, {}, {{"eps", 1e-5}})};
  KernelPlan p = plan(fused);
  EXPECT_THAT(p.functions[0].body,
              StartsWith("addRmsNorm<1, 32, Matrix<bf16, 4, 64, 64>, "
                         "Matrix<bf16, 4, 64, 72>"));
  // A body that adds the norm, say, is no business of this kernel.
  std::swap(fused.body[1].values[0], fused.body[1].values[2]);
  EXPECT_EQ(errorOf(fused), "the kernel of \"add_rms_norm\" takes other values "
                            "than the body has");
}

/// add, norm and a quantised product: two functions instead of three.
TEST_F(RowsPlanTest, ANormLeavesAsTheCodesOfItsProduct) {
  auto fused = [&](int64_t width, int64_t blockRows) {
    LaunchDesc result = launch(
        "add_rms_norm_linear",
        {operand("a", bf16(), {4, width}), operand("b", bf16(), {4, width}),
         operand("weight", f32(), {width}), operand("w", e4m3(), {256, width}),
         scale("w_scale", {256 / blockRows, width / 128}, blockRows, 128),
         operand("out", bf16(), {4, width}), operand("out", bf16(), {4, 256})},
        {});
    result.body = {step("add", {0, 1, 5}, {}),
                   step("rms_norm", {5, 2, 7}, {}, {{"eps", 1e-5}}),
                   step("linear", {7, 3, 4, 6}, {{"act_group", 128}})};
    return result;
  };
  KernelPlan p = plan(fused(3072, 128));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_EQ(p.functions[0].suffix, "norm");
  // 3072 / 8 vectors. The sum is the launch's operand 5.
  EXPECT_EQ(p.functions[0].block, 384u);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("p.operands[3] = launch.operands[5];"));
  EXPECT_THAT(
      p.functions[0].body,
      HasSubstr("addRmsNormEncode<1, 384, 128, Matrix<bf16, 4, 3072, "));
  // 4 rows of 3072 codes, then 24 factors each.
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("static_cast<uint8_t *>(p.workspace) + 12288"));
  EXPECT_EQ(p.workspaceBytes, 12288u + 4 * 24 * 4);
  EXPECT_EQ(p.functions[1].suffix, "product");
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("p.operands[3] = launch.operands[6];"));
  EXPECT_THAT(p.functions[1].body, HasSubstr("linearStream<"));

  // Scales of single rows are for the kernel of any shape, which rounds the
  // norm from the workspace: rounded values first, then the norm.
  p = plan(fused(3072, 1));
  ASSERT_EQ(p.functions.size(), 3u);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("p.operands[4] = static_cast<uint8_t "
                        "*>(launch.workspace) + 49152;"));
  EXPECT_THAT(p.functions[0].body, HasSubstr("addRmsNorm<1, 384, "));
  EXPECT_EQ(p.workspaceBytes, 4u * 3072 * 4 + 4 * 3072 * 2);

  // So is a row that shared memory does not hold.
  p = plan(fused(24576, 128));
  EXPECT_THAT(p.functions[0].body, HasSubstr("addRmsNorm<"));

  EXPECT_EQ(errorOf(fused(65536, 128)),
            "add_rms_norm_linear has rows of 65536 elements, expected 32768 at "
            "most");
}

/// add, norm and codes in one function; the norm is stored where others read
/// it.
TEST_F(RowsPlanTest, ANormLeavesAsCodesThatTravel) {
  auto fused = [&](bool both) {
    std::vector<Operand> operands = {
        operand("a", bf16(), {4096, 3072}), operand("b", bf16(), {4096, 3072}),
        operand("weight", f32(), {3072}), operand("out", bf16(), {4096, 3072})};
    if (both)
      operands.push_back(operand("out", bf16(), {4096, 3072}));
    operands.push_back(operand("codes", e4m3(), {4096, 3072}, 3232));
    operands.push_back(operand("factors", f32(), {4096, 24}, 808));
    LaunchDesc result =
        launch(both ? "add_rms_norm_and_encode" : "add_rms_norm_encode",
               operands, {}, engine::Extent::TokenShare);
    result.body = {step("add", {0, 1, 3}, {}),
                   step("rms_norm", {3, 2, both ? 4 : 6}, {}, {{"eps", 1e-5}}),
                   both ? step("encode_rows", {4, 5, 6}, {{"group", 128}})
                        : step("encode_rows", {6, 4, 5}, {{"group", 128}})};
    return result;
  };
  const std::string row = "Matrix<bf16, 4096, 3072, 3072>, ",
                    codes = "Matrix<e4m3, 4096, 3072, 3232>, "
                            "Matrix<f32, 4096, 24, 808>>";
  // 4096 rows fill the machine: 128 threads, 24 values each.
  KernelPlan p = plan(fused(true));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_EQ(p.functions[0].block, 128u);
  EXPECT_THAT(p.functions[0].body,
              StartsWith("addRmsNormAndEncode<6, 128, 128, " + row + row + row +
                         row + codes + "(p, "));
  p = plan(fused(false));
  EXPECT_THAT(p.functions[0].body,
              StartsWith("addRmsNormEncode<6, 128, 128, " + row + row + row +
                         codes + "(p, "));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr(", p.operands[4], p.operands[5]);"));
}

/// Of a token or two every CTA of the product makes the norm for itself.
TEST_F(RowsPlanTest, ANormOfATokenIsMadeWhereItIsMultiplied) {
  auto fused = [&](int64_t tokens, int64_t width, mlir::Type type,
                   int64_t rows = 4096) {
    LaunchDesc result = launch(
        "add_rms_norm_linear",
        {operand("a", type, {tokens, width}),
         operand("b", type, {tokens, width}), operand("weight", f32(), {width}),
         operand("w", e4m3(), {rows, width}),
         scale("w_scale", {rows / 128, (width + 127) / 128}, 128, 128),
         operand("out", type, {tokens, width}),
         operand("out", bf16(), {tokens, rows})},
        {});
    result.body = {step("add", {0, 1, 5}, {}),
                   step("rms_norm", {5, 2, 7}, {}, {{"eps", 1e-5}}),
                   step("linear", {7, 3, 4, 6}, {{"act_group", 128}})};
    return result;
  };
  for (int64_t tokens : {1, 2}) {
    KernelPlan p = plan(fused(tokens, 3072, bf16()));
    EXPECT_THAT(p.headers, ElementsAre("impls/norm_linear.cuh"));
    ASSERT_EQ(p.functions.size(), 1u);
    EXPECT_TRUE(p.functions[0].waitsItself);
    EXPECT_EQ(p.workspaceBytes, 0u);
    EXPECT_THAT(p.functions[0].body,
                HasSubstr("addRmsNormLinear<1, 128, Matrix<bf16, " +
                          std::to_string(tokens) + ", 3072, 3072>, "));
    // Where streamLinear() has them: w, its scale, out; then b and the sum.
    for (const char *place : {"p.operands[1] = launch.operands[3];",
                              "p.operands[2] = launch.operands[4];",
                              "p.operands[3] = launch.operands[6];",
                              "p.operands[4] = launch.operands[1];",
                              "p.operands[6] = launch.operands[5];"})
      EXPECT_THAT(p.functions[0].body, HasSubstr(place));
    ASSERT_EQ(p.products.size(), 1u);
    EXPECT_THAT(p.products[0].product,
                testing::EndsWith(" normalised where they are used"));
  }
  EXPECT_EQ(plan(fused(1, 3072, f32())).functions.size(), 1u);
  // 16 rows for a CTA, two of which a multiprocessor holds at a time.
  EXPECT_EQ(plan(fused(1, 3072, bf16(), 4224)).functions.size(), 1u);
  EXPECT_EQ(plan(fused(1, 3072, bf16(), 4224 + 128)).functions.size(), 2u);
  // Three tokens; a group that is not whole; a row that is too much for the
  // registers of a CTA of 256 threads; sums in the place of what others read.
  EXPECT_EQ(plan(fused(3, 3072, bf16())).functions.size(), 2u);
  EXPECT_EQ(plan(fused(1, 3072 - 64, bf16())).functions.size(), 2u);
  EXPECT_EQ(plan(fused(1, 8192, bf16())).functions.size(), 1u);
  EXPECT_EQ(plan(fused(1, 8192 + 128, bf16())).functions.size(), 2u);
  LaunchDesc inPlace = fused(1, 3072, bf16());
  inPlace.inPlace = true;
  EXPECT_EQ(plan(inPlace).functions.size(), 2u);
}

/// The norm behind a recurrence and its gate, encoded for the product that
/// alone reads them.
TEST_F(RowsPlanTest, AGatedNormLeavesAsCodes) {
  auto fused = [&](int64_t width, int64_t blockRows) {
    LaunchDesc result = launch(
        "norm_gate_linear",
        {operand("x", bf16(), {4, width}), operand("weight", f32(), {width}),
         operand("gate", bf16(), {4, width}, 4 * width),
         operand("w", e4m3(), {256, width}),
         scale("w_scale", {256 / blockRows, width / 128}, blockRows, 128),
         operand("out", bf16(), {4, 256})},
        {});
    result.body = {step("sum_of_squares", {0, 6}, {}),
                   step("rms_scale", {0, 6, 1, 7},
                        {{"column", 0}, {"divisor", width}}, {{"eps", 1e-6}}),
                   step("sigmoid_gate", {7, 2, 8}, {}),
                   step("linear", {8, 3, 4, 5}, {{"act_group", 128}})};
    return result;
  };
  KernelPlan p = plan(fused(8192, 128));
  EXPECT_THAT(p.headers,
              ElementsAre("impls/norm_gate.cuh", "impls/linear_stream.cuh"));
  ASSERT_EQ(p.functions.size(), 2u);
  EXPECT_EQ(p.functions[0].suffix, "rows");
  EXPECT_EQ(p.functions[0].block, 1024u);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("normGateEncode<1, 1024, 128, Matrix<bf16, 4, 8192, "
                        "8192>, Matrix<bf16, 4, 8192, 32768>, "));
  EXPECT_THAT(p.functions[0].body, HasSubstr("(p, 8192.0f, 9.99999997e-07f, "));
  // 4 rows of 8192 codes, then 64 factors each.
  EXPECT_EQ(p.workspaceBytes, 32768u + 4 * 64 * 4);
  EXPECT_EQ(p.functions[1].suffix, "product");
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("p.operands[3] = launch.operands[5];"));
  EXPECT_THAT(p.functions[1].body, HasSubstr("linearStream<"));

  // Scales of single rows are for the kernel of any shape, which rounds the
  // gated rows from the workspace; and so is a row that shared memory does not
  // hold.
  p = plan(fused(8192, 1));
  ASSERT_EQ(p.functions.size(), 3u);
  EXPECT_THAT(p.functions[0].body, HasSubstr("normGate<1, 1024, "));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("p.operands[3] = static_cast<uint8_t "
                        "*>(launch.workspace) + 131072;"));
  EXPECT_EQ(p.workspaceBytes, 4u * 8192 * 4 + 4 * 8192 * 2);
  EXPECT_THAT(plan(fused(24576, 128)).functions[0].body,
              HasSubstr("normGate<"));
  EXPECT_EQ(errorOf(fused(65536, 128)),
            "norm_gate_linear has rows of 65536 elements, expected 32768 at "
            "most");
}

/// add, norm, router and choice by a cluster of as many CTAs as experts need.
TEST_F(RowsPlanTest, ARouterHasAWarpForEachExpert) {
  auto fused = [&](int64_t experts, int64_t stride = 0) {
    LaunchDesc result = launch(
        "add_rms_norm_router",
        {operand("a", bf16(), {2, 3072}), operand("b", bf16(), {2, 3072}),
         operand("weight", f32(), {3072}),
         operand("w", f32(), {experts, 3072}, stride),
         operand("bias", f32(), {experts}), operand("out", bf16(), {2, 3072}),
         operand("out", bf16(), {2, 3072}), operand("weights", f32(), {2, 8}),
         operand("experts", i32(), {2, 8})},
        {});
    result.body = {
        step("add", {0, 1, 5}, {}),
        step("rms_norm", {5, 2, 6}, {}, {{"eps", 1e-5}}),
        step("linear", {6, 3, 9}, {{"act_group", 0}}),
        step("router_topk", {9, 4, 7, 8}, {}, {{"routed_scale", 2.0}})};
    return result;
  };
  KernelPlan p = plan(fused(256));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_EQ(p.functions[0].cluster, 16u);
  EXPECT_EQ(p.functions[0].grid[0], 16u);
  EXPECT_EQ(p.functions[0].block, 512u);
  EXPECT_TRUE(p.functions[0].waitsItself);
  EXPECT_EQ(p.functions[0].residentBlocks, 1u);
  // Sums and norms of two tokens.
  EXPECT_EQ(p.functions[0].sharedBytes, 2u * 3072 * (2 + 2));
  EXPECT_THAT(p.functions[0].body, StartsWith("addRmsNormRouter<1, "));
  EXPECT_THAT(p.functions[0].body, HasSubstr("(p, 9.99999975e-06f, 2.0f);"));
  // 33 warps are 3 CTAs, and clusters are powers of two.
  EXPECT_EQ(plan(fused(33)).functions[0].cluster, 4u);
  EXPECT_EQ(plan(fused(4)).functions[0].cluster, 1u);

  EXPECT_EQ(errorOf(fused(256, 3074)),
            "add_rms_norm_router needs rows of \"w\" that begin at multiples "
            "of four elements");
}

/// Rows of 6144: two warps for each expert, in twice as many CTAs.
TEST_F(RowsPlanTest, ASoftmaxRouterOfWideRowsHasWarpsForParts) {
  LaunchDesc fused = launch(
      "scaled_add_rms_norm_router",
      {operand("a", bf16(), {1, 6144}), operand("b", bf16(), {1, 6144}),
       operand("weight", f32(), {6144}), operand("w", f32(), {32, 6144}),
       operand("out", bf16(), {1, 6144}), operand("weights", f32(), {1, 2}),
       operand("experts", i32(), {1, 2})},
      {});
  fused.body = {
      step("scaled_add", {0, 1, 7}, {}, {{"alpha", 3.5}, {"beta", 1.0}}),
      step("rms_norm", {7, 2, 4}, {}, {{"eps", 1e-5}}),
      step("linear", {4, 3, 8}, {{"act_group", 0}}),
      step("softmax_topk", {8, 5, 6}, {})};
  KernelPlan p = plan(fused);
  EXPECT_EQ(p.functions[0].cluster, 4u);
  EXPECT_EQ(p.functions[0].sharedBytes, 1u * 6144 * (2 + 2));
  EXPECT_THAT(p.functions[0].body, StartsWith("scaledAddRmsNormRouter<1, "));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("(p, 3.5f, 1.0f, 9.99999975e-06f);"));
  // A body that hands values on in another way is another kernel's.
  fused.body[2].values = {7, 3, 8};
  EXPECT_EQ(errorOf(fused), "the kernel of \"scaled_add_rms_norm_router\" "
                            "takes other values than the body has");
}

TEST_F(RowsPlanTest, AResidualWithFactorsGoesWithItsNorm) {
  LaunchDesc fused = launch(
      "scaled_add_rms_norm",
      {operand("a", bf16(), {4, 6144}), operand("b", bf16(), {4, 6144}),
       operand("weight", f32(), {6144}), operand("out", bf16(), {4, 6144})},
      {});
  fused.body = {
      step("scaled_add", {0, 1, 4}, {}, {{"alpha", 3.5}, {"beta", 1.0}}),
      step("rms_norm", {4, 2, 3}, {}, {{"eps", 1e-5}})};
  KernelPlan p = plan(fused);
  EXPECT_THAT(p.functions[0].body, StartsWith("scaledAddRmsNorm<1, 768, "));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("(p, 3.5f, 1.0f, 9.99999975e-06f);"));
  // Of a prompt a thread has four vectors.
  LaunchDesc prompt = fused;
  prompt.capacity = 8192;
  EXPECT_EQ(plan(prompt).functions[0].block, 192u);
  fused.operands[0].shape[1] = 65536;
  EXPECT_EQ(errorOf(fused), "scaled_add_rms_norm has rows of 65536 elements, "
                            "expected 32768 at most");
}

TEST_F(RowsPlanTest, NormsOfTapsAreJoinedByACtaEach) {
  LaunchDesc fused =
      launch("three_norms_concat",
             {operand("x0", bf16(), {4, 3072}), operand("w0", f32(), {3072}),
              operand("x1", bf16(), {4, 3072}), operand("w1", f32(), {3072}),
              operand("x2", bf16(), {4, 3072}), operand("w2", f32(), {3072}),
              operand("out", bf16(), {4, 9216})},
             {});
  fused.body = {step("rms_norm", {0, 1, 7}, {}, {{"eps", 1e-5}}),
                step("rms_norm", {2, 3, 8}, {}, {{"eps", 1e-5}}),
                step("rms_norm", {4, 5, 9}, {}, {{"eps", 1e-5}}),
                step("concat", {7, 8, 9, 6}, {})};
  KernelPlan p = plan(fused);
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.functions[0].body, StartsWith("normsConcat<1, 384, "));
  EXPECT_THAT(p.functions[0].body, HasSubstr("(p, 9.99999975e-06f);"));
  EXPECT_EQ(p.functions[0].grid[0], 4u);
  EXPECT_EQ(p.functions[0].grid[1], 3u);
  fused.operands[0].shape[1] = 65536;
  EXPECT_EQ(errorOf(fused), "three_norms_concat has rows of 65536 elements, "
                            "expected 32768 at most");
  // A body that joins them in another order is another kernel's.
  fused.body[3].values = {8, 7, 9, 6};
  EXPECT_EQ(errorOf(fused), "the kernel of \"three_norms_concat\" takes other "
                            "values than the body has");
}

/// A norm that is divided by behind the next product: its first half with the
/// gate, its second with the sum over ranks.
TEST_F(RowsPlanTest, ASunkRootMeanSquareMeetsTheProductsSum) {
  LaunchDesc gate = launch(
      "squares_gate",
      {operand("x", bf16(), {4, 1024}), operand("weight", f32(), {1024}),
       operand("gate", bf16(), {4, 1024}, 4096), operand("sums", f32(), {4, 1}),
       operand("out", bf16(), {4, 1024})},
      {});
  gate.body = {step("sum_of_squares", {0, 3}, {}),
               step("scale_columns", {0, 1, 5}, {}),
               step("sigmoid_gate", {5, 2, 4}, {})};
  KernelPlan p = plan(gate);
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.headers, ElementsAre("impls/norm_gate.cuh"));
  EXPECT_THAT(p.functions[0].body, StartsWith("squaresGate<1, 128,"));
  EXPECT_EQ(p.functions[0].grid[0], 4u);
  EXPECT_EQ(p.exchangeBytes, 0u);
  gate.operands[0].shape[1] = 65536;
  EXPECT_EQ(errorOf(gate), "squares_gate has rows of 65536 elements, expected "
                           "32768 at most");

  LaunchDesc divide = launch("all_reduce_divide_by_rms",
                             {operand("x", bf16(), {4, 6144}),
                              operand("squares", f32(), {4, 1}),
                              operand("out", bf16(), {4, 6144})},
                             {});
  divide.groupSize = 2;
  divide.body = {step("all_reduce_sum", {0, 3}, {}),
                 step("all_reduce_sum", {1, 4}, {}),
                 step("divide_by_rms", {3, 4, 2},
                      {{"column", 0}, {"divisor", 8192}}, {{"eps", 1e-6}})};
  p = plan(divide);
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.functions[0].body, StartsWith("allReduceDivideByRms<2, 1,"));
  EXPECT_THAT(p.functions[0].body, HasSubstr("(p, 8192.0f, 9.99999997e-07f);"));
  // A member sends 1536 packets of each row, and one with its sum.
  EXPECT_EQ(p.exchangeBytes, device::packetMemory(2 * 4 * (1536 + 1)));
  EXPECT_EQ(p.functions[0].grid[0], 32u); // 6144 units, 192 of each
}

/// The norm behind a recurrence: one launch of whole rows, and of rows that
/// ranks share one for few tokens and three for many.
TEST_F(RowsPlanTest, ANormAndItsGateMeetTheirPeersInside) {
  auto fused = [&](int64_t tokens, int64_t columns, int64_t ranks) {
    LaunchDesc result =
        launch(ranks == 1 ? "norm_gate" : "norm_all_reduce_gate",
               {operand("x", bf16(), {tokens, columns}),
                operand("weight", f32(), {columns}),
                operand("gate", bf16(), {tokens, columns}, 4 * columns),
                operand("out", bf16(), {tokens, columns})},
               {});
    result.groupSize = ranks;
    int64_t sums = ranks == 1 ? 4 : 5;
    result.body = {step("sum_of_squares", {0, 4}, {})};
    if (ranks > 1)
      result.body.push_back(step("all_reduce_sum", {4, 5}, {}));
    result.body.push_back(step("rms_scale", {0, sums, 1, sums + 1},
                               {{"column", 0}, {"divisor", 8192}},
                               {{"eps", 1e-6}}));
    result.body.push_back(step("sigmoid_gate", {sums + 1, 2, 3}, {}));
    return result;
  };
  KernelPlan p = plan(fused(4, 8192, 1));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.headers, ElementsAre("impls/norm_gate.cuh"));
  EXPECT_THAT(p.functions[0].body, StartsWith("normGate<1, 1024, "));
  EXPECT_THAT(p.functions[0].body, HasSubstr("(p, 8192.0f, 9.99999997e-07f);"));
  EXPECT_EQ(p.exchangeBytes, 0u);

  // Of many rows a thread holds 32 values, in vectors of 8.
  EXPECT_THAT(plan(fused(8192, 8192, 1)).functions[0].body,
              StartsWith("normGate<1, 256, "));
  EXPECT_THAT(plan(fused(8192, 32768, 1)).functions[0].body,
              StartsWith("normGate<1, 1024, "));
  EXPECT_THAT(plan(fused(8192, 256, 1)).functions[0].body,
              StartsWith("normGate<1, 32, "));

  p = plan(fused(4, 1024, 8));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_THAT(p.functions[0].body, StartsWith("normAllReduceGate<8, "));
  EXPECT_EQ(p.functions[0].block, 128u); // vectors of a row
  EXPECT_EQ(p.functions[0].grid[0], 4u);
  EXPECT_GT(p.exchangeBytes, 0u);

  p = plan(fused(512, 1024, 8));
  ASSERT_EQ(p.functions.size(), 3u);
  EXPECT_THAT(p.functions[0].body,
              StartsWith("normGateSums<1, Matrix<bf16, 512, 1024, "));
  EXPECT_THAT(p.functions[1].body, StartsWith("normGateExchange<8, "));
  EXPECT_THAT(p.functions[2].body, StartsWith("normGateFinish<1, 128, "));
  EXPECT_EQ(p.workspaceBytes, 512u * 4);
  // Too wide for a CTA that waits, but not for others.
  EXPECT_EQ(plan(fused(1, 16384, 2)).functions.size(), 3u);
  EXPECT_EQ(errorOf(fused(1, 65536, 2)),
            "norm_all_reduce_gate has rows of 65536 elements, expected 32768 "
            "at most");
}

TEST_F(RowsPlanTest, SumOfSquaresTakesTheWidestInputsThreads) {
  KernelPlan p = plan(launch("sum_of_squares",
                             {operand("x", bf16(), {4, 768}, 1024),
                              operand("x", bf16(), {4, 128}, 1024),
                              operand("out", f32(), {4, 2})},
                             {}));
  // 768 / 8 vectors.
  EXPECT_EQ(p.functions[0].body,
            "sumOfSquares<1, 96, Matrix<f32, 4, 2, 2>, Matrix<bf16, 4, 768, "
            "1024>, Matrix<bf16, 4, 128, 1024>>(p, p.operands[2]);");
}

TEST_F(RowsPlanTest, RmsScaleNamesColumnAndDivisor) {
  KernelPlan p = plan(with(
      launch("rms_scale",
             {operand("x", bf16(), {4, 128}), operand("sums", f32(), {4, 2}),
              operand("weight", f32(), {128}),
              operand("out", bf16(), {4, 128})},
             {{"column", 1}, {"divisor", 1024}}),
      "eps", 1e-6));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("(p, 1, 1024.0f, 9.99999997e-07f);"));
}

TEST_F(RowsPlanTest, SwiGLUCarriesItsConstants) {
  KernelPlan p = plan(with(with(launch("swiglu_oai",
                                       {operand("gate", bf16(), {4, 768}),
                                        operand("up", bf16(), {4, 768}),
                                        operand("out", bf16(), {4, 768})},
                                       {}),
                                "alpha", 1.702),
                           "limit", 7));
  EXPECT_THAT(p.functions[0].body, StartsWith("swigluOAI<1, "));
  EXPECT_THAT(p.functions[0].body, HasSubstr("(p, 1.70200002f, 7.0f);"));
}

TEST_F(RowsPlanTest, ScaleReadsItsNumber) {
  for (int64_t inverse : {0, 1}) {
    KernelPlan p = plan(
        launch("scale",
               {operand("x", bf16(), {4, 768}), operand("factor", f32(), {1}),
                operand("out", bf16(), {4, 768})},
               {{"inverse", inverse}}));
    EXPECT_EQ(p.functions[0].body.substr(0, 14),
              inverse ? "divideBy<1, Ma" : "multiplyBy<1, ");
    EXPECT_EQ(p.functions[0].body.find("f32"), std::string::npos);
  }
}

TEST_F(RowsPlanTest, RopeCarriesItsFrequencies) {
  KernelPlan p = plan(with(
      launch("rope",
             {operand("x", bf16(), {4, 768}), operand("positions", i32(), {4}),
              operand("out", bf16(), {4, 768})},
             {{"head_dim", 128}, {"rotary_dim", 64}}),
      "theta", 5e6));
  EXPECT_THAT(p.functions[0].body,
              StartsWith("static __constant__ const float frequencies[] = {"));
  EXPECT_THAT(p.functions[0].body, HasSubstr("rope<1, 128, 64, "));
  // 768 / 8 vectors.
  EXPECT_EQ(p.functions[0].block, 96u);
}

TEST_F(RowsPlanTest, KvAppendSeesCachesAsSlots) {
  auto append = [&](int64_t stride) {
    return launch("kv_append",
                  {operand("k", bf16(), {64, 128}),
                   operand("v", bf16(), {64, 128}),
                   operand("slots", i32(), {64}),
                   operand("kcache", e4m3(), {40, 16, 1, 128}),
                   operand("vcache", e4m3(), {40, 16, 1, 128}, stride)},
                  {});
  };
  EXPECT_EQ(plan(append(0)).functions[0].body,
            "kvAppend<1, Matrix<bf16, 64, 128, 128>, Matrix<bf16, 64, 128, "
            "128>, Matrix<e4m3, 640, 128, 128>>(p);");
  EXPECT_EQ(errorOf(append(136)),
            "kv_append needs dense caches, but \"vcache\" has gaps between "
            "pages, slots or heads");
}

TEST_F(RowsPlanTest, QkNormHasAThreadPerUnit) {
  KernelPlan p = plan(qkNorm({40, 16, 1, 128}, 768, 128, 128, 64));
  // bf16 and e4m3 go in vectors of 8: a head is 4 pairs of vectors and 8 that
  // pass, and seven heads and 16 vectors of v make 100.
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("qkNormRopeKVAppend<1, 128, 128, 64,"));
  EXPECT_THAT(p.functions[0].body, HasSubstr("Matrix<e4m3, 640, 128, 128>"));
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("p, 6144.0f, 1024.0f, 9.99999997e-07f, frequencies);"));
  EXPECT_EQ(p.functions[0].block, 128u);
  EXPECT_EQ(p.functions[0].grid[0], 64u);
  EXPECT_EQ(p.functions[0].next, Next::WhenEnded); // attention
}

TEST_F(RowsPlanTest, QkNormOfManyRowsHasAsManyUnitsInAThreadAsItHolds) {
  auto threadsOf = [&](int64_t tokens) {
    return plan(qkNorm({40, 16, 4, 128}, 3072, 512, 128, 64,
                       /*exchanges=*/false, tokens))
        .functions[0]
        .block;
  };
  // 28 heads x 12 units and 64 of v make 400, of which a thread holds four.
  EXPECT_EQ(threadsOf(64), 416u);
  EXPECT_EQ(threadsOf(8192), 128u);
}

TEST_F(RowsPlanTest, QkNormRefusesGapsAndRowsThatDoNotFit) {
  LaunchDesc gaps = qkNorm({40, 16, 1, 128}, 768, 128, 128, 64);
  gaps.operands[8] = operand("kcache", e4m3(), {40, 16, 1, 128}, 136);
  EXPECT_EQ(errorOf(gaps), "qk_norm_rope_kv_append needs dense caches, but "
                           "\"kcache\" has gaps between pages, slots or heads");
  // 200 heads x 12 units and 16 of v; 512 threads hold 4 each.
  EXPECT_EQ(errorOf(qkNorm({40, 16, 1, 128}, 199 * 128, 128, 128, 64)),
            "qk_norm_rope_kv_append has 2416 vectors of 8 elements in a row, "
            "expected 2048 at most");
  // 168 heads x 12 units and 32 of v are just as many.
  EXPECT_EQ(plan(qkNorm({40, 16, 2, 128}, 166 * 128, 256, 128, 64))
                .functions[0]
                .block,
            512u);
}

TEST_F(RowsPlanTest, QkNormOfAGroupExchangesInside) {
  auto planOf = [&](int64_t tokens) {
    LaunchDesc launch = qkNorm({40, 16, 1, 128}, 768, 128, 128, 64,
                               /*exchanges=*/true, tokens);
    launch.groupSize = 8;
    return plan(launch);
  };
  KernelPlan p = planOf(64);
  EXPECT_THAT(p.headers, ElementsAre("impls/qk_norm_exchange.cuh"));
  ASSERT_EQ(p.functions.size(), 1u);
  // 8 members x 64 packets of 16 bytes, twice, behind the state.
  EXPECT_EQ(p.exchangeBytes, 133376u + 8 * 64 * 16 * 2);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("qkNormAllReduceRopeKVAppend<8, 149760, 32, 1, 128, "
                        "128, 64,"));
  EXPECT_EQ(p.functions[0].grid[0], 32u);
  // A row for each CTA where ranks have devices of their own.
  EXPECT_EQ(p.functions[0].exclusiveGrid, 64u);
  EXPECT_EQ(planOf(32).functions[0].exclusiveGrid, 0u);
  EXPECT_EQ(p.functions[0].block, 128u);
  EXPECT_EQ(p.functions[0].residentBlocks, 2u);
  EXPECT_EQ(p.workspaceBytes, 0u);
  // More than 32 x 4 tokens: three launches, of which only one waits.
  EXPECT_EQ(planOf(128).functions.size(), 1u);
  EXPECT_EQ(planOf(129).functions.size(), 3u);
  p = planOf(512);
  ASSERT_EQ(p.functions.size(), 3u);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("qkNormSums<1, Matrix<bf16, 512, 768, 1024>, "
                        "Matrix<bf16, 512, 128, 1024>>(p);"));
  // A warp for each row.
  EXPECT_EQ(p.functions[0].grid[0], 64u);
  EXPECT_EQ(p.functions[0].block, 256u);
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("qkNormExchange<8, 264448, 1, Matrix<bf16, 512, 768, "
                        "1024>>(p);"));
  EXPECT_EQ(p.functions[1].grid[0], 32u);
  EXPECT_THAT(p.functions[2].body, HasSubstr("qkNormFinish<1, 128, 128, 64,"));
  EXPECT_EQ(p.functions[0].next, Next::AtOnce);
  EXPECT_EQ(p.functions[1].next, Next::AtOnce);
  EXPECT_EQ(p.functions[2].next, Next::WhenEnded);
  EXPECT_EQ(p.workspaceBytes, 512u * 8);
}

TEST_F(RowsPlanTest, QkNormTakesTheScalesOfACache) {
  LaunchDesc launch = qkNorm({40, 16, 1, 128}, 768, 128, 128, 64);
  KernelPlan plain = plan(launch);
  // The scale of keys comes before v, that of values behind it.
  launch.op = "qk_norm_rope_scale_kv_append";
  launch.operands.insert(launch.operands.begin() + 6,
                         operand("v_scale", f32(), {1}));
  launch.operands.insert(launch.operands.begin() + 5,
                         operand("k_scale", f32(), {1}));
  std::vector<llvm::SmallVector<int64_t>> values = {
      {0, 1, 12},  {0, 12, 2, 13}, {1, 12, 3, 14},
      {13, 4, 15}, {14, 4, 16},    {17, 18, 8, 10, 11}};
  for (size_t i = 0; i < values.size(); ++i)
    launch.body[i].values = values[i];
  launch.body.insert(launch.body.end() - 1,
                     {step("scale", {16, 5, 17}, {{"inverse", 1}}),
                      step("scale", {6, 7, 18}, {{"inverse", 1}}),
                      step("scale", {15, 5, 9}, {{"inverse", 0}})});
  KernelPlan scaled = plan(launch);
  std::string body = scaled.functions[0].body;
  size_t flag = body.find(", true>");
  ASSERT_NE(flag, std::string::npos);
  body.replace(flag, 7, ">");
  EXPECT_EQ(body, plain.functions[0].body);
  // q multiplied by the scale of values is not what the kernel does.
  launch.body[7].values[1] = 7;
  EXPECT_EQ(errorOf(launch),
            "the kernel of \"qk_norm_rope_scale_kv_append\" takes other values "
            "than the body has");
}

TEST_F(RowsPlanTest, QkNormOfAGroupOfOneIsTheOther) {
  LaunchDesc launch = qkNorm({40, 16, 1, 128}, 768, 128, 128, 64,
                             /*exchanges=*/true);
  KernelPlan p = plan(launch);
  EXPECT_THAT(p.headers, ElementsAre("impls/qk_norm.cuh"));
  EXPECT_EQ(p.exchangeBytes, 0u);
}

TEST_F(RowsPlanTest, RouterHasACtaPerTokenAndAThreadPerExpert) {
  auto router = [&](int64_t tokens, int64_t experts) {
    return with(launch("router_topk",
                       {operand("logits", f32(), {tokens, experts}),
                        operand("bias", f32(), {experts}),
                        operand("weights", f32(), {tokens, 8}),
                        operand("experts", i32(), {tokens, 8})},
                       {}),
                "routed_scale", 1);
  };
  KernelPlan p = plan(router(65, 256));
  EXPECT_EQ(p.functions[0].body,
            "routerTopK<1, 256, Matrix<f32, 65, 256, 256>, Matrix<f32, 65, 8, "
            "8>, Matrix<i32, 65, 8, 8>>(p, 1.0f);");
  EXPECT_EQ(p.functions[0].block, 256u);
  EXPECT_EQ(p.functions[0].grid[0], 65u);
  EXPECT_EQ(plan(router(1, 40)).functions[0].block, 64u); // whole warps
  EXPECT_EQ(plan(router(527, 40)).functions[0].grid[0], 527u);
  // Four tokens for each multiprocessor: a warp for each.
  p = plan(router(528, 40));
  EXPECT_EQ(p.functions[0].body,
            "routerTopKOfWarps<1, Matrix<f32, 528, 40, 40>, Matrix<f32, 528, "
            "8, 8>, Matrix<i32, 528, 8, 8>>(p, 1.0f);");
  EXPECT_EQ(p.functions[0].block, 256u);
  EXPECT_EQ(p.functions[0].grid[0], 66u);
  EXPECT_EQ(plan(router(9000, 256)).functions[0].grid[0], 1056u); // 8 x 132
  // More experts than a lane's registers hold a 32nd of.
  p = plan(router(5000, 520));
  EXPECT_THAT(p.functions[0].body, StartsWith("routerTopK<1, 544, "));
  EXPECT_EQ(p.functions[0].grid[0], 1056u);
  EXPECT_EQ(errorOf(router(1, 2000)), "router_topk chooses among 2000 experts, "
                                      "expected 1024 at most");
}

} // namespace
} // namespace saddle::cuda
