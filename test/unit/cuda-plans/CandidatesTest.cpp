#include "test/unit/cuda-plans/PlanFixture.h"

namespace saddle::cuda {
namespace {

using testing::HasSubstr;

class CandidatesPlanTest : public PlanTest {
protected:
  LaunchDesc top(int64_t rows, int64_t vocab, int64_t kept) {
    return launch("top_candidates",
                  {operand("logits", f32(), {rows, vocab}),
                   operand("values", f32(), {rows, kept}),
                   operand("tokens", i32(), {rows, kept})},
                  {}, engine::Extent::Rows);
  }
  LaunchDesc merge(int64_t rows, int64_t given, int64_t kept) {
    return launch("merge_candidates",
                  {operand("values", f32(), {rows, given}),
                   operand("tokens", i32(), {rows, given}),
                   operand("merged_values", f32(), {rows, kept}),
                   operand("merged_tokens", i32(), {rows, kept})},
                  {}, engine::Extent::Rows);
  }
};

TEST_F(CandidatesPlanTest, AShortVocabularyIsOneFunction) {
  KernelPlan p = plan(top(4, 768, 16));
  ASSERT_EQ(p.functions.size(), 1u);
  // 8 values for each of 96 threads.
  EXPECT_EQ(p.functions[0].body,
            "topCandidates<2, 96, Matrix<f32, 4, 768, 768>, Matrix<f32, 4, 16, "
            "16>, Matrix<i32, 4, 16, 16>>(p);");
  EXPECT_EQ(p.functions[0].block, 96u);
  EXPECT_EQ(p.functions[0].grid[0], 1u);
  EXPECT_EQ(p.functions[0].grid[1], 4u);
  EXPECT_EQ(p.workspaceBytes, 0u);
}

TEST_F(CandidatesPlanTest, OneLongRowIsSpreadOverTheMachine) {
  KernelPlan p = plan(top(1, 200064, 64));
  ASSERT_EQ(p.functions.size(), 2u);
  // A range for each multiprocessor: 1516 values, 192 threads of 8.
  EXPECT_EQ(p.functions[0].grid[0], 132u);
  EXPECT_EQ(p.functions[0].block, 192u);
  EXPECT_THAT(p.functions[0].body,
              HasSubstr("topCandidatesOfRanges<2, 192, 132, "));
  // 132 * 64 = 8448 candidates, more than 1024 threads of 8.
  EXPECT_EQ(p.functions[1].grid[0], 1u);
  EXPECT_EQ(p.functions[1].block, 1024u);
  EXPECT_EQ(p.workspaceBytes, 132u * 64 * 8);
}

TEST_F(CandidatesPlanTest, ManyRowsHaveFewRanges) {
  // At most 4096 values of 200064 in a range: 49; and no range below 1024: of
  // 25008 at most 24.
  EXPECT_EQ(plan(top(64, 200064, 64)).functions[0].grid[0], 49u);
  EXPECT_EQ(plan(top(64, 200064, 64)).functions[0].grid[1], 64u);
  EXPECT_EQ(plan(top(1, 25008, 64)).functions[0].grid[0], 24u);
}

TEST_F(CandidatesPlanTest, MergesTakeACtaForEachRow) {
  KernelPlan p = plan(merge(5, 512, 64));
  ASSERT_EQ(p.functions.size(), 1u);
  EXPECT_EQ(p.functions[0].grid[0], 5u);
  // 8 values for a thread would be 64 threads; two for each candidate are 128.
  EXPECT_EQ(p.functions[0].block, 128u);
}

TEST_F(CandidatesPlanTest, WhatDoesNotFitIsRefused) {
  EXPECT_EQ(errorOf(top(1, 768, 65)),
            "top_candidates keeps 65 candidates of a row, expected 64 at most");
  EXPECT_EQ(errorOf(merge(1, 16385, 64)),
            "merge_candidates has 16385 values in a row or range, expected "
            "16384 at most");
  EXPECT_EQ(errorOf(top(65536, 768, 4)),
            "top_candidates has 65536 rows in a step, expected 65535 at most");
}

} // namespace
} // namespace saddle::cuda
