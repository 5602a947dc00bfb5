// Every narrow value widens to what its bit fields say; narrowing is compared
// with a search for the nearest representable value in double precision.

#include "runtime/src/base/Float.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

using namespace saddle;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// Value of a float format by its definition; `bias` and widths in bits.
double decode(unsigned code, int exponentBits, int mantissaBits, int bias) {
  unsigned mantissa = code & ((1u << mantissaBits) - 1);
  int exponent = int(code >> mantissaBits) & ((1 << exponentBits) - 1);
  bool negative = (code >> (mantissaBits + exponentBits)) & 1;
  double fraction = std::ldexp(double(mantissa), -mantissaBits);
  double value = exponent ? std::ldexp(1 + fraction, exponent - bias)
                          : std::ldexp(fraction, 1 - bias);
  return negative ? -value : value;
}

TEST(Float, everyE4m3CodeWidensByDefinition) {
  for (unsigned code = 0; code < 256; ++code) {
    float got = e4m3ToFloat(uint8_t(code));
    if ((code & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(got)) << code;
      continue;
    }
    EXPECT_EQ(got, float(decode(code, 4, 3, 7))) << code;
    EXPECT_EQ(std::signbit(got), code >= 128) << code;
  }
  EXPECT_EQ(e4m3ToFloat(0x7e), 448.0f);
  EXPECT_EQ(e4m3ToFloat(0x01), 0x1p-9f);
}

TEST(Float, everyF16CodeWidensByDefinition) {
  for (unsigned code = 0; code < 65536; ++code) {
    float got = f16ToFloat(uint16_t(code));
    if ((code & 0x7c00) == 0x7c00) {
      EXPECT_EQ(std::isnan(got), (code & 0x3ff) != 0) << code;
      EXPECT_EQ(std::isinf(got), (code & 0x3ff) == 0) << code;
      continue;
    }
    ASSERT_EQ(got, float(decode(code, 5, 10, 15))) << code;
    ASSERT_EQ(floatToF16(got), code);
  }
}

TEST(Float, everyBf16CodeRoundTrips) {
  for (unsigned code = 0; code < 65536; ++code) {
    float got = bf16ToFloat(uint16_t(code));
    if (std::isnan(got)) {
      EXPECT_TRUE(std::isnan(bf16ToFloat(floatToBf16(got))));
      continue;
    }
    ASSERT_EQ(floatToBf16(got), code);
  }
}

/// Checks narrowing at each neighbour pair a < b: at a quarter, the midpoint
/// (to the even code) and three quarters of the way.
template <typename Code>
void checkRounding(Code (*narrow)(float), float (*widen)(Code), Code last) {
  for (unsigned code = 0; code < last; ++code) {
    double low = widen(Code(code)), high = widen(Code(code + 1));
    Code even = code % 2 ? Code(code + 1) : Code(code);
    ASSERT_EQ(narrow(float(low + (high - low) / 4)), Code(code)) << code;
    ASSERT_EQ(narrow(float(low + (high - low) / 2)), even) << code;
    ASSERT_EQ(narrow(float(low + (high - low) * 3 / 4)), Code(code + 1))
        << code;
    Code sign = Code(Code(1) << (8 * sizeof(Code) - 1));
    ASSERT_EQ(narrow(float(-low - (high - low) / 2)), Code(even | sign))
        << code;
  }
}

TEST(Float, narrowingRoundsToNearestEven) {
  checkRounding<uint8_t>(floatToE4m3, e4m3ToFloat, 0x7e);
  checkRounding<uint16_t>(floatToF16, f16ToFloat, 0x7bff);
  checkRounding<uint16_t>(floatToBf16, bf16ToFloat, 0x7f7f);
}

TEST(Float, e8m0IsAPowerOfTwo) {
  EXPECT_EQ(e8m0ToFloat(127), 1.0f);
  EXPECT_EQ(e8m0ToFloat(1), 0x1p-126f);
  EXPECT_EQ(e8m0ToFloat(0), 0x1p-127f); // a subnormal float
  EXPECT_EQ(e8m0ToFloat(254), 0x1p127f);
  EXPECT_TRUE(std::isnan(e8m0ToFloat(255)));
}

TEST(Float, e4m3Saturates) {
  for (float value : {449.0f, 464.0f, 480.0f, 1e30f, kInfinity}) {
    EXPECT_EQ(floatToE4m3(value), 0x7e) << value;
    EXPECT_EQ(floatToE4m3(-value), 0xfe) << value;
  }
  EXPECT_EQ(floatToE4m3(0x1p-11f), 0);
  EXPECT_EQ(floatToE4m3(-0.0f), 0x80);
  EXPECT_EQ(floatToE4m3(kNaN) & 0x7f, 0x7f);
}

TEST(Float, f16AndBf16OverflowToInfinity) {
  EXPECT_EQ(floatToF16(65504.0f), 0x7bff);
  EXPECT_EQ(floatToF16(65519.0f), 0x7bff);
  EXPECT_EQ(floatToF16(65520.0f), 0x7c00);
  EXPECT_EQ(floatToF16(-1e9f), 0xfc00);
  EXPECT_EQ(floatToF16(kInfinity), 0x7c00);
  EXPECT_TRUE(std::isnan(f16ToFloat(floatToF16(kNaN))));
  EXPECT_EQ(floatToBf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(floatToBf16(-kInfinity), 0xff80);
  // A NaN whose payload sits only in the dropped bits must not become inf.
  EXPECT_TRUE(std::isnan(bf16ToFloat(floatToBf16(floatFromBits(0x7f800001)))));
}

} // namespace
