// decay_scan against loops in double, and against what other implementations of
// lightning attention have got wrong.

#include "test/unit/cpu/KernelFixture.h"

namespace saddle::cpu {
namespace {

/// Rows of q, k and v for tokens in turn, heads with q | k | v each.
constexpr uint64_t kHeads = 5, kRows = 3, kCols = 7, kSlots = 3;
constexpr uint64_t kHeadWidth = 2 * kRows + kCols;

/// ALiBi's slopes of 5 heads: of 4 heads 2^-2, 2^-4, 2^-6, 2^-8; then the first
/// of 8 heads, 2^-1.
constexpr double kSlopes[kHeads] = {0x1p-2, 0x1p-4, 0x1p-6, 0x1p-8, 0x1p-1};

KernelBuilder scan(int64_t heads, double rate) {
  KernelBuilder kernel("decay_scan");
  kernel.integer("heads", heads).real("rate", rate).rank("head_start", 0);
  return kernel;
}

Tensor copyOf(const Tensor &tensor, std::vector<uint64_t> shape) {
  Tensor copy(tensor.view.dtype, std::move(shape));
  copy.bytes = tensor.bytes;
  copy.view.data = copy.bytes.data();
  return copy;
}

class ScanTest : public testing::TestWithParam<DType> {};

TEST_P(ScanTest, DecaysAddsAndAsksTokenByToken) {
  DType a = GetParam();
  constexpr double rate = 0.7;
  // Two sequences in turn: slot 2 begins, slot 0 goes on at position 9.
  std::vector<double> slots = {2, 2, 0, 2, 0}, at = {0, 1, 9, 2, 10};
  const uint64_t n = slots.size();
  Tensor sequences = Tensor(DType::I32, {n}).fill(slots);
  Tensor positions = Tensor(DType::I32, {n}).fill(at);
  Tensor qkv = Tensor(a, {n, kHeads * kHeadWidth}, 2).random(1);
  Tensor state = Tensor(DType::F32, {kSlots, kHeads, kRows, kCols}).random(4);
  Tensor before = copyOf(state, {kSlots, kHeads, kRows, kCols});
  Tensor out(a, {n, kHeads * kCols}, 5);
  KernelBuilder kernel = scan(kHeads, rate);
  launch(kernel, {&qkv, &positions, &sequences, &state, &out}, n, {a});
  for (uint64_t head = 0; head < kHeads; ++head)
    for (uint64_t col = 0; col < kCols; ++col) {
      double held[kSlots][kRows];
      for (uint64_t slot = 0; slot < kSlots; ++slot)
        for (uint64_t row = 0; row < kRows; ++row)
          held[slot][row] = before.at(slot, head, row, col);
      uint64_t q = head * kHeadWidth, k = q + kRows, v = k + kRows;
      for (uint64_t t = 0; t < n; ++t) {
        double expected = 0;
        for (uint64_t row = 0; row < kRows; ++row) {
          double &s = held[int(slots[t])][row];
          s = (at[t] == 0 ? 0 : s) * std::exp(-rate * kSlopes[head]) +
              qkv.at(t, k + row) * qkv.at(t, v + col);
          expected += qkv.at(t, q + row) * s;
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

/// One sequence in slot 0: one head of a state of one row and one column.
struct OneCell {
  Tensor state = Tensor(DType::F32, {1, 1, 1, 1}).fill({0});

  /// Runs `tokens` triples of q, k, v, which begin at position `first`; the
  /// outputs.
  std::vector<double> run(KernelBuilder kernel, std::vector<double> tokens,
                          double first, LaunchContext context = {}) {
    uint64_t n = tokens.size() / 3;
    std::vector<double> at(n);
    for (uint64_t t = 0; t < n; ++t)
      at[t] = first + double(t);
    Tensor qkv = Tensor(context.compute, {n, 3}).fill(std::move(tokens));
    Tensor positions = Tensor(DType::I32, {n}).fill(at);
    Tensor sequences =
        Tensor(DType::I32, {n}).fill(std::vector<double>(n, 0.0));
    Tensor out(context.compute, {n, 1});
    launch(kernel, {&qkv, &positions, &sequences, &state, &out}, n, context);
    std::vector<double> results;
    for (uint64_t t = 0; t < n; ++t)
      results.push_back(out.at(t, 0));
    return results;
  }
};

// Token p of a chunk sees what was before the chunk decayed by p + 1 steps, and
// itself not at all; a prefill that decays by p is wrong by exp(slope).
TEST(ScanFaults, HistoryDecaysByOneStepMoreThanTheOffset) {
  // The slope of one head is 2^-8.
  for (double slope : {0.917, 0.3, 0.05, 0.0039}) {
    OneCell cell;
    cell.run(scan(1, slope * 256), {0, 1, 2}, 0);
    std::vector<double> out =
        cell.run(scan(1, slope * 256), {3, 0, 0, 3, 0, 0, 3, 0, 0}, 1);
    for (int p = 0; p < 3; ++p)
      EXPECT_NEAR(out[p], 6 * std::exp(-slope * (p + 1)), 1e-6)
          << "slope " << slope << ", offset " << p;
    OneCell fresh;
    EXPECT_NEAR(fresh.run(scan(1, slope * 256), {3, 1, 2}, 0)[0], 6, 1e-6);
  }
}

// Rows without a sequence are written, and touch no state; a buffer that held
// anything else shows.
TEST(ScanFaults, PaddedRowsAreZeroWhateverTheBufferHeld) {
  Tensor sequences = Tensor(DType::I32, {5}).fill({-1, 2, 0, 1, 1});
  Tensor positions = Tensor(DType::I32, {5}).fill({0, 0, -5, 3, 4});
  Tensor qkv = Tensor(DType::F32, {5, 6}).random(1);
  Tensor state =
      Tensor(DType::F32, {2, 1, 2, 2}).fill({1, 2, 3, 4, 0, 0, 0, 0});
  Tensor out =
      Tensor(DType::F32, {5, 2}).fill(std::vector<double>(10, double(NAN)));
  KernelBuilder kernel = scan(1, 1);
  // The last two tokens are not among the counted ones.
  launch(kernel, {&qkv, &positions, &sequences, &state, &out}, 3);
  for (uint64_t t = 0; t < 3; ++t)
    for (uint64_t col = 0; col < 2; ++col)
      EXPECT_EQ(out.at(t, col), 0);
  EXPECT_TRUE(std::isnan(out.at(3, 0)));
  for (uint64_t i = 0; i < 8; ++i)
    EXPECT_EQ(state.at(i / 4, 0, i / 2 % 2, i % 2), i < 4 ? double(i + 1) : 0);
}

// A state in bf16 stops growing where a step is less than half a unit of its
// last place: 256 + 1 = 256. Ones added 1000 times at a decay that hardly shows
// make almost 1000.
TEST(ScanFaults, StateIsWiderThanBf16) {
  constexpr double slope = 4.9e-5;
  OneCell cell;
  std::vector<double> tokens;
  for (int t = 0; t < 1000; ++t)
    tokens.insert(tokens.end(), {0, 1, 1});
  cell.run(scan(1, slope * 256), tokens, 0, {DType::BF16});
  double decay = std::exp(-slope);
  double expected = (1 - std::pow(decay, 1000)) / (1 - decay);
  EXPECT_NEAR(cell.state.at(0, 0, 0, 0), expected, 1e-3);
  // An engine cannot ask for less.
  Tensor narrow(DType::BF16, {1, 1, 1, 1}), qkv(DType::BF16, {1, 3}),
      positions(DType::I32, {1}), sequences(DType::I32, {1}),
      out(DType::BF16, {1, 1});
  KernelBuilder kernel = scan(1, 1);
  EXPECT_EQ(
      ops::checkLaunch(kernel.build(), DType::BF16, DType::BF16,
                       viewsOf({&qkv, &positions, &sequences, &narrow, &out}))
          .message(),
      "decay_scan: operand 3 (state) is bf16, expected f32 (compute bf16, KV "
      "bf16)");
}

// The slowest decay of the published models: head 63 of 64 in layer 78 of 80.
// exp(-slope) in fp32 is off by up to 3e-8, which 20,000 tokens would make
// 6e-4.
TEST(ScanFaults, TwentyThousandTokensAtTheSlowestDecay) {
  constexpr uint64_t rows = 8, cols = 8, width = 2 * rows + cols;
  constexpr int tokens = 20000, chunk = 500;
  constexpr double rate = 1 - 78.0 / 79 + 1e-5;
  constexpr uint64_t headStart = 63;
  const double decay = std::exp(-rate * 0x1p-8);
  std::vector<double> exact(rows * cols);
  Tensor state = Tensor(DType::F32, {1, 1, rows, cols})
                     .fill(std::vector<double>(rows * cols, 9.0));
  double worst = 0, largest = 0;
  for (int first = 0; first < tokens; first += chunk) {
    std::vector<double> at(chunk);
    for (int t = 0; t < chunk; ++t)
      at[t] = first + t;
    Tensor qkv = Tensor(DType::F32, {chunk, width}).random(first + 1);
    Tensor positions = Tensor(DType::I32, {chunk}).fill(at);
    Tensor sequences =
        Tensor(DType::I32, {chunk}).fill(std::vector<double>(chunk, 0.0));
    Tensor out(DType::F32, {chunk, cols});
    KernelBuilder kernel("decay_scan");
    kernel.integer("heads", 64)
        .real("rate", rate)
        .rank("head_start", headStart);
    launch(kernel, {&qkv, &positions, &sequences, &state, &out}, chunk);
    for (int t = 0; t < chunk; ++t)
      for (uint64_t row = 0; row < rows; ++row)
        for (uint64_t col = 0; col < cols; ++col)
          exact[row * cols + col] =
              decay * exact[row * cols + col] +
              qkv.at(t, rows + row) * qkv.at(t, 2 * rows + col);
  }
  for (uint64_t row = 0; row < rows; ++row)
    for (uint64_t col = 0; col < cols; ++col) {
      double expected = exact[row * cols + col];
      worst = std::max(worst, std::fabs(state.at(0, 0, row, col) - expected));
      largest = std::max(largest, std::fabs(expected));
    }
  EXPECT_LE(worst / largest, 1e-5) << "largest value " << largest;
}

/// What is left of a one after a step: exp(-rate * slope), for each head that a
/// rank of `ranks` holds.
std::vector<double> decaysOf(uint64_t heads, double rate, uint64_t ranks,
                             uint32_t rank) {
  uint64_t share = heads / ranks;
  Tensor qkv = Tensor(DType::F32, {1, 3 * share})
                   .fill(std::vector<double>(3 * share, 0.0));
  Tensor positions = Tensor(DType::I32, {1}).fill({1});
  Tensor sequences = Tensor(DType::I32, {1}).fill({0});
  Tensor state = Tensor(DType::F32, {1, share, 1, 1})
                     .fill(std::vector<double>(share, 1.0));
  Tensor out(DType::F32, {1, share});
  KernelBuilder kernel("decay_scan");
  kernel.integer("heads", int64_t(heads))
      .real("rate", rate)
      .rank("head_start", 0, 1, ranks, share);
  launch(kernel, {&qkv, &positions, &sequences, &state, &out}, 1,
         {DType::F32, DType::F32, rank});
  std::vector<double> decays;
  for (uint64_t head = 0; head < share; ++head)
    decays.push_back(state.at(0, head, 0, 0));
  return decays;
}

// 64 heads of 80 layers, from the published formula; slopes of all heads are
// made and then cut by ranks.
TEST(ScanSlopes, OfPublishedModelsOnEachRank) {
  struct Known {
    double rate, first, last;
  };
  for (const Known &known : {Known{1.00001, 0.399711, 0.9961013},
                             Known{0.0253265, 0.977043, 0.9999011},
                             Known{0.0126682, 0.988450, 0.9999505}}) {
    std::vector<double> whole = decaysOf(64, known.rate, 1, 0);
    EXPECT_NEAR(whole.front(), known.first, 1e-6);
    EXPECT_NEAR(whole.back(), known.last, 1e-7);
    std::vector<double> joined;
    for (uint32_t rank = 0; rank < 8; ++rank)
      for (double decay : decaysOf(64, known.rate, 8, rank))
        joined.push_back(decay);
    EXPECT_EQ(joined, whole);
  }
}

TEST(ScanSlopes, OfOtherNumbersThanPowersOfTwo) {
  auto expectSlopes = [](const std::vector<double> &expected) {
    std::vector<double> decays = decaysOf(expected.size(), 1, 1, 0);
    for (size_t head = 0; head < expected.size(); ++head)
      EXPECT_NEAR(decays[head], std::exp(-expected[head]), 1e-6)
          << "head " << head << " of " << expected.size();
  };
  expectSlopes({0x1p-8});
  expectSlopes({0x1p-4, 0x1p-8, 0x1p-2});
  expectSlopes({0x1p-2, 0x1p-4, 0x1p-6, 0x1p-8, 0x1p-1, 0x1p-3});
  // Of 8 heads, then heads 0, 2, 4 and 6 of 16.
  double root = std::sqrt(0.5);
  expectSlopes({0x1p-1, 0x1p-2, 0x1p-3, 0x1p-4, 0x1p-5, 0x1p-6, 0x1p-7, 0x1p-8,
                root, root / 2, root / 4, root / 8});
}

} // namespace
} // namespace saddle::cpu
