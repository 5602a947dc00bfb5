// What becomes a token before anything else is looked at. Expected segments are
// those of Hugging Face tokenizers: leftmost, then longest; white space that a
// token strips is its own.

#include "runtime/src/text/AddedTokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace saddle::text {
namespace {

using Found = std::vector<std::pair<std::string, int32_t>>;

AddedToken token(const char *content, int32_t id) {
  return {content, id, false, false, false, false};
}

Found split(const AddedTokenFinder &finder, const std::string &text,
            bool withSpecial = true) {
  Found found;
  for (const Segment &segment : finder.split(text, withSpecial))
    found.emplace_back(segment.text, segment.id);
  return found;
}

TEST(AddedTokens, TheLeftmostWinsThenTheLongest) {
  AddedTokenFinder finder;
  finder.add(token("ab", 1));
  finder.add(token("abc", 2));
  finder.add(token("bcd", 3));
  EXPECT_EQ(split(finder, "abcd"), (Found{{"abc", 2}, {"d", -1}}));
  EXPECT_EQ(split(finder, "xbcdab"), (Found{{"x", -1}, {"bcd", 3}, {"ab", 1}}));
  EXPECT_EQ(split(finder, ""), Found{});
  EXPECT_EQ(split(finder, "ab"), (Found{{"ab", 1}}));
}

TEST(AddedTokens, StrippedWhiteSpaceIsNoOtherToken) {
  AddedTokenFinder finder;
  AddedToken stripping = token("<s>", 1);
  stripping.lstrip = stripping.rstrip = true;
  finder.add(stripping);
  finder.add(token("  ", 2));
  EXPECT_EQ(split(finder, "<s>    a"), (Found{{"<s>    ", 1}, {"a", -1}}));
  EXPECT_EQ(split(finder, "a   <s>"),
            (Found{{"a", -1}, {"  ", 2}, {" <s>", 1}}));
  EXPECT_EQ(split(finder, "<s> \t<s>"), (Found{{"<s> \t", 1}, {"<s>", 1}}));
  EXPECT_EQ(split(finder, " <s>"), (Found{{" <s>", 1}}));
}

TEST(AddedTokens, SpecialOnesStayTextUnlessAsked) {
  AddedTokenFinder finder;
  AddedToken special = token("<e>", 1);
  special.special = true;
  finder.add(special);
  finder.add(token("e", 2));
  EXPECT_EQ(split(finder, "a<e>e"), (Found{{"a", -1}, {"<e>", 1}, {"e", 2}}));
  EXPECT_EQ(split(finder, "a<e>e", false), (Found{{"a<e>", -1}, {"e", 2}}));
}

} // namespace
} // namespace saddle::text
