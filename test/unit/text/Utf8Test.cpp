#include "runtime/src/text/Utf8.h"
#include "runtime/src/text/UnicodeData.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::text {
namespace {

std::string repaired(std::string_view bytes) {
  std::string out;
  EXPECT_EQ(appendRepaired(bytes, true, out), bytes.size());
  return out;
}

TEST(Utf8Test, EveryCodePointRoundTrips) {
  for (uint32_t codePoint = 0; codePoint < 0x110000; ++codePoint) {
    if (codePoint >= 0xd800 && codePoint < 0xe000)
      continue;
    std::string bytes;
    appendUtf8(codePoint, bytes);
    Character character = firstCharacter(bytes);
    ASSERT_EQ(character.kind, Character::Valid);
    ASSERT_EQ(character.length, bytes.size());
    ASSERT_EQ(character.codePoint, codePoint);
  }
}

TEST(Utf8Test, FindsTheFirstInvalidByte) {
  EXPECT_EQ(findInvalidUtf8("a\u00e9\u20ac\U0001f600"), std::string::npos);
  EXPECT_EQ(findInvalidUtf8(""), std::string::npos);
  EXPECT_EQ(findInvalidUtf8("ab\xff"), 2u);
  EXPECT_EQ(findInvalidUtf8("a\xc3"), 1u) << "cut short";
  EXPECT_EQ(findInvalidUtf8("\xed\xa0\x80"), 0u) << "a surrogate";
  EXPECT_EQ(findInvalidUtf8("\xc0\x80"), 0u) << "overlong";
  EXPECT_EQ(findInvalidUtf8("\xf4\x90\x80\x80"), 0u) << "beyond U+10FFFF";
}

TEST(Utf8Test, RepairsMaximalSubparts) {
  // Table 3-11 of the Unicode standard: truncated and ill-formed sequences.
  EXPECT_EQ(repaired("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41"),
            "\ufffd\ufffd\ufffd\ufffdA");
  EXPECT_EQ(repaired("\xc0\xaf\xe0\x80\xbf"), "\ufffd\ufffd\ufffd\ufffd\ufffd");
}

TEST(Utf8Test, HoldsBackWhatMayBecomeACharacter) {
  std::string out;
  EXPECT_EQ(appendRepaired("ab\xe2\x82", false, out), 2u);
  EXPECT_EQ(out, "ab");
  out.clear();
  EXPECT_EQ(appendRepaired("\xff\xf0\x9f", false, out), 1u);
  EXPECT_EQ(out, "\ufffd");
}

TEST(Utf8Test, ComposesToNfc) {
  EXPECT_EQ(*toNfc("e\u0301"), "\u00e9");
  EXPECT_EQ(*toNfc("\u1e9b\u0323"), "\u1e9b\u0323");
  EXPECT_EQ(*toNfc("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(*toNfc(std::string_view("a\0b", 3)), std::string("a\0b", 3));
  EXPECT_EQ(*toNfc(""), "");
}

TEST(Utf8Test, KnowsWhiteSpace) {
  for (uint32_t space : {0x9u, 0xdu, 0x20u, 0x85u, 0xa0u, 0x1680u, 0x2003u,
                         0x2028u, 0x2029u, 0x3000u})
    EXPECT_TRUE(isWhiteSpace(space)) << space;
  for (uint32_t other : {0x0u, 0x8u, 0x1cu, 0x41u, 0x180eu, 0x200bu, 0xfeffu})
    EXPECT_FALSE(isWhiteSpace(other)) << other;
}

} // namespace
} // namespace saddle::text
