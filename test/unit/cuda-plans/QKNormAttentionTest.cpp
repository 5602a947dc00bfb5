// The norm of q and k and attention in one kernel of clusters, and where that
// is not possible.

#include "test/unit/cuda-plans/PlanFixture.h"

namespace saddle::cuda {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class QKNormAttentionPlanTest : public PlanTest {
protected:
  struct Shape {
    int64_t heads = 24, kvHeads = 4, headDim = 128, rotaryDim = 64,
            pageSize = 16, ranks = 2, pages = 512;
    mlir::Type compute, cache;
  };
  Shape shape() {
    Shape s;
    s.compute = bf16();
    s.cache = bf16();
    return s;
  }

  /// With the quantised product behind it.
  LaunchDesc fused(const Shape &s) {
    int64_t qWidth = s.heads * s.headDim, kWidth = s.kvHeads * s.headDim,
            row = qWidth + 2 * kWidth;
    auto rows = [&](const char *name, int64_t width) {
      return operand(name, s.compute, {1, width}, row);
    };
    auto cache = [&](const char *name) {
      return operand(name, s.cache, {9000, s.pageSize, s.kvHeads, s.headDim});
    };
    bool exchanges = s.ranks > 1;
    LaunchDesc result = launch(
        exchanges ? "qk_norm_all_reduce_rope_kv_append_attention_linear"
                  : "qk_norm_rope_kv_append_attention_linear",
        {rows("x1", qWidth), rows("x2", kWidth),
         operand("weight", f32(), {qWidth}), operand("weight", f32(), {kWidth}),
         operand("positions", i32(), {1}), rows("v", kWidth),
         operand("slots", i32(), {1}), operand("sequences", i32(), {1}),
         operand("block_table", i32(), {8, s.pages}),
         operand("w", e4m3(), {3072, qWidth}),
         scale("w_scale", {24, qWidth / 128}, 128, 128),
         operand("out", s.compute, {1, 3072}), cache("kcache"),
         cache("vcache")},
        {});
    result.groupSize = s.ranks;
    int64_t next = 14, sums = next++;
    result.body.push_back(step("sum_of_squares", {0, 1, sums}, {}));
    if (exchanges) {
      result.body.push_back(step("all_reduce_sum", {sums, next}, {}));
      sums = next++;
    }
    auto norm = [&](int64_t x, int64_t weight, int64_t divisor) {
      result.body.push_back(step("rms_scale", {x, sums, weight, next},
                                 {{"column", x}, {"divisor", divisor}},
                                 {{"eps", 1e-6}}));
      return next++;
    };
    int64_t q = norm(0, 2, 6144), k = norm(1, 3, 1024);
    auto turn = [&](int64_t x) {
      result.body.push_back(
          step("rope", {x, 4, next},
               {{"head_dim", s.headDim}, {"rotary_dim", s.rotaryDim}},
               {{"theta", 1e4}}));
      return next++;
    };
    q = turn(q);
    k = turn(k);
    result.body.push_back(step("kv_append", {k, 5, 6, 12, 13}, {}));
    result.body.push_back(step("attention", {q, 12, 13, 4, 7, 8, next},
                               {{"head_dim", s.headDim}}, {{"scale", 0.125}}));
    result.body.push_back(
        step("linear", {next, 9, 10, 11}, {{"act_group", 128}}));
    return result;
  }
};

TEST_F(QKNormAttentionPlanTest, AClusterForEachKvHead) {
  KernelPlan p = plan(fused(shape()));
  ASSERT_EQ(p.functions.size(), 2u);
  const FunctionPlan &attention = p.functions[0];
  EXPECT_EQ(attention.suffix, "attention");
  EXPECT_EQ(p.functions[1].suffix, "product");
  EXPECT_THAT(p.headers, testing::Contains("impls/qk_norm_attention.cuh"));
  // Ranks 2, exchange memory, 16 CTAs, 2 clusters for a head: 4 heads x 16 x 2
  // are the 128 CTAs that may wait, where each rank has a device.
  uint64_t exchange = 133376 + 32 * 16 * 2; // packets come in 32
  EXPECT_EQ(p.exchangeBytes, exchange);
  EXPECT_THAT(attention.body, HasSubstr("qkNormAttention<2, 134400, 16, 2, 1, "
                                        "64, A,"));
  EXPECT_THAT(attention.body,
              HasSubstr("using A = Attention<1, 128, 16, 1, Matrix<bf16, 1, "
                        "3072, 3072>"));
  EXPECT_THAT(attention.body,
              HasSubstr("6144.0f, 1024.0f, 9.99999997e-07f, frequencies, "
                        "0.125f"));
  EXPECT_THAT(attention.body,
              HasSubstr("StoreEncoded<A, Matrix<e4m3, 1, 3072, 3072>, "
                        "Matrix<f32, 1, 24, 24>>"));
  // Caches are outputs 12 and 13 for both steps.
  EXPECT_THAT(attention.body, HasSubstr("norm.operands[8] = p.operands[12];"));
  EXPECT_THAT(attention.body,
              HasSubstr("attend.operands[1] = p.operands[12];"));
  EXPECT_EQ(attention.cluster, 16u);
  EXPECT_EQ(attention.block, 128u);
  EXPECT_THAT(attention.grid, ElementsAre(64, 1, 1));
  EXPECT_EQ(attention.exclusiveGrid, 128u);
  EXPECT_TRUE(attention.waitsItself);
  // Codes and factors, then 24 heads x 2 partial results.
  EXPECT_EQ(p.workspaceBytes,
            (3072u + 24 * 4 + 255) / 256 * 256 + 24 * 2 * 130 * 4);
}

TEST_F(QKNormAttentionPlanTest, AsManyClustersAsFillTheMachine) {
  Shape s = shape();
  // One rank: 8 kv heads, of which two clusters each are 256 CTAs.
  s.heads = 48;
  s.kvHeads = 8;
  s.ranks = 1;
  s.pages = 160;
  KernelPlan p = plan(fused(s));
  EXPECT_THAT(p.functions[0].grid, ElementsAre(256, 1, 1));
  EXPECT_THAT(p.functions[0].body, HasSubstr("qkNormAttention<1, 0, 16, 2, "));
  EXPECT_EQ(p.exchangeBytes, 0u);
  // More heads than a step has counters.
  s.heads = 64;
  EXPECT_THAT(plan(fused(s)).functions[0].grid, ElementsAre(128, 1, 1));
}

TEST_F(QKNormAttentionPlanTest, OtherShapesHaveTheFunctionsOfTheirSteps) {
  auto suffixes = [&](const Shape &s) {
    std::vector<std::string> names;
    for (const FunctionPlan &function : plan(fused(s)).functions)
      names.push_back(function.suffix);
    return names;
  };
  const std::vector<std::string> together = {"attention", "product"};
  const std::vector<std::string> apart = {"qk_norm", "ranges", "combine",
                                          "product"};
  EXPECT_EQ(suffixes(shape()), together);
  Shape s = shape();
  s.cache = e4m3();
  EXPECT_EQ(suffixes(s), together);
  s = shape();
  s.rotaryDim = 128;
  EXPECT_EQ(suffixes(s), together);
  // A pair is of two lanes.
  s.rotaryDim = 32;
  EXPECT_EQ(suffixes(s), apart);
  // More heads than a warp's scores have rows.
  s = shape();
  s.heads = 36;
  EXPECT_EQ(suffixes(s), apart);
  // 10,240 positions are five rounds of two clusters of 64 x 16.
  s = shape();
  s.pages = 640;
  EXPECT_EQ(suffixes(s), together);
  s.pages = 641;
  EXPECT_EQ(suffixes(s), apart);
  // A tile lies in two pages.
  s = shape();
  s.pageSize = 8;
  EXPECT_EQ(suffixes(s), apart);
  s = shape();
  s.compute = s.cache = f32();
  EXPECT_EQ(suffixes(s)[0], "qk_norm");
}

TEST_F(QKNormAttentionPlanTest, StepsApartHaveTheirOwnMemory) {
  Shape s = shape();
  s.rotaryDim = 32;
  KernelPlan p = plan(fused(s));
  ASSERT_EQ(p.functions.size(), 4u);
  // q between them, 24 x 128 in bf16, comes first.
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("p.operands[7] = static_cast<uint8_t "
                        "*>(launch.workspace) + 0;"));
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("p.operands[0] = static_cast<uint8_t "
                        "*>(launch.workspace) + 0;"));
  EXPECT_THAT(p.functions[1].body,
              HasSubstr("p.workspace = static_cast<uint8_t "
                        "*>(launch.workspace) + 6144;"));
  EXPECT_EQ(p.exchangeBytes, 134400u);
  EXPECT_GT(p.workspaceBytes, 6144u);
}

} // namespace
} // namespace saddle::cuda
