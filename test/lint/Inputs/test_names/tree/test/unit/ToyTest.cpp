TEST(Load, refusesEveryFlippedBit) {}
TEST_P(RankTest, Ends) {}
INSTANTIATE_TEST_SUITE_P(
    Ranks, RankTest, testing::Values(1, 2));
TEST_P(PlainTest, Holds) {}
INSTANTIATE_TEST_SUITE_P(, PlainTest, testing::Values(1, 2));
