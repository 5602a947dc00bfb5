// Unicode is that of the product, whatever the libraries of the machine have.

#include "runtime/src/text/Regex.h"
#include "runtime/src/text/UnicodeData.h"
#include "runtime/src/text/Utf8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::text {
namespace {

using testing::ElementsAre;

std::string utf8(uint32_t codePoint) {
  std::string bytes;
  appendUtf8(codePoint, bytes);
  return bytes;
}

/// The parts of `text`, those that match in brackets.
std::vector<std::string> split(const std::string &pattern,
                               const std::string &text) {
  StatusOr<Regex> regex = Regex::compile(pattern, /*literal=*/false);
  EXPECT_TRUE(regex.ok()) << regex.status().message();
  if (!regex.ok())
    return {};
  std::vector<std::string> words;
  StatusOr<std::vector<Regex::Part>> parts = regex->split(text);
  EXPECT_TRUE(parts.ok());
  for (const Regex::Part &part : *parts)
    words.push_back(part.matched ? "[" + std::string(part.text) + "]"
                                 : std::string(part.text));
  return words;
}
bool matches(const std::string &pattern, uint32_t codePoint) {
  return split(pattern, utf8(codePoint)) ==
         std::vector<std::string>{"[" + utf8(codePoint) + "]"};
}

TEST(UnicodeTest, CategoriesAndHanAreThoseOfVersion16) {
  EXPECT_EQ(categoryOf('A'), Category::Lu);
  EXPECT_EQ(categoryOf(0x10ffff), Category::Cn);
  EXPECT_EQ(categoryOf(0xd800), Category::Cs);
  EXPECT_EQ(categoryOf(0x1c89), Category::Lu);  // since 16
  EXPECT_EQ(categoryOf(0x1c8b), Category::Cn);  // not yet
  EXPECT_EQ(categoryOf(0x2ebf0), Category::Lo); // since 15.1
  EXPECT_TRUE(isHan(0x2ebf0));
  EXPECT_TRUE(isHan(0x3005));
  EXPECT_FALSE(isHan(0x3006));
  EXPECT_FALSE(isHan(0x2ee5e));
}

// Debian 12's PCRE2 has Unicode 14, and takes U+180E for white space.
TEST(UnicodeTest, RegexesGoByIt) {
  EXPECT_TRUE(matches("\\p{Lu}", 0x1c89));
  EXPECT_TRUE(matches("\\pL", 0x1c89));
  EXPECT_FALSE(matches("\\P{L}", 0x1c89));
  EXPECT_FALSE(matches("[^\\p{L}]", 0x1c89));
  EXPECT_TRUE(matches("\\p{Han}", 0x2ebf0));
  EXPECT_TRUE(matches("\\p{Cn}", 0x1c8b));
  EXPECT_FALSE(matches("\\s", 0x180e));
  EXPECT_TRUE(matches("\\S", 0x180e));
  EXPECT_TRUE(matches("\\s", 0x85));
  EXPECT_TRUE(matches("\\s", 0x3000));
  EXPECT_TRUE(matches("\\d", 0x10d40)); // since 16
}

// Of Unicode 9, whatever the library composes; U+0300 has a class above that of
// U+0323.
TEST(UnicodeTest, NewerCharactersAreNotNormalised) {
  EXPECT_EQ(*toNfc("x\u0300\u0323"), "x\u0323\u0300");
  std::string tulu = utf8(0x11382) + utf8(0x113c9);  // U+11383, since 16
  std::string dives = utf8(0x11935) + utf8(0x11930); // U+11938, since 13
  EXPECT_EQ(*toNfc(tulu), tulu);
  EXPECT_EQ(*toNfc("e\u0301" + dives + "e\u0301"), "\u00e9" + dives + "\u00e9");
  // A mark since 10, of a class above that of U+0323.
  EXPECT_EQ(*toNfc("x\u1df6\u0323"), "x\u1df6\u0323");
  EXPECT_EQ(*toNfc(""), "");
}

TEST(UnicodeTest, NamedCharactersStayThemselves) {
  EXPECT_TRUE(matches("é", 0xe9));
  EXPECT_FALSE(matches("é", 0xe8));
  EXPECT_TRUE(matches("[à-ï]", 0xe8));
  EXPECT_FALSE(matches("[à-ï]", 0xf1));
  EXPECT_TRUE(matches("[\\x{4e00}-\\x{9fa5}]", 0x4e8d));
  EXPECT_FALSE(matches("[\\x{4e00}-\\x{9fa5}]", 0x9fa6));
  EXPECT_FALSE(matches("\\é", 0xe0));
  EXPECT_TRUE(matches("\\é", 0xe9));
  // In another case, too.
  EXPECT_TRUE(matches("(?i:É)", 0xe9));
  EXPECT_FALSE(matches("(?i:É)", 0xe8));
  EXPECT_TRUE(matches("(?i:'s|k)", 0x212a));
}

TEST(UnicodeTest, PartsAreOfTheTextItself) {
  // Stand-ins are shorter than what they stand for.
  std::string letters = utf8(0x1c89) + "b" + utf8(0x1df25);
  std::string mark = utf8(0x2014);
  EXPECT_THAT(split("\\p{L}+", mark + letters + mark + "c"),
              ElementsAre(mark, "[" + letters + "]", mark, "[c]"));
}

TEST(UnicodeTest, OtherPropertiesAreRefused) {
  auto error = [](const std::string &pattern) {
    return Regex::compile(pattern, false).status().message();
  };
  EXPECT_EQ(error("\\p{Greek}+"),
            "regex \"\\p{Greek}+\" uses the property \"Greek\", expected a "
            "general category of Unicode or Han");
  EXPECT_EQ(error("a\\P{^Arabic}"),
            "regex \"a\\P{^Arabic}\" uses the property \"Arabic\", expected a "
            "general category of Unicode or Han");
  EXPECT_EQ(error("\\\\p{Greek}").find("property"), std::string::npos);
}

} // namespace
} // namespace saddle::text
