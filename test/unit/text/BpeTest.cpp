#include "runtime/src/text/Bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace saddle::text {
namespace {

using testing::ElementsAre;

/// Bytes are their own ids; further tokens follow from 256.
Bpe bytes() {
  Bpe bpe;
  for (int byte = 0; byte < 256; ++byte)
    bpe.addToken(std::string(1, char(byte)), byte);
  return bpe;
}

std::vector<int32_t> encode(const Bpe &bpe, std::string_view word) {
  std::vector<int32_t> ids;
  Status status = bpe.encode(word, ids);
  EXPECT_TRUE(status.ok()) << status.message();
  return ids;
}

TEST(BpeTest, MergesByPriorityThenFromTheLeft) {
  Bpe bpe = bytes();
  bpe.addToken("bc", 256);
  bpe.addToken("ab", 257);
  bpe.addToken("aa", 258);
  bpe.addMerge('b', 'c', 256);
  bpe.addMerge('a', 'b', 257);
  bpe.addMerge('a', 'a', 258);
  EXPECT_THAT(encode(bpe, "abc"), ElementsAre('a', 256));
  EXPECT_THAT(encode(bpe, "abab"), ElementsAre(257, 257));
  EXPECT_THAT(encode(bpe, "aaaaa"), ElementsAre(258, 258, 'a'));
  EXPECT_THAT(encode(bpe, ""), ElementsAre());
}

TEST(BpeTest, MergesOfMergedTokens) {
  Bpe bpe = bytes();
  bpe.addToken("ab", 256);
  bpe.addToken("abab", 257);
  bpe.addMerge('a', 'b', 256);
  bpe.addMerge(256, 256, 257);
  EXPECT_THAT(encode(bpe, "ababab"), ElementsAre(257, 256));
}

TEST(BpeTest, ARepeatedMergeKeepsItsPriority) {
  Bpe bpe = bytes();
  bpe.addToken("ab", 256);
  bpe.addToken("bc", 257);
  bpe.addMerge('a', 'b', 256);
  bpe.addMerge('b', 'c', 257);
  bpe.addMerge('a', 'b', 256);
  EXPECT_THAT(encode(bpe, "abc"), ElementsAre(256, 'c'));
}

TEST(BpeTest, IgnoreMergesTakesWholeWords) {
  Bpe bpe = bytes();
  bpe.addToken("word", 256);
  EXPECT_EQ(encode(bpe, "word").size(), 4u);
  bpe.setIgnoreMerges(true);
  EXPECT_THAT(encode(bpe, "word"), ElementsAre(256));
  EXPECT_EQ(encode(bpe, "words").size(), 5u);
}

TEST(BpeTest, BytesWithoutTokens) {
  Bpe bpe;
  bpe.addToken("a", 0);
  std::vector<int32_t> ids;
  EXPECT_EQ(bpe.encode("a\xf0", ids).message(),
            "byte 0xf0 has no token in this vocabulary");
  bpe.setUnknownToken(7);
  EXPECT_THAT(encode(bpe, "a\xf0"), ElementsAre(0, 7));
}

TEST(BpeTest, LongWordsAreNotQuadratic) {
  Bpe bpe = bytes();
  std::string spaces = "  ";
  int32_t previous = ' ';
  for (int32_t id = 256; id < 266; ++id) { // runs of 2, 4, ... 1024
    bpe.addToken(spaces, id);
    bpe.addMerge(previous, previous, id);
    spaces += spaces;
    previous = id;
  }
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(encode(bpe, std::string(1 << 18, ' ')).size(), 256u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

} // namespace
} // namespace saddle::text
