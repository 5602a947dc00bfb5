// What the one reader of JSON refuses, as a document and as events alike.

#include "runtime/src/base/Json.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace saddle;

namespace {

Bytes bytesOf(const std::string &text) {
  return Bytes(reinterpret_cast<const uint8_t *>(text.data()), text.size());
}

/// Accepts everything.
struct Ignore : JsonHandler {
  Status beginObject() override { return {}; }
  Status endObject() override { return {}; }
  Status beginArray() override { return {}; }
  Status endArray() override { return {}; }
  Status key(std::string &) override { return {}; }
  Status scalar(JsonScalar &) override { return {}; }
};

/// Both ways must say the same.
std::string messageOf(const std::string &text) {
  Ignore ignore;
  Status events = parseJson("f", bytesOf(text), ignore);
  Status document = readJson("f", bytesOf(text)).status();
  EXPECT_EQ(events.message(), document.message());
  EXPECT_TRUE(document.ok() || document.code() == StatusCode::DataLoss);
  return document.message();
}

TEST(Json, documentsAreWhatTheTextSays) {
  for (const char *text :
       {"null", "[]", "{}", "[1,-2,3.5,true,\"x\",null,[],{}]",
        R"({"a":{"b":[{"c":1},2]},"d":"e","f":[[],[[]]]})"}) {
    auto json = readJson("f", bytesOf(text));
    ASSERT_TRUE(json.ok()) << json.status().message();
    EXPECT_EQ((*json)->dump(), nlohmann::json::parse(text).dump());
  }
}

TEST(Json, nothingMayFollowTheValue) {
  EXPECT_EQ(messageOf("{}\n \t"), "");
  EXPECT_EQ(messageOf("{} {}"),
            "f: line 1, column 4 (byte 3): not valid JSON, unexpected '{'");
  // For many readers a NUL ends a text, and hides what follows.
  EXPECT_EQ(messageOf(std::string("{}\n\0{}", 6)),
            "f: line 2, column 1 (byte 3): not valid JSON, unexpected byte "
            "0x00");
  EXPECT_EQ(messageOf(std::string("\"a\0\"", 4)),
            "f: line 1, column 3 (byte 2): not valid JSON, unexpected byte "
            "0x00");
}

TEST(Json, nestingIsBounded) {
  auto nested = [](size_t depth, const std::string &open,
                   const std::string &close) {
    std::string text = "1";
    for (size_t i = 0; i < depth; ++i)
      text = open + text + close;
    return text;
  };
  EXPECT_EQ(messageOf(nested(64, "[", "]")), "");
  EXPECT_EQ(messageOf(nested(65, "[", "]")), "f: nested deeper than 64 levels");
  EXPECT_EQ(messageOf(nested(64, "{\"a\":", "}")), "");
  EXPECT_EQ(messageOf(nested(65, "{\"a\":", "}")),
            "f: nested deeper than 64 levels");
  EXPECT_EQ(messageOf(std::string(10000000, '[')),
            "f: nested deeper than 64 levels");
}

TEST(Json, aDocumentSaysEachThingOnce) {
  auto message = [](const char *text) {
    return readJson("f", bytesOf(text)).status().message();
  };
  EXPECT_EQ(message(R"({"a":1,"b":2,"a":1})"),
            "f: key \"a\" appears twice in one object");
  EXPECT_EQ(message(R"([{"o":{"x":1,"x":[]}}])"),
            "f: key \"x\" appears twice in one object");
  EXPECT_EQ(message(R"({"a":{"a":1},"b":{"a":2}})"), "");
}

TEST(Json, aTextBeyondTheLimitIsRefusedUnread) {
  Bytes text(reinterpret_cast<const uint8_t *>("{}"), kMaxJsonBytes + 1);
  EXPECT_EQ(readJson("f", text).status().message(),
            "f: 536870913 bytes, the limit is 536870912");
}

TEST(Json, aDocumentOfTooManyValuesIsRefused) {
  std::string text = "[0";
  text.reserve(2 * kMaxJsonValues + 2);
  for (uint64_t i = 0; i < kMaxJsonValues; ++i)
    text += ",0";
  EXPECT_EQ(readJson("f", bytesOf(text + "]")).status().message(),
            "f: more than 8388608 values");
}

} // namespace
