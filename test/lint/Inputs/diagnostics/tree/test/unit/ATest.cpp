TEST(A, f) {
  EXPECT_EQ(f(1), "w: the wheel has 3 spokes, expected an "
                  "even number");
  EXPECT_EQ(f(5), "spoke 5 is 7");
}
