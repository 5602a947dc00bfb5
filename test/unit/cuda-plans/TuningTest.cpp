// Products that are divided as they were measured, and candidates to measure.

#include "test/unit/cuda-plans/PlanFixture.h"

#include <set>

namespace saddle::cuda {
namespace {

using testing::HasSubstr;

std::string table(const std::string &products, int multiprocessors = 132) {
  return R"({"machine": "NVIDIA H200", "driver": "580.159", "date": "2026-12-01",
             "multiprocessors": )" +
         std::to_string(multiprocessors) + ", \"products\": [" + products +
         "]}";
}
std::string row(const std::string &product, const std::string &division) {
  return "{\"product\": \"" + product + "\", \"division\": \"" + division +
         "\", \"us\": 6.1, \"planned_us\": 7.04}";
}

std::string refusal(const std::string &text) {
  std::string error;
  EXPECT_FALSE(Tuning::parse(text, error).has_value());
  return error;
}

TEST(TuningTest, DivisionsAreTextBothWays) {
  for (const char *text :
       {"stream 8 4 1", "tile 2 2", "panel 32 18", "ranges 65 4",
        "decode 48 16", "sorted 4 8 1", "flow 8 2"}) {
    std::optional<Division> division = Division::parse(text);
    ASSERT_TRUE(division.has_value()) << text;
    EXPECT_EQ(division->text(), text);
  }
  EXPECT_EQ(*Division::parse("stream 8 4 1"), Division::stream(8, 4, 1));
  EXPECT_EQ(*Division::parse("sorted 4 8 2"), Division::sorted(4, 8, 2));
  EXPECT_TRUE(Division::parse("tile 1 2")->isTile());
  EXPECT_TRUE(Division::parse("panel 24 20")->isPanel());
  for (const char *text :
       {"", "stream", "stream 8 4", "stream 8 4 x", "stream 8 4 0", "tile 2",
        "tile 2 2 2", "panel 32", "other 1 2", "decode", "sorted 4 8"})
    EXPECT_FALSE(Division::parse(text).has_value()) << text;
}

TEST(TuningTest, TablesOfAnotherFormOrMachineAreRefused) {
  EXPECT_THAT(refusal("{"), HasSubstr("["));
  EXPECT_EQ(refusal("[]"), "expected an object with a list of products");
  EXPECT_EQ(refusal("{\"products\": [{}]}"),
            "expected machine, driver, date and multiprocessors");
  EXPECT_EQ(refusal(table(row("a", "tile 2 2"), 78)),
            "it was measured on 78 multiprocessors, but plans are for 132");
  EXPECT_EQ(refusal(table(row("a", "tile 2"))),
            "expected of each product its name, a division, us and planned_us");
  EXPECT_EQ(refusal(table(row("a", "tile 2 2") + "," + row("a", "tile 1 1"))),
            "product \"a\" stands in it twice");
}

TEST(TuningTest, TheTableOfTheTreeIsRead) {
  // Another product than any has the planner's way.
  const Division ways[] = {Division::tile(2, 2), Division::tile(1, 1)};
  EXPECT_EQ(Tuning::measured().choose("none", ways).division, ways[0]);
  std::string error;
  EXPECT_TRUE(Tuning::parse(Tuning::tableText(), error).has_value()) << error;
}

TEST(TuningTest, WhatWasMeasuredIsTakenAndQuoted) {
  std::string error;
  std::optional<Tuning> tuning = Tuning::parse(
      table(row("a", "stream 8 4 1") + "," + row("b", "tile 2 2")), error);
  ASSERT_TRUE(tuning.has_value()) << error;
  const Division ways[] = {Division::stream(16, 4, 1),
                           Division::stream(8, 4, 1)};
  DividedProduct a = tuning->choose("a", ways);
  EXPECT_EQ(a.division, ways[1]);
  EXPECT_EQ(a.why, "measured 6.1 us, 7.0 as planned (NVIDIA H200, driver "
                   "580.159, 2026-12-01)");
  // No longer a way; and a product that was not measured.
  for (const char *product : {"b", "c"}) {
    DividedProduct other = tuning->choose(product, ways);
    EXPECT_EQ(other.division, ways[0]);
    EXPECT_EQ(other.why, "");
  }
}

TEST(TuningTest, CandidatesAreCounted) {
  const Division ways[] = {Division::tile(2, 2), Division::tile(1, 1)};
  EXPECT_EQ(Tuning::candidate(0).choose("a", ways).division, ways[0]);
  EXPECT_EQ(Tuning::candidate(1).choose("a", ways).division, ways[1]);
  EXPECT_EQ(Tuning::candidate(1).choose("a", ways).why, "candidate 1 of 2");
  EXPECT_EQ(Tuning::candidate(2).choose("a", ways).division, ways[0]);
  EXPECT_EQ(Tuning::candidate(2).choose("a", ways).why, "candidate 0 of 2");
  // Behind three of another product of the launch.
  EXPECT_EQ(Tuning::candidate(1).choose("a", ways, 3).division, ways[0]);
  EXPECT_EQ(Tuning::candidate(4).choose("a", ways, 3).division, ways[1]);
  EXPECT_EQ(Tuning::candidate(4).choose("a", ways, 3).why, "candidate 4 of 5");
}

class TunedPlanTest : public PlanTest {
protected:
  /// A product of FP8 weights as M2.5 has them.
  KernelPlan planWith(const Tuning &tuning, int64_t tokens, int64_t rows,
                      int64_t cols) {
    LaunchDesc desc =
        launch("linear",
               {operand("x", bf16(), {tokens, cols}),
                operand("w", e4m3(), {rows, cols}),
                scale("w_scale", {rows / 128, cols / 128}, 128, 128),
                operand("out", bf16(), {tokens, rows})},
               {{"act_group", 128}});
    desc.tuning = &tuning;
    return plan(desc);
  }
};

TEST_F(TunedPlanTest, CandidatesOfAStreamAreOneStepAway) {
  std::set<std::string> divisions;
  std::string ways;
  for (unsigned number = 0; number < 8; ++number) {
    Tuning tuning = Tuning::candidate(number);
    KernelPlan p = planWith(tuning, 8, 4096, 3072);
    ASSERT_EQ(p.products.size(), 1u);
    EXPECT_EQ(p.products[0].product,
              "linear e4m3 4096x3072 group 128 tokens 8");
    const Division &division = p.products[0].division;
    divisions.insert(division.text());
    // What the plan says is what the code does: rows and tiles of tokens lead.
    EXPECT_THAT(p.functions.back().body,
                HasSubstr("StreamShape<" + std::to_string(division.rows) +
                          ", " + std::to_string(division.tokenTiles) + ", "));
    EXPECT_EQ(p.functions.back().grid[0] * division.rows * division.rowWarps,
              4096u);
  }
  EXPECT_GE(divisions.size(), 3u);
}

TEST_F(TunedPlanTest, CandidatesOfAPromptAreTilesAndAStream) {
  std::set<std::string> divisions;
  for (unsigned number = 0; number < 4; ++number) {
    Tuning tuning = Tuning::candidate(number);
    KernelPlan p = planWith(tuning, 2048, 4096, 3072);
    divisions.insert(p.products[0].division.text());
    EXPECT_THAT(p.functions.back().body,
                HasSubstr(p.products[0].division.isTile() ? "linearTile<"
                                                          : "linearStream<"));
  }
  EXPECT_THAT(divisions,
              testing::IsSupersetOf({"tile 1 1", "tile 1 2", "tile 2 2"}));
  EXPECT_EQ(divisions.size(), 4u);
}

TEST_F(TunedPlanTest, ATableChangesThePlan) {
  std::string error;
  auto tuning = Tuning::parse(
      table(row("linear e4m3 4096x3072 group 128 tokens 2048", "tile 1 1")),
      error);
  ASSERT_TRUE(tuning.has_value()) << error;
  Tuning planned = Tuning::candidate(0);
  EXPECT_EQ(planWith(planned, 2048, 4096, 3072).products[0].division,
            Division::tile(2, 2));
  EXPECT_EQ(planWith(*tuning, 2048, 4096, 3072).products[0].division,
            Division::tile(1, 1));
  EXPECT_EQ(planWith(*tuning, 2048, 4096, 3072).products[0].why,
            "measured 6.1 us, 7.0 as planned (NVIDIA H200, driver 580.159, "
            "2026-12-01)");
}

} // namespace
} // namespace saddle::cuda
