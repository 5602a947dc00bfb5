// The vectorised loops against plain ones, bit for bit.

#include "runtime/src/cpu/Vector.h"
#include "runtime/src/cpu/Products.h"

#include "runtime/src/base/Float.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace saddle::cpu {
namespace {

using schema::DType;

std::vector<float> randomFloats(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(count);
  for (float &value : values)
    value = distribution(generator);
  return values;
}

/// The documented order: element k goes to lane k % 16 with one rounding, then
/// halves are added.
float orderedDot(const std::vector<float> &a, const std::vector<float> &b) {
  float lanes[16] = {};
  for (size_t k = 0; k < a.size(); ++k)
    lanes[k % 16] = std::fma(a[k], b[k], lanes[k % 16]);
  for (int half = 8; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane)
      lanes[lane] += lanes[lane + half];
  return lanes[0];
}

TEST(VectorTest, DotAddsInItsDocumentedOrder) {
  for (size_t count = 0; count < 200; ++count) {
    std::vector<float> a = randomFloats(count, 7), b = randomFloats(count, 8);
    ASSERT_EQ(dot(a.data(), b.data(), count), orderedDot(a, b)) << count;
  }
}

TEST(VectorTest, AddScaledRoundsOnce) {
  std::vector<float> source = randomFloats(77, 1), dest = randomFloats(77, 2);
  std::vector<float> expected = dest;
  for (size_t i = 0; i < 77; ++i)
    expected[i] = std::fma(0.3f, source[i], expected[i]);
  addScaled(0.3f, source.data(), dest.data(), 77);
  EXPECT_EQ(dest, expected);
}

/// `count` rows of numbers that `dtype` holds, `gap` bytes between them.
struct Rows {
  Rows(DType dtype, size_t count, size_t columns, size_t gap)
      : values(count), bytes(count * (columns * elementBytes(dtype) + gap)),
        view{bytes.data(), columns * elementBytes(dtype) + gap, dtype, count,
             columns} {
    for (size_t row = 0; row < count; ++row) {
      values[row] = randomFloats(columns, unsigned(10 + row));
      if (columns == 0) // nothing may be null
        continue;
      uint8_t *at = bytes.data() + row * view.stride;
      storeRow(values[row].data(), dtype, at, columns);
      loadRow(at, dtype, values[row].data(), columns);
    }
  }

  std::vector<std::vector<float>> values;
  std::vector<uint8_t> bytes;
  StoredRows view;
};

/// All that this machine can use.
std::vector<Instructions> instructions() {
  std::vector<Instructions> all;
  for (Instructions each :
       {Instructions::Any, Instructions::V3, Instructions::V4})
    if (each <= instructionsOfMachine())
      all.push_back(each);
  return all;
}

// Whatever the number of vectors and rows, whatever is computed beside it.
class ProductsTest : public testing::TestWithParam<Instructions> {};
INSTANTIATE_TEST_SUITE_P(Instructions, ProductsTest,
                         testing::ValuesIn(instructions()));

TEST_P(ProductsTest, EveryProductIsADotOfItsOwn) {
  for (DType dtype : {DType::F32, DType::BF16})
    for (size_t columns : {0, 1, 15, 16, 17, 32, 48, 63, 64, 96, 131})
      for (size_t vectors = 0; vectors <= 9; ++vectors)
        for (size_t count = 0; count <= 9; ++count) {
          Rows rows(dtype, count, columns, 6);
          std::vector<std::vector<float>> x, out(vectors);
          std::vector<const float *> from;
          std::vector<float *> to;
          for (size_t i = 0; i < vectors; ++i) {
            x.push_back(randomFloats(columns, unsigned(50 + i)));
            out[i].assign(count + 4, 9);
            from.push_back(x[i].data());
            to.push_back(out[i].data());
          }
          multiplyRows(rows.view, from.data(), vectors, to.data(), 3,
                       GetParam());
          for (size_t i = 0; i < vectors; ++i) {
            for (size_t row = 0; row < count; ++row)
              ASSERT_EQ(out[i][3 + row], orderedDot(x[i], rows.values[row]))
                  << vectors << " x " << columns << " x " << count;
            EXPECT_EQ(out[i][2], 9);
            EXPECT_EQ(out[i][3 + count], 9);
          }
        }
}

// Numbers whose sums lie at and beside the midst between two floats, that are
// subnormal, infinite or none: where two roundings would show.
TEST_P(ProductsTest, EveryProductIsRoundedOnce) {
  std::mt19937 generator(5);
  auto drawn = [&](unsigned kind) {
    uint32_t bits = uint32_t(generator());
    switch (kind % 4) {
    case 0: // any
      return floatFromBits(bits);
    case 1: // of few bits, near one
      return std::ldexp(float(int32_t(bits % 8192) - 4096),
                        int(bits >> 28) - 20);
    case 2: // powers of two and their neighbours
      return floatFromBits((bits & 0xff800000u) + (bits & 2) - 1);
    default:
      return floatFromBits(bits & 0x80ffffffu);
    }
  };
  for (unsigned step = 0; step < 60000; ++step) {
    float a[17] = {}, b[17] = {}, product, *out = &product;
    a[0] = drawn(step), b[0] = 1;
    a[16] = drawn(step / 4), b[16] = drawn(step / 16);
    const float *x = a;
    multiplyRows({reinterpret_cast<const uint8_t *>(b), 0, DType::F32, 1, 17},
                 &x, 1, &out, 0, GetParam());
    float expected = std::fma(a[16], b[16], a[0]);
    ASSERT_TRUE(product == expected ||
                (std::isnan(product) && std::isnan(expected)))
        << a[16] << " * " << b[16] << " + " << a[0] << ": " << product;
  }
}

TEST_P(ProductsTest, SumsOfRowsAreAddedOneByOne) {
  const size_t count = 7;
  for (DType dtype : {DType::F32, DType::BF16})
    for (size_t columns : {1, 16, 17, 32, 53, 64, 80})
      for (size_t vectors = 0; vectors <= 7; ++vectors) {
        Rows rows(dtype, count, columns, 2);
        std::vector<std::vector<float>> factors, sums, expected;
        std::vector<const float *> from;
        std::vector<float *> to;
        std::vector<uint64_t> seen;
        for (size_t i = 0; i < vectors; ++i) {
          factors.push_back(randomFloats(count + 1, unsigned(70 + i)));
          sums.push_back(randomFloats(columns + 1, unsigned(80 + i)));
          seen.push_back((3 * i + 5) % (count + 1));
        }
        expected = sums;
        for (size_t i = 0; i < vectors; ++i) {
          from.push_back(factors[i].data());
          to.push_back(sums[i].data());
          for (size_t row = 0; row < seen[i]; ++row)
            addScaled(factors[i][1 + row], rows.values[row].data(),
                      expected[i].data(), columns);
        }
        addScaledRows(rows.view, from.data(), 1, seen.data(), vectors,
                      to.data(), GetParam());
        ASSERT_EQ(sums, expected) << vectors << " x " << columns;
      }
}

TEST(VectorTest, SoftmaxIsThatOfDoubles) {
  for (size_t count = 1; count < 120; count += 7) {
    std::vector<float> values = randomFloats(count, unsigned(count));
    for (float &value : values)
      value *= 12;
    values[count / 2] = -100; // nothing of it is left
    std::vector<double> expected;
    float largest = *std::max_element(values.begin(), values.end()) * 0.5f;
    double sum = 0;
    for (float value : values)
      sum += expected.emplace_back(std::exp(double(value * 0.5f - largest)));
    softmax(values.data(), count, 0.5f);
    for (size_t i = 0; i < count; ++i)
      EXPECT_NEAR(values[i], expected[i] / sum,
                  4e-7 * expected[i] / sum + 1e-37)
          << i << " of " << count;
  }
  // Lanes beside and behind them change nothing.
  std::vector<float> alone = {0.5f}, apart = {-3e38f, 3e38f, NAN};
  softmax(alone.data(), 1, 1);
  EXPECT_EQ(alone[0], 1);
  softmax(apart.data(), 2, 1);
  EXPECT_EQ(apart[0], 0);
  EXPECT_EQ(apart[1], 1);
  softmax(apart.data(), 3, 1);
  for (float value : apart)
    EXPECT_TRUE(std::isnan(value));
}

TEST(VectorTest, RotationsAreThoseOfDoubles) {
  std::vector<float> frequencies;
  for (int i = 0; i < 21; ++i)
    frequencies.push_back(float(std::pow(5e6, -i / 21.0)));
  std::vector<float> cosines(21), sines(21);
  for (int step = 0; step < 4000; ++step) {
    auto position = float(step < 2000 ? step : (step - 1999) * 523);
    rotations(position, frequencies.data(), 21, cosines.data(), sines.data());
    for (size_t i = 0; i < 21; ++i) {
      double angle = position * frequencies[i];
      ASSERT_NEAR(cosines[i], std::cos(angle), 6e-8) << angle;
      ASSERT_NEAR(sines[i], std::sin(angle), 6e-8) << angle;
    }
  }
  float kept = sines[1];
  rotations(3, frequencies.data(), 1, cosines.data(), sines.data());
  EXPECT_EQ(sines[1], kept);
}

TEST(VectorTest, GatesAreThoseOfDoubles) {
  for (size_t count : {1, 15, 16, 40}) {
    std::vector<float> x = randomFloats(count, 3), up = randomFloats(count, 4);
    for (float &value : x)
      value *= 30;
    std::vector<float> gated = x;
    gate(gated.data(), up.data(), count);
    for (size_t i = 0; i < count; ++i) {
      double expected = x[i] / (1 + std::exp(-double(x[i]))) * up[i];
      EXPECT_NEAR(gated[i], expected, 6e-7 * std::fabs(expected) + 1e-36);
    }
  }
}

TEST(VectorTest, TheLargestIsTheFirstOfEqualOnesAndNanIsBeforeAll) {
  for (size_t count : {1, 2, 15, 16, 17, 33, 50, 768})
    for (size_t where = 0; where < count; ++where) {
      std::vector<float> values(count, -INFINITY);
      EXPECT_EQ(largest(values.data(), count), 0u);
      for (size_t i = 0; i < count; ++i)
        values[i] = -float(i % 3);
      values[where] = 1;
      if (where + 1 < count)
        values[count - 1] = 1;
      ASSERT_EQ(largest(values.data(), count), where) << count;
      values[where] = NAN;
      values[count - 1] = INFINITY;
      if (where + 1 == count)
        values[where] = NAN;
      ASSERT_EQ(largest(values.data(), count), where) << count;
    }
}

/// Every code of `dtype` widens as the scalar conversion says.
template <typename Code>
void expectWidens(DType dtype, float (*scalar)(Code)) {
  size_t count = size_t(1) << (8 * sizeof(Code));
  std::vector<Code> codes(count);
  for (size_t i = 0; i < count; ++i)
    codes[i] = Code(i);
  std::vector<float> values(count);
  loadRow(reinterpret_cast<const uint8_t *>(codes.data()), dtype, values.data(),
          count);
  // Short rows together.
  const auto *bytes = reinterpret_cast<const uint8_t *>(codes.data());
  const uint8_t *rows[] = {bytes + 40 * sizeof(Code), bytes};
  std::vector<float> together(2 * 33);
  loadRows(rows, 2, dtype, together.data(), 33);
  EXPECT_EQ(
      0, std::memcmp(together.data(), values.data() + 40, 33 * sizeof(float)));
  EXPECT_EQ(
      0, std::memcmp(together.data() + 33, values.data(), 33 * sizeof(float)));
  for (size_t i = 0; i < count; ++i) {
    float expected = scalar(codes[i]);
    if (std::isnan(expected))
      ASSERT_TRUE(std::isnan(values[i])) << i;
    else
      ASSERT_EQ(floatBits(values[i]), floatBits(expected)) << i;
  }
}

TEST(VectorTest, LoadRowWidensEveryCode) {
  expectWidens<uint16_t>(DType::BF16, bf16ToFloat);
  expectWidens<uint16_t>(DType::F16, f16ToFloat);
  expectWidens<uint8_t>(DType::F8E4M3, e4m3ToFloat);
}

TEST(VectorTest, StoreRowRoundsAsTheScalarConversions) {
  std::vector<float> values = randomFloats(1003, 5);
  for (float special : {0.0f, -0.0f, INFINITY, -INFINITY, 1e30f, 1e-30f, NAN})
    values.push_back(special);
  std::vector<uint16_t> bf16(values.size()), f16(values.size());
  std::vector<uint8_t> e4m3(values.size());
  storeRow(values.data(), DType::BF16, reinterpret_cast<uint8_t *>(bf16.data()),
           values.size());
  storeRow(values.data(), DType::F16, reinterpret_cast<uint8_t *>(f16.data()),
           values.size());
  storeRow(values.data(), DType::F8E4M3, e4m3.data(), values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(bf16[i], floatToBf16(values[i]));
    EXPECT_EQ(f16[i], floatToF16(values[i]));
    EXPECT_EQ(e4m3[i], floatToE4m3(values[i]));
  }
}

} // namespace
} // namespace saddle::cpu
