// add, scaled_add, silu, sigmoid_gate, swiglu, swiglu_oai, rope, embedding,
// select_rows, concat, keep_rows, keep_next_rows, kept_rows.

#include "test/unit/cpu/KernelFixture.h"

namespace saddle::cpu {
namespace {

class ElementwiseTest : public testing::TestWithParam<DType> {};

TEST_P(ElementwiseTest, AddRoundsOnce) {
  DType a = GetParam();
  Tensor x = Tensor(a, {3, 11}, 1).random(1), y = Tensor(a, {3, 11}).random(2);
  Tensor out(a, {3, 11}, 2);
  KernelBuilder kernel("add");
  launch(kernel, {&x, &y, &out}, 3, {a});
  for (int t = 0; t < 3; ++t)
    for (int i = 0; i < 11; ++i) {
      // The exact sum of two such values fits a double.
      Tensor rounded(a, {1});
      rounded.set(x.at(t, i) + y.at(t, i), 0);
      EXPECT_EQ(out.at(t, i), rounded.at(0));
    }
  launch(kernel, {&x, &y, &x}, 3, {a});
  for (int t = 0; t < 3; ++t)
    for (int i = 0; i < 11; ++i)
      EXPECT_EQ(x.at(t, i), out.at(t, i)) << "in place";
}

TEST_P(ElementwiseTest, ScaledAddRoundsOnce) {
  DType a = GetParam();
  constexpr double alpha = 3.5565588200778455, beta = 0.8;
  Tensor x = Tensor(a, {3, 11}, 1).random(1), y = Tensor(a, {3, 11}).random(2);
  Tensor out(a, {3, 11}, 2);
  KernelBuilder kernel("scaled_add");
  kernel.real("alpha", alpha).real("beta", beta);
  launch(kernel, {&x, &y, &out}, 3, {a});
  for (int t = 0; t < 3; ++t)
    for (int i = 0; i < 11; ++i) {
      double expected = alpha * x.at(t, i) + beta * y.at(t, i);
      EXPECT_NEAR(out.at(t, i), expected, tolerance(a, expected, 1));
    }
  launch(kernel, {&x, &y, &x}, 3, {a});
  for (int t = 0; t < 3; ++t)
    for (int i = 0; i < 11; ++i)
      EXPECT_EQ(x.at(t, i), out.at(t, i)) << "in place";
}

TEST_P(ElementwiseTest, SiLUAndGate) {
  DType a = GetParam();
  // Far out, exp overflows; sigmoid does not.
  Tensor x = Tensor(a, {2, 4}, 1).fill({-200, -1, 0, 1, 200, 0.5, -0.5, 3});
  Tensor gate = Tensor(a, {2, 4}).fill({1, -200, 200, 0, 2, -2, 0, 1});
  Tensor out(a, {2, 4}, 2), gated(a, {2, 4}, 3);
  KernelBuilder silu("silu"), sigmoidGate("sigmoid_gate");
  launch(silu, {&x, &out}, 2, {a});
  launch(sigmoidGate, {&x, &gate, &gated}, 2, {a});
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < 4; ++i) {
      double value = x.at(t, i);
      double expected = value / (1 + std::exp(-value));
      EXPECT_NEAR(out.at(t, i), expected, tolerance(a, expected, 1));
      expected = value / (1 + std::exp(-gate.at(t, i)));
      EXPECT_NEAR(gated.at(t, i), expected, tolerance(a, expected, 200));
    }
  // By hand: sigmoid(1) = 0.731059.
  EXPECT_NEAR(out.at(0, 3), 0.731059, 0.003);
  EXPECT_NEAR(gated.at(1, 3), 3 * 0.731059, 0.01);
  launch(sigmoidGate, {&x, &gate, &gate}, 2, {a});
  launch(silu, {&x, &x}, 2, {a});
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(x.at(t, i), out.at(t, i)) << "in place";
      EXPECT_EQ(gate.at(t, i), gated.at(t, i)) << "in place";
    }
}

TEST_P(ElementwiseTest, ScaleMultipliesOrDividesAll) {
  DType a = GetParam();
  Tensor x = Tensor(a, {3, 11}, 2).random(4), out(a, {3, 11}, 1);
  Tensor factor = Tensor(DType::F32, {1}).fill({0.375});
  for (bool inverse : {false, true}) {
    launch(KernelBuilder("scale").integer("inverse", inverse),
           {&x, &factor, &out}, 3, {a});
    for (int t = 0; t < 3; ++t)
      for (int i = 0; i < 11; ++i) {
        double expected = inverse ? x.at(t, i) / 0.375 : x.at(t, i) * 0.375;
        EXPECT_NEAR(out.at(t, i), expected, tolerance(a, expected, 1));
      }
  }
}

TEST_P(ElementwiseTest, SwiGLUGates) {
  DType a = GetParam();
  Tensor gate = Tensor(a, {2, 3}, 1).fill({-200, 1, -1, 0, 2, 200});
  Tensor up = Tensor(a, {2, 3}).fill({1, 3, 2, 5, -4, 0.5});
  Tensor out(a, {2, 3}, 2);
  KernelBuilder kernel("swiglu");
  launch(kernel, {&gate, &up, &out}, 2, {a});
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < 3; ++i) {
      double g = gate.at(t, i), expected = g / (1 + std::exp(-g)) * up.at(t, i);
      EXPECT_NEAR(out.at(t, i), expected, tolerance(a, expected, 8));
    }
  // By hand: sigmoid(1) = 0.731059.
  EXPECT_NEAR(out.at(0, 1), 3 * 0.731059, 0.01);
}

TEST_P(ElementwiseTest, ConcatPutsRowsBehindEachOther) {
  DType a = GetParam();
  Tensor x = Tensor(a, {3, 4}, 1).random(1), y = Tensor(a, {3, 1}).random(2),
         z = Tensor(a, {3, 2}, 3).random(3), out(a, {3, 7}, 2);
  KernelBuilder kernel("concat");
  launch(kernel, {&x, &y, &z, &out}, 2, {a});
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < 7; ++i)
      EXPECT_EQ(out.at(t, i), i < 4   ? x.at(t, i)
                              : i < 5 ? y.at(t, 0)
                                      : z.at(t, i - 5));
}

TEST_P(ElementwiseTest, RowsAreKeptInTheirSlots) {
  DType a = GetParam();
  constexpr int pages = 3, page = 2, width = 5;
  Tensor x = Tensor(a, {4, width}, 1).random(1);
  Tensor kept = Tensor(a, {pages, page, width}).random(2);
  Tensor before = Tensor(a, {pages, page, width}).random(2);
  Tensor out(a, {4, width}, 2);
  Tensor slots = Tensor(DType::I32, {4}).fill({5, -1, 2, 6});
  KernelBuilder keep("keep_rows"), take("kept_rows");
  launch(keep, {&x, &slots, &kept}, 4, {a});
  for (int slot = 0; slot < pages * page; ++slot)
    for (int i = 0; i < width; ++i)
      EXPECT_EQ(kept.at(slot / page, slot % page, i),
                slot == 5   ? x.at(0, i)
                : slot == 2 ? x.at(2, i)
                            : before.at(slot / page, slot % page, i));
  launch(take, {&slots, &kept, &out}, 4, {a});
  for (int i = 0; i < width; ++i) {
    EXPECT_EQ(out.at(0, i), x.at(0, i));
    EXPECT_EQ(out.at(1, i), 0) << "no slot";
    EXPECT_EQ(out.at(2, i), x.at(2, i));
    EXPECT_EQ(out.at(3, i), 0) << "behind the last page";
  }
}

TEST_P(ElementwiseTest, RowsAreKeptForTheNextToken) {
  DType a = GetParam();
  constexpr int pages = 4, page = 2, width = 3;
  // Two sequences of up to two pages each. Row 0 is of token 1, the fourth of
  // sequence 1: behind it there is no page. Row 1 is of token 0, at position 1
  // of sequence 0: the next page begins there. Row 2 is of no token.
  Tensor x = Tensor(a, {4, width}, 1).random(1);
  Tensor kept = Tensor(a, {pages, page, width}).random(2);
  Tensor before = Tensor(a, {pages, page, width}).random(2);
  Tensor rows = Tensor(DType::I32, {4}).fill({1, 0, -1, 2});
  Tensor positions = Tensor(DType::I32, {3}).fill({1, 3, 0});
  Tensor sequences = Tensor(DType::I32, {3}).fill({0, 1, 1});
  Tensor table = Tensor(DType::I32, {2, 2}).fill({0, 3, 1, 2});
  KernelBuilder kernel("keep_next_rows");
  launch(kernel, {&x, &rows, &positions, &sequences, &table, &kept}, 4, {a});
  for (int slot = 0; slot < pages * page; ++slot)
    for (int i = 0; i < width; ++i)
      EXPECT_EQ(kept.at(slot / page, slot % page, i),
                slot == 6   ? x.at(1, i) // page 3, position 2
                : slot == 3 ? x.at(3, i) // page 1, position 1
                            : before.at(slot / page, slot % page, i))
          << slot;
}

TEST_P(ElementwiseTest, SwiGLUClampsTheGateAboveAndTheOtherOnBothSides) {
  DType a = GetParam();
  constexpr double alpha = 1.702, limit = 1.5;
  // -4, -3.25 ... 3.5: on both sides of both limits.
  Tensor gate(a, {3, 11}, 1), up(a, {3, 11}), out(a, {3, 11}, 2);
  for (int t = 0; t < 3; ++t)
    for (int i = 0; i < 11; ++i) {
      gate.set(-4 + 0.75 * i, t, i);
      up.set(4 - 0.75 * ((i + 3 * t) % 11), t, i);
    }
  KernelBuilder kernel("swiglu_oai");
  kernel.real("alpha", alpha).real("limit", limit);
  launch(kernel, {&gate, &up, &out}, 3, {a});
  for (int t = 0; t < 3; ++t)
    for (int i = 0; i < 11; ++i) {
      double g = std::min(gate.at(t, i), limit);
      double u = std::clamp(up.at(t, i), -limit, limit);
      double expected = g / (1 + std::exp(-alpha * g)) * (u + 1);
      EXPECT_NEAR(out.at(t, i), expected, tolerance(a, expected, 3));
    }
  // By hand: gate 3.5 is cut to 1.5, up -3.5 to -1.5; sigmoid(2.553) = 0.92776.
  EXPECT_NEAR(out.at(0, 10), 1.5 * 0.92776 * (1 - 1.5), 0.02);
  launch(kernel, {&gate, &up, &gate}, 3, {a});
  for (int t = 0; t < 3; ++t)
    for (int i = 0; i < 11; ++i)
      EXPECT_EQ(gate.at(t, i), out.at(t, i)) << "in place";
}

TEST_P(ElementwiseTest, RopeRotatesTheFirstDimsOfEachHead) {
  DType a = GetParam();
  constexpr int headDim = 10, rotary = 6, heads = 3;
  constexpr double theta = 10000;
  Tensor x = Tensor(a, {4, heads * headDim}, 3).random(1);
  Tensor positions = Tensor(DType::I32, {4}).fill({0, 1, 700, 12});
  Tensor out(a, {4, heads * headDim}, 1);
  KernelBuilder kernel("rope");
  kernel.integer("head_dim", headDim).integer("rotary_dim", rotary);
  launch(kernel.real("theta", theta), {&x, &positions, &out}, 4, {a});
  for (int t = 0; t < 4; ++t)
    for (int head = 0; head < heads; ++head)
      for (int i = 0; i < headDim; ++i) {
        int column = head * headDim + i;
        double expected = x.at(t, column);
        if (i < rotary) {
          int j = i % (rotary / 2);
          double angle = positions.at(t) * std::pow(theta, -2.0 * j / rotary);
          double low = x.at(t, head * headDim + j);
          double high = x.at(t, head * headDim + j + rotary / 2);
          expected = i < rotary / 2
                         ? low * std::cos(angle) - high * std::sin(angle)
                         : high * std::cos(angle) + low * std::sin(angle);
        }
        // An fp32 angle of 700 is exact to 3e-5.
        EXPECT_NEAR(out.at(t, column), expected,
                    tolerance(a, expected, 3) + 1e-4);
      }
  for (int i = 0; i < heads * headDim; ++i)
    EXPECT_EQ(out.at(0, i), x.at(0, i)) << "position 0 rotates nothing";
  launch(kernel, {&x, &positions, &x}, 4, {a});
  for (int t = 0; t < 4; ++t)
    for (int i = 0; i < heads * headDim; ++i)
      EXPECT_EQ(x.at(t, i), out.at(t, i)) << "in place";
}

TEST_P(ElementwiseTest, EmbeddingTakesRowsOfEveryStorageType) {
  DType a = GetParam();
  for (DType w : {DType::F32, DType::BF16, DType::F16, DType::F8E4M3}) {
    Tensor table = Tensor(w, {4, 9}, 2).random(1);
    // Rank 2 of 3 holds tokens 8..11 of the vocabulary.
    Tensor tokens = Tensor(DType::I32, {5}).fill({8, 11, 7, 12, -5});
    Tensor out = Tensor(a, {5, 9}, 1).random(2);
    KernelBuilder kernel("embedding");
    kernel.rank("vocab_start", 0, 1, 3, 4);
    launch(kernel, {&tokens, &table, &out}, 5, {a, DType::F32, 2});
    for (int i = 0; i < 9; ++i) {
      Tensor rounded(a, {2});
      rounded.set(table.at(0, i), 0);
      rounded.set(table.at(3, i), 1);
      EXPECT_EQ(out.at(0, i), rounded.at(0));
      EXPECT_EQ(out.at(1, i), rounded.at(1));
      for (int outside : {2, 3, 4})
        EXPECT_EQ(out.at(outside, i), 0);
    }
  }
}

TEST_P(ElementwiseTest, SelectRowsCopiesAndSkipsRowsOutside) {
  DType a = GetParam();
  Tensor x = Tensor(a, {4, 5}, 2).random(1);
  Tensor rows = Tensor(DType::I32, {4}).fill({3, 0, 4, -1});
  Tensor out = Tensor(a, {4, 5}).random(2);
  double before = out.at(2, 0);
  KernelBuilder kernel("select_rows");
  launch(kernel, {&x, &rows, &out}, 4, {a});
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(out.at(0, i), x.at(3, i));
    EXPECT_EQ(out.at(1, i), x.at(0, i));
  }
  EXPECT_EQ(out.at(2, 0), before);
}

INSTANTIATE_TEST_SUITE_P(ComputeDType, ElementwiseTest,
                         testing::Values(DType::F32, DType::BF16));

} // namespace
} // namespace saddle::cpu
