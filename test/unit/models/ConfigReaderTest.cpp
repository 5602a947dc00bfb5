#include "models/Common/ConfigReader.h"

#include "test/unit/base/TemporaryFolder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;

static ConfigReader read(const std::string &text) {
  StatusOr<ConfigReader> reader = ConfigReader::parse(text, "c.json");
  EXPECT_TRUE(reader.ok()) << reader.status().message();
  return *reader;
}

static std::string parseError(const std::string &text) {
  return ConfigReader::parse(text, "c.json").status().message();
}

TEST(ConfigReader, SyntaxErrorsNameLineColumnAndByte) {
  // The last brace: "{" LF is 2 bytes, the second line 7 and its LF 1.
  EXPECT_EQ(parseError("{\n  \"a\": \n}"),
            "c.json: line 3, column 1 (byte 10): not valid JSON, unexpected "
            "'}'");
  EXPECT_EQ(parseError("{\"a\": 1"),
            "c.json: line 1, column 8 (byte 7): not valid JSON, unexpected end "
            "of file");
  EXPECT_EQ(parseError(""),
            "c.json: line 1, column 1 (byte 0): not valid JSON, unexpected end "
            "of file");
  EXPECT_THAT(parseError("{\"a\": 1e999}"),
              testing::HasSubstr("not valid JSON, number out of range"));
  EXPECT_EQ(parseError("{\"a\": NaN}"),
            "c.json: line 1, column 7 (byte 6): not valid JSON, unexpected "
            "'N'");
  EXPECT_EQ(parseError("{\"a\": \"x\n\"}"),
            "c.json: line 1, column 9 (byte 8): not valid JSON, unexpected "
            "byte 0x0a");
}

TEST(ConfigReader, DuplicateKeysAreRefusedAtAnyDepth) {
  EXPECT_EQ(parseError(R"({"a": 1, "b": 2, "a": 1})"),
            "c.json: key \"a\" appears twice in one object");
  EXPECT_EQ(parseError(R"({"o": [{"x": 1, "x": 2}]})"),
            "c.json: key \"x\" appears twice in one object");
  read(R"({"a": {"x": 1}, "b": {"x": 1}, "x": 1})");
}

TEST(ConfigReader, NestingIsBounded) {
  // The root object is one level.
  auto nested = [](size_t lists) {
    return "{\"a\": " + std::string(lists, '[') + std::string(lists, ']') + "}";
  };
  read(nested(63));
  EXPECT_EQ(parseError(nested(64)), "c.json: nested deeper than 64 levels");
  EXPECT_EQ(parseError(nested(1000000)),
            "c.json: nested deeper than 64 levels");
}

TEST(ConfigReader, TheRootIsAnObject) {
  EXPECT_EQ(parseError("[1]"), "c.json: expected a JSON object, found [1]");
}

TEST(ConfigReader, OpenNamesTheFile) {
  TemporaryFolder folder;
  std::string path = folder.path("none.json");
  EXPECT_THAT(ConfigReader::open(path).status().message(),
              testing::HasSubstr(path));
  StatusOr<ConfigReader> good =
      ConfigReader::open(folder.write("c.json", R"({"a": 7})"));
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(good->integer("a", 0, 9), 7);
}

TEST(ConfigReader, ReadsEveryType) {
  ConfigReader reader = read(R"({"i": -3, "n": 2.5, "whole": 4, "b": true,
      "s": "text", "l": ["a"], "li": [1, 2], "one": 5, "o": {"i": 1},
      "null": null})");
  EXPECT_EQ(reader.integer("i", -5, 5), -3);
  EXPECT_EQ(reader.number("n", 0), 2.5);
  EXPECT_EQ(reader.number("whole", 0), 4.0);
  EXPECT_EQ(reader.boolean("b"), true);
  EXPECT_EQ(reader.string("s"), "text");
  EXPECT_THAT(*reader.strings("l"), ElementsAre("a"));
  EXPECT_THAT(*reader.integers("li", 0, 9), ElementsAre(1, 2));
  EXPECT_THAT(*reader.integerOrList("one", 0, 9), ElementsAre(5));
  EXPECT_THAT(*reader.integerOrList("li", 0, 9), ElementsAre(1, 2));
  EXPECT_EQ(reader.object("o")->integer("i", 0, 9), 1);
  EXPECT_FALSE(reader.integer("null", 0, 9));
  EXPECT_FALSE(reader.isSet("null"));
  EXPECT_TRUE(reader.contains("null"));
  EXPECT_FALSE(reader.contains("absent"));
  EXPECT_TRUE(reader.status().ok()) << reader.status().message();
}

TEST(ConfigReader, IntegerBeyondInt64IsOutOfRange) {
  ConfigReader reader = read(R"({"a": 18446744073709551615})");
  EXPECT_FALSE(reader.integer("a", INT64_MIN, INT64_MAX));
  EXPECT_THAT(reader.status().message(),
              testing::HasSubstr("found 18446744073709551615"));
}

TEST(ConfigReader, TheFirstErrorSticksAndStopsReading) {
  ConfigReader reader = read(R"({"a": "x", "b": 1, "o": {"c": "y"}})");
  reader.integer("a", 0, 9);
  EXPECT_FALSE(reader.integer("b", 0, 9));
  reader.fail("b", "later");
  EXPECT_EQ(reader.status().message(),
            "c.json: a: expected an integer from 0 to 9, found \"x\"");
}

TEST(ConfigReader, NestedErrorsCarryThePathAndReachTheOwner) {
  ConfigReader reader = read(R"({"o": {"c": "y"}})");
  reader.object("o")->integer("c", 0, 9);
  EXPECT_EQ(reader.status().message(),
            "c.json: o.c: expected an integer from 0 to 9, found \"y\"");
}

TEST(ConfigReader, AcceptListsTheAlternatives) {
  ConfigReader reader = read(R"({"a": 1.0, "n": null, "b": 2})");
  reader.accept("a", "[0, 1]", "reason");
  reader.accept("n", "[0, 1]", "reason");
  reader.accept("absent", "[]", "reason");
  EXPECT_TRUE(reader.status().ok());
  reader.accept("b", "[0, 1]", "no more");
  EXPECT_EQ(reader.status().message(),
            "c.json: b: expected 0 or 1 or nothing, found 2; no more");
}

TEST(ConfigReader, UnreadListsWhatNobodyNamed) {
  ConfigReader reader = read(R"({"a": 1, "b": null, "c": 3, "o": {"d": 4}})");
  reader.integer("a", 0, 9);
  reader.skip("c");
  ConfigReader nested = *reader.object("o");
  EXPECT_THAT(reader.unread(), ElementsAre("b"));
  EXPECT_THAT(nested.unread(), ElementsAre("o.d"));
}

TEST(ConfigReader, LongValuesAreShortened) {
  ConfigReader reader = read("{\"a\": \"" + std::string(500, 'x') + "\"}");
  reader.boolean("a");
  EXPECT_EQ(reader.status().message(), "c.json: a: expected true or false, "
                                       "found \"" +
                                           std::string(59, 'x') + "...");
  ConfigReader exact = read("{\"a\": \"" + std::string(58, 'x') + "\"}");
  exact.boolean("a");
  EXPECT_EQ(exact.status().message(), "c.json: a: expected true or false, "
                                      "found \"" +
                                          std::string(58, 'x') + "\"");
}
