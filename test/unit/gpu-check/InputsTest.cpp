#include "test/gpu/KernelCheck/Inputs.h"

#include "runtime/src/base/Convert.h"
#include "test/gpu/KernelCheck/CheckRun.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace saddle::check {
namespace {

using schema::DType;
using testing::ElementsAre;

View matrix(std::vector<uint8_t> &bytes, DType dtype, uint64_t rows,
            uint64_t columns, uint64_t stride) {
  bytes.assign(rows * stride * elementBytes(dtype), 0xee);
  View view;
  view.data = bytes.data();
  view.dtype = dtype;
  view.rank = 2;
  view.shape = {rows, columns};
  view.strides = {stride, 1};
  return view;
}

TEST(InputsTest, QuantilesHaveTheMomentsOfTheirDistribution) {
  Quantiles normal = normalQuantiles(2);
  double sum = 0, squares = 0;
  for (float value : normal) {
    sum += value;
    squares += double(value) * value;
  }
  EXPECT_NEAR(sum / 4096, 0, 1e-6);
  EXPECT_NEAR(squares / 4096, 4, 0.02);
  // A normal value is below one deviation with probability 0.8413.
  EXPECT_EQ(std::count_if(normal.begin(), normal.end(),
                          [](float value) { return value < 2; }),
            std::lround(0.8413447 * 4096));
  Quantiles uniform = uniformQuantiles(1, 3);
  EXPECT_NEAR(uniform.front(), 1, 1e-3);
  EXPECT_NEAR(uniform.back(), 3, 1e-3);
}

TEST(InputsTest, ElementsLookDrawnAndGapsKeepTheirBytes) {
  for (DType dtype : {DType::F32, DType::BF16, DType::F8E4M3}) {
    std::vector<uint8_t> bytes;
    View view = matrix(bytes, dtype, 300, 101, 104);
    fillElements(view, normalQuantiles(1), 7, 1);
    double squares = 0, product = 0;
    std::vector<float> row(101);
    for (uint64_t i = 0; i < 300; ++i) {
      loadRow(view.row(i), dtype, row.data(), 101);
      for (uint64_t j = 0; j < 101; ++j) {
        squares += double(row[j]) * row[j];
        product += j ? double(row[j]) * row[j - 1] : 0;
      }
      for (uint64_t j = 101 * elementBytes(dtype);
           j < 104 * elementBytes(dtype); ++j)
        EXPECT_EQ(view.row(i)[j], 0xee);
    }
    // 30300 draws: four deviations of a mean of squares are 4 sqrt(2 / 30300);
    // neighbours are independent.
    EXPECT_NEAR(squares / 30300, 1, 0.04);
    EXPECT_NEAR(product / 30300, 0, 0.04);
  }
}

TEST(InputsTest, ContentsDependOnTheSeedAndNotOnThreads) {
  std::vector<uint8_t> one, other, third;
  // Several pieces of work.
  View first = matrix(one, DType::F8E4M3, 3000, 3001, 3001);
  View second = matrix(other, DType::F8E4M3, 3000, 3001, 3001);
  View last = matrix(third, DType::F8E4M3, 3000, 3001, 3001);
  fillElements(first, normalQuantiles(60), 1, 1);
  fillElements(second, normalQuantiles(60), 1, 4);
  fillElements(last, normalQuantiles(60), 2, 4);
  EXPECT_TRUE(one == other);
  EXPECT_FALSE(one == third);
}

TEST(InputsTest, BytesAreDrawnFromARange) {
  std::vector<uint8_t> data;
  View view = matrix(data, DType::U8, 100, 101, 104);
  fillBytes(view, 3, 5, 7, 1);
  unsigned counts[256] = {};
  for (uint64_t i = 0; i < 100; ++i) {
    for (uint64_t j = 0; j < 101; ++j)
      ++counts[view.row(i)[j]];
    EXPECT_EQ(view.row(i)[101], 0xee); // a gap between rows
  }
  EXPECT_EQ(counts[3] + counts[4] + counts[5], 10100u);
  for (unsigned byte : {3, 4, 5})
    EXPECT_NEAR(counts[byte], 10100 / 3, 200); // four deviations are 190
}

TEST(InputsTest, EveryIndexIsVisitedOnce) {
  for (unsigned threads : {1u, 3u, 16u}) {
    std::vector<int> visits(1000);
    forEachIndex(1000, threads, [&](uint64_t i) { ++visits[i]; });
    EXPECT_EQ(visits, std::vector<int>(1000, 1));
  }
}

TEST(SampleTest, FewRowsAreAllTaken) {
  EXPECT_THAT(sampleOf(0, 4), ElementsAre());
  EXPECT_THAT(sampleOf(3, 0), ElementsAre(0, 1, 2));
  EXPECT_THAT(sampleOf(4, 4), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(sampleOf(9, 1), ElementsAre(0));
  EXPECT_THAT(sampleOf(9, 2), ElementsAre(0, 8));
}

TEST(SampleTest, ManyRowsAreSampledAtEndsAndTilesAndBetween) {
  std::vector<uint64_t> rows = sampleOf(1023, 32);
  ASSERT_EQ(rows.size(), 32u);
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end()));
  // 896 = 7 * 128 is the last multiple of 128, 960 of 64.
  for (uint64_t row : {0, 1022, 127, 128, 895, 896, 63, 64, 959, 960})
    EXPECT_THAT(rows, testing::Contains(row));
  uint64_t widest = 0;
  for (size_t i = 1; i < rows.size(); ++i)
    widest = std::max(widest, rows[i] - rows[i - 1]);
  EXPECT_LE(widest, 1023u / 10);
}

} // namespace
} // namespace saddle::check
