// The vectorised loops against plain ones, bit for bit.

#include "runtime/src/cpu/Vector.h"

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

/// The documented order: element k goes to lane k % 32 while whole 32s last,
/// the rest to the first lanes, then halves are added.
float orderedDot(const std::vector<float> &a, const std::vector<float> &b) {
  float lanes[32] = {};
  for (size_t k = 0; k < a.size(); ++k) {
    volatile float product = a[k] * b[k]; // keeps compilers from contracting
    lanes[k % 32] += product;
  }
  for (int half = 16; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane)
      lanes[lane] += lanes[lane + half];
  return lanes[0];
}

TEST(VectorTest, DotAddsInItsDocumentedOrder) {
  for (size_t count = 0; count < 200; ++count) {
    std::vector<std::vector<float>> rows;
    const float *pointers[4];
    for (unsigned i = 0; i < 4; ++i)
      rows.push_back(randomFloats(count, 100 + i));
    for (unsigned i = 0; i < 4; ++i)
      pointers[i] = rows[i].data();
    std::vector<float> x = randomFloats(count, 7);
    float out[4];
    dotMany(x.data(), pointers, 4, count, out);
    std::vector<float> y = randomFloats(count, 8);
    float both[2][4];
    dotMany({x.data(), y.data()}, pointers, 4, count, {both[0], both[1]});
    for (unsigned i = 0; i < 4; ++i) {
      ASSERT_EQ(both[0][i], out[i]) << count;
      ASSERT_EQ(both[1][i], orderedDot(y, rows[i])) << count;
      ASSERT_EQ(out[i], orderedDot(x, rows[i])) << count;
      ASSERT_EQ(out[i], dot(x.data(), pointers[i], count)) << count;
    }
  }
}

TEST(VectorTest, AddScaledRoundsTwice) {
  std::vector<float> source = randomFloats(77, 1), dest = randomFloats(77, 2);
  std::vector<float> expected = dest;
  for (size_t i = 0; i < 77; ++i) {
    volatile float product = 0.3f * source[i];
    expected[i] += product;
  }
  addScaled(0.3f, source.data(), dest.data(), 77);
  EXPECT_EQ(dest, expected);
}

TEST(VectorTest, ManyAreManyOnes) {
  for (uint64_t m = 0; m <= 4; ++m) {
    std::vector<std::vector<float>> rows;
    const float *pointers[4];
    for (unsigned i = 0; i < 4; ++i)
      rows.push_back(randomFloats(53, 10 + i));
    for (unsigned i = 0; i < 4; ++i)
      pointers[i] = rows[i].data();
    std::vector<float> factors = randomFloats(4, 3), dest = randomFloats(53, 4),
                       source = randomFloats(53, 5);
    std::vector<float> expected = dest;
    addScaledMany(factors.data(), pointers, m, dest.data(), 53);
    for (uint64_t i = 0; i < m; ++i)
      addScaled(factors[i], pointers[i], expected.data(), 53);
    EXPECT_EQ(dest, expected);
    float products[4] = {9, 9, 9, 9};
    dotMany(dest.data(), pointers, m, 53, products);
    for (uint64_t i = 0; i < 4; ++i)
      EXPECT_EQ(products[i], i < m ? dot(dest.data(), pointers[i], 53) : 9);
    float both[2][4] = {{9, 9, 9, 9}, {9, 9, 9, 9}};
    dotMany({source.data(), dest.data()}, pointers, m, 53, {both[0], both[1]});
    for (uint64_t i = 0; i < 4; ++i) {
      EXPECT_EQ(both[0][i], i < m ? dot(source.data(), pointers[i], 53) : 9);
      EXPECT_EQ(both[1][i], products[i]);
    }
  }
}

TEST(VectorTest, SoftmaxIsThatOfDoubles) {
  for (size_t count = 1; count < 120; count += 7) {
    std::vector<float> values = randomFloats(count, unsigned(count));
    for (float &value : values)
      value *= 12;
    values[count / 2] = -100; // nothing of it is left
    std::vector<double> expected;
    float largest = *std::max_element(values.begin(), values.end());
    double sum = 0;
    for (float value : values)
      sum += expected.emplace_back(std::exp(double(value - largest)));
    softmax(values.data(), count);
    for (size_t i = 0; i < count; ++i)
      EXPECT_NEAR(values[i], expected[i] / sum,
                  4e-7 * expected[i] / sum + 1e-37)
          << i << " of " << count;
  }
  // Lanes beside and behind them change nothing.
  std::vector<float> alone = {0.5f}, apart = {-3e38f, 3e38f, NAN};
  softmax(alone.data(), 1);
  EXPECT_EQ(alone[0], 1);
  softmax(apart.data(), 2);
  EXPECT_EQ(apart[0], 0);
  EXPECT_EQ(apart[1], 1);
  softmax(apart.data(), 3);
  for (float value : apart)
    EXPECT_TRUE(std::isnan(value));
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
