#include "test/unit/cpu/KernelFixture.h"

namespace saddle::cpu {
namespace {

class ScanTest : public testing::TestWithParam<DType> {};

/// 5 heads of state 3 x 7, 3 slots, rows with gaps.
constexpr uint64_t kHeads = 5, kRows = 3, kCols = 7, kSlots = 3;

TEST_P(ScanTest, DecaysAddsAndAsksTokenByToken) {
  DType a = GetParam();
  // Two sequences in turn: slot 2 begins, slot 0 goes on at position 9.
  std::vector<double> slots = {2, 2, 0, 2, 0}, at = {0, 1, 9, 2, 10};
  const uint64_t n = slots.size();
  Tensor sequences = Tensor(DType::I32, {n}).fill(slots);
  Tensor positions = Tensor(DType::I32, {n}).fill(at);
  Tensor q = Tensor(a, {n, kHeads * kRows}, 2).random(1);
  Tensor k = Tensor(a, {n, kHeads * kRows}, 1).random(2);
  Tensor v = Tensor(a, {n, kHeads * kCols}, 3).random(3);
  Tensor decay = Tensor(DType::F32, {kHeads}).fill({0.5, 1, 0, 0.99, 0.25});
  Tensor state = Tensor(DType::F32, {kSlots, kHeads, kRows, kCols}).random(4);
  Tensor before(DType::F32, {kSlots, kHeads, kRows, kCols});
  before.bytes = state.bytes;
  before.view.data = before.bytes.data();
  Tensor out(a, {n, kHeads * kCols}, 5);
  KernelBuilder kernel("decay_scan");
  launch(kernel, {&q, &k, &v, &decay, &positions, &sequences, &state, &out}, n,
         {a});
  for (uint64_t head = 0; head < kHeads; ++head)
    for (uint64_t col = 0; col < kCols; ++col) {
      double held[kSlots][kRows];
      for (uint64_t slot = 0; slot < kSlots; ++slot)
        for (uint64_t row = 0; row < kRows; ++row)
          held[slot][row] = before.at(slot, head, row, col);
      for (uint64_t t = 0; t < n; ++t) {
        double expected = 0;
        for (uint64_t row = 0; row < kRows; ++row) {
          double &s = held[int(slots[t])][row];
          s = (at[t] == 0 ? 0 : s) * decay.at(head) +
              k.at(t, head * kRows + row) * v.at(t, head * kCols + col);
          expected += q.at(t, head * kRows + row) * s;
        }
        ASSERT_NEAR(out.at(t, head * kCols + col), expected,
                    tolerance(a, expected, 10))
            << "token " << t << " head " << head << " column " << col;
      }
      for (uint64_t slot = 0; slot < kSlots; ++slot)
        for (uint64_t row = 0; row < kRows; ++row)
          ASSERT_NEAR(state.at(slot, head, row, col), held[slot][row], 1e-5);
    }
}

INSTANTIATE_TEST_SUITE_P(, ScanTest, testing::Values(DType::F32, DType::BF16));

TEST(ScanDetailTest, IndicesThatPointOutsideTouchNothing) {
  Tensor sequences = Tensor(DType::I32, {4}).fill({-1, 2, 0, 1});
  Tensor positions = Tensor(DType::I32, {4}).fill({0, 0, -5, 3});
  Tensor q = Tensor(DType::F32, {4, 2}).random(1);
  Tensor v = Tensor(DType::F32, {4, 2}).random(2);
  Tensor decay = Tensor(DType::F32, {1}).fill({0.5});
  Tensor state =
      Tensor(DType::F32, {2, 1, 2, 2}).fill({1, 2, 3, 4, 0, 0, 0, 0});
  Tensor out(DType::F32, {4, 2});
  KernelBuilder kernel("decay_scan");
  // The last token is not among the counted ones.
  launch(kernel, {&q, &q, &v, &decay, &positions, &sequences, &state, &out}, 3,
         {});
  for (uint64_t t = 0; t < 3; ++t)
    for (uint64_t col = 0; col < 2; ++col)
      EXPECT_EQ(out.at(t, col), 0);
  for (uint64_t i = 0; i < 8; ++i)
    EXPECT_EQ(state.at(i / 4, 0, i / 2 % 2, i % 2), i < 4 ? double(i + 1) : 0);
}

} // namespace
} // namespace saddle::cpu
