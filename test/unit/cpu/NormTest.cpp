#include "test/unit/cpu/KernelFixture.h"

namespace saddle::cpu {
namespace {

class NormTest : public testing::TestWithParam<DType> {};

TEST_P(NormTest, RmsNormDividesByTheRootMeanSquare) {
  DType a = GetParam();
  // 37 columns: neither a multiple of the vector width nor shorter than it.
  Tensor x = Tensor(a, {5, 37}, 3).random(1);
  Tensor weight = Tensor(DType::F32, {37}).random(2);
  Tensor out = Tensor(a, {5, 37}, 5).random(3);
  KernelBuilder kernel("rms_norm");
  launch(kernel.real("eps", 1e-3), {&x, &weight, &out}, 4, {a});
  for (int t = 0; t < 4; ++t) {
    double sum = 0;
    for (int i = 0; i < 37; ++i)
      sum += x.at(t, i) * x.at(t, i);
    for (int i = 0; i < 37; ++i) {
      double expected = x.at(t, i) / std::sqrt(sum / 37 + 1e-3) * weight.at(i);
      EXPECT_NEAR(out.at(t, i), expected, tolerance(a, expected, 3));
    }
  }
}

TEST_P(NormTest, RowsBeyondTheCountStay) {
  DType a = GetParam();
  Tensor x = Tensor(a, {3, 8}).random(1);
  Tensor weight = Tensor(DType::F32, {8}).random(2);
  Tensor out = Tensor(a, {3, 8}).random(3);
  std::vector<uint8_t> before = out.bytes;
  KernelBuilder kernel("rms_norm");
  kernel.real("eps", 1e-6);
  launch(kernel, {&x, &weight, &out}, 0, {a});
  EXPECT_EQ(out.bytes, before);
  launch(kernel, {&x, &weight, &out}, 2, {a});
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(std::memcmp(out.address(2, i),
                          before.data() + (out.address(2, i) - out.view.data),
                          elementBytes(a)),
              0);
}

TEST_P(NormTest, RmsNormWorksInPlace) {
  DType a = GetParam();
  Tensor x = Tensor(a, {2, 33}).random(1);
  Tensor weight = Tensor(DType::F32, {33}).random(2);
  Tensor out(a, {2, 33});
  KernelBuilder kernel("rms_norm");
  kernel.real("eps", 1e-6);
  launch(kernel, {&x, &weight, &out}, 2, {a});
  launch(kernel, {&x, &weight, &x}, 2, {a});
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < 33; ++i)
      EXPECT_EQ(x.at(t, i), out.at(t, i));
}

TEST_P(NormTest, SumOfSquaresHasAColumnPerInput) {
  DType a = GetParam();
  Tensor q = Tensor(a, {3, 65}, 2).random(1), k = Tensor(a, {3, 7}).random(2);
  Tensor out = Tensor(DType::F32, {3, 2}, 2).random(3);
  KernelBuilder kernel("sum_of_squares");
  launch(kernel, {&q, &k, &out}, 3, {a});
  for (int t = 0; t < 3; ++t) {
    double qSum = 0, kSum = 0;
    for (int i = 0; i < 65; ++i)
      qSum += q.at(t, i) * q.at(t, i);
    for (int i = 0; i < 7; ++i)
      kSum += k.at(t, i) * k.at(t, i);
    EXPECT_NEAR(out.at(t, 0), qSum, 1e-6 * qSum);
    EXPECT_NEAR(out.at(t, 1), kSum, 1e-6 * kSum);
  }
}

TEST_P(NormTest, RmsScaleUsesItsColumnAndDivisor) {
  DType a = GetParam();
  Tensor x = Tensor(a, {2, 19}, 1).random(1);
  Tensor sums = Tensor(DType::F32, {2, 3}).fill({1, 20, 3, 4, 50, 6});
  Tensor weight = Tensor(DType::F32, {19}).random(2);
  Tensor out(a, {2, 19}, 4);
  KernelBuilder kernel("rms_scale");
  kernel.integer("column", 1).integer("divisor", 152).real("eps", 0.01);
  launch(kernel, {&x, &sums, &weight, &out}, 2, {a});
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < 19; ++i) {
      double sum = t == 0 ? 20 : 50;
      double expected = x.at(t, i) / std::sqrt(sum / 152 + 0.01) * weight.at(i);
      EXPECT_NEAR(out.at(t, i), expected, tolerance(a, expected, 10));
    }
}

TEST_P(NormTest, ScaleColumnsMultipliesEachByItsWeight) {
  DType a = GetParam();
  Tensor x = Tensor(a, {3, 19}, 1).random(1);
  Tensor weight = Tensor(DType::F32, {19}).random(2);
  Tensor out = Tensor(a, {3, 19}, 4).random(3);
  double untouched = out.at(2, 5);
  KernelBuilder kernel("scale_columns");
  launch(kernel, {&x, &weight, &out}, 2, {a});
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < 19; ++i) {
      double expected = x.at(t, i) * weight.at(i);
      EXPECT_NEAR(out.at(t, i), expected, tolerance(a, expected, 3));
    }
  EXPECT_EQ(out.at(2, 5), untouched);
}

// The two halves with a product between them are the norm behind it.
TEST_P(NormTest, DivideByRmsUsesItsColumnAndDivisor) {
  DType a = GetParam();
  Tensor x = Tensor(a, {2, 7}, 1).random(1);
  Tensor sums = Tensor(DType::F32, {2, 3}).fill({1, 20, 3, 4, 50, 6});
  Tensor out(a, {2, 7}, 4);
  KernelBuilder kernel("divide_by_rms");
  kernel.integer("column", 1).integer("divisor", 152).real("eps", 0.01);
  launch(kernel, {&x, &sums, &out}, 2, {a});
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < 7; ++i) {
      double expected = x.at(t, i) / std::sqrt((t ? 50.0 : 20.0) / 152 + 0.01);
      EXPECT_NEAR(out.at(t, i), expected, tolerance(a, expected, 5));
    }
}

INSTANTIATE_TEST_SUITE_P(ComputeDType, NormTest,
                         testing::Values(DType::F32, DType::BF16));

} // namespace
} // namespace saddle::cpu
