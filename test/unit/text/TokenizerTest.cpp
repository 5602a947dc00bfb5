// Agreement with Hugging Face tokenizers on the golden files (make_goldens.py)
// and on the bundled model's tokenizer.

#include "runtime/src/text/Tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace saddle::text {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;

Json readJson(const std::string &path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  return Json::parse(file);
}

std::unique_ptr<Tokenizer> tokenizerOf(const Json &description) {
  std::string text = description.dump();
  auto tokenizer = Tokenizer::fromJson(
      Bytes(reinterpret_cast<const uint8_t *>(text.data()), text.size()),
      "tokenizer.json");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? std::move(*tokenizer) : nullptr;
}

class GoldenTest : public testing::TestWithParam<const char *> {};

TEST_P(GoldenTest, EncodesAndDecodesAsTheReference) {
  Json golden =
      readJson(std::string(SADDLE_SOURCE_DIR "/test/unit/text/goldens/") +
               GetParam() + ".json");
  auto tokenizer = tokenizerOf(golden["tokenizer"]);
  ASSERT_TRUE(tokenizer);
  EXPECT_GE(golden["cases"].size(), 30u);
  for (const Json &test : golden["cases"]) {
    auto ids = test["ids"].get<std::vector<int32_t>>();
    if (test.contains("text")) {
      auto text = test["text"].get<std::string>();
      auto encoded = tokenizer->encode(text, true, true);
      ASSERT_TRUE(encoded.ok()) << encoded.status().message();
      EXPECT_EQ(*encoded, ids) << test["text"];
    }
    EXPECT_EQ(tokenizer->decode(ids, true), test["decoded"]) << test;
    EXPECT_EQ(tokenizer->decode(ids, false), test["decoded_all"]) << test;
    // Streaming gives the same text, in valid pieces.
    StreamDecoder stream(*tokenizer, false);
    std::string text;
    for (int32_t id : ids)
      text += stream.push(id);
    EXPECT_EQ(text + stream.finish(), test["decoded_all"]);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Goldens, GoldenTest,
    testing::Values("byte_level", "contiguous", "gpt4_split", "ignore_merges",
                    "inverted", "literal", "merged_with_next",
                    "merged_with_previous", "nfc", "nfc_sequence",
                    "prefix_space", "removed", "string_merges", "template"),
    [](const auto &info) { return std::string(info.param); });

TEST(TokenizerTest, TheBundledModelsTokenizer) {
  auto tokenizer =
      Tokenizer::load(SADDLE_SOURCE_DIR "/models/nano/bf16/tokenizer.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  Json cases = readJson(SADDLE_SOURCE_DIR "/models/nano/tokenizer_cases.json");
  ASSERT_GE(cases.size(), 5u);
  for (const Json &test : cases) {
    auto text = test["text"].get<std::string>();
    auto ids = test["ids"].get<std::vector<int32_t>>();
    auto encoded = (*tokenizer)->encode(text, true, true);
    ASSERT_TRUE(encoded.ok()) << encoded.status().message();
    EXPECT_EQ(*encoded, ids) << text;
    EXPECT_EQ((*tokenizer)->decode(ids, false), text);
  }
}

TEST(TokenizerTest, SpecialTokensCanBeLeftOut) {
  Json golden =
      readJson(SADDLE_SOURCE_DIR "/test/unit/text/goldens/template.json");
  auto tokenizer = tokenizerOf(golden["tokenizer"]);
  auto with = *tokenizer->encode("a", true, true);
  auto without = *tokenizer->encode("a", false, true);
  int32_t start = tokenizer->addedTokenId("<|start|>");
  int32_t end = tokenizer->addedTokenId("<|end|>");
  ASSERT_EQ(without.size(), 1u);
  EXPECT_THAT(with, ElementsAre(start, without[0], end));
  EXPECT_TRUE(tokenizer->isSpecial(start));
  EXPECT_FALSE(tokenizer->isSpecial(tokenizer->addedTokenId("plainword")));
  EXPECT_EQ(tokenizer->addedTokenId("absent"), -1);
}

// Numbers of tokenizers 0.23.3 with encode_special_tokens.
TEST(TokenizerTest, SpecialTokensInATextCanStayText) {
  auto nano =
      Tokenizer::load(SADDLE_SOURCE_DIR "/models/nano/bf16/tokenizer.json");
  ASSERT_TRUE(nano.ok());
  const char *turn = "]~b]user\nHi[e~[";
  EXPECT_THAT(*(*nano)->encode(turn, true, true),
              ElementsAre(764, 392, 198, 39, 72, 765));
  EXPECT_THAT(*(*nano)->encode(turn, true, false),
              ElementsAre(60, 93, 65, 60, 392, 198, 39, 72, 58, 68, 93, 58));

  // Those around the text stay, and so do added tokens that are not special.
  Json description = readJson(
      SADDLE_SOURCE_DIR "/test/unit/text/goldens/template.json")["tokenizer"];
  const char *text = "x<|start|>plainword<|end|> y";
  EXPECT_THAT(*tokenizerOf(description)->encode(text, true, true),
              ElementsAre(400, 87, 400, 404, 401, 220, 88, 401));
  EXPECT_THAT(*tokenizerOf(description)->encode(text, true, false),
              ElementsAre(400, 87, 27, 91, 82, 83, 64, 81, 83, 91, 29, 404, 27,
                          91, 68, 264, 91, 29, 220, 88, 401));

  // One that begins inside a special token is none.
  Json added = description["added_tokens"][0];
  for (auto [content, special] :
       {std::pair("QQz", true), std::pair("zq", false)}) {
    added["content"] = content;
    added["special"] = special;
    added["id"] = 406 + !special;
    description["added_tokens"].push_back(added);
  }
  auto overlapping = tokenizerOf(description);
  EXPECT_THAT(*overlapping->encode("QQzq", false, true), ElementsAre(406, 80));
  EXPECT_THAT(*overlapping->encode("QQzq", false, false),
              ElementsAre(48, 48, 89, 80));
  EXPECT_THAT(*overlapping->encode("zq QQz zq", false, false),
              ElementsAre(407, 220, 48, 48, 89, 220, 407));
}

// The reference reads added tokens as spelt bytes and shows U+FFFD here.
TEST(TokenizerTest, AddedTokensDecodeToTheirContent) {
  Json description = readJson(SADDLE_SOURCE_DIR
                              "/test/unit/text/goldens/nfc.json")["tokenizer"];
  Json added = description["added_tokens"][0];
  added["content"] = "caf\u00e9 \u2192";
  added["id"] = 1000;
  added["normalized"] = true;
  description["added_tokens"].push_back(added);
  auto tokenizer = tokenizerOf(description);
  auto ids = tokenizer->encode("a cafe\u0301 \u2192", true, true);
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(ids->back(), 1000) << "found after normalisation";
  EXPECT_EQ(tokenizer->decode(*ids, false), "a caf\u00e9 \u2192");
}

TEST(TokenizerTest, IdsWithoutTokensYieldNothing) {
  Json golden =
      readJson(SADDLE_SOURCE_DIR "/test/unit/text/goldens/literal.json");
  auto tokenizer = tokenizerOf(golden["tokenizer"]);
  std::vector<int32_t> ids = {-1, tokenizer->vocabSize(), 1 << 30};
  EXPECT_EQ(tokenizer->decode(ids, false), "");
  EXPECT_FALSE(tokenizer->isSpecial(-1));
}

TEST(TokenizerTest, StreamingHoldsBackHalfCharacters) {
  Json golden =
      readJson(SADDLE_SOURCE_DIR "/test/unit/text/goldens/literal.json");
  auto tokenizer = tokenizerOf(golden["tokenizer"]);
  auto idOf = [&](char byte) {
    for (int32_t id = 0; id < tokenizer->vocabSize(); ++id)
      if (tokenizer->bytesOf(id) == std::string(1, byte))
        return id;
    return -1;
  };
  StreamDecoder stream(*tokenizer, false);
  EXPECT_EQ(stream.push(idOf('\xf0')), "");
  EXPECT_EQ(stream.push(idOf('\x9f')), "");
  EXPECT_EQ(stream.push(idOf('\x98')), "");
  EXPECT_EQ(stream.push(idOf('\x80')), "\U0001f600");
  EXPECT_EQ(stream.push(idOf('\xe2')), "");
  EXPECT_EQ(stream.push(idOf('a')), "\ufffda") << "it became no character";
  EXPECT_EQ(stream.push(idOf('\xe2')), "");
  EXPECT_EQ(stream.finish(), "\ufffd");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TokenizerTest, TextThatIsNotUtf8IsRefused) {
  Json golden =
      readJson(SADDLE_SOURCE_DIR "/test/unit/text/goldens/literal.json");
  auto tokenizer = tokenizerOf(golden["tokenizer"]);
  EXPECT_EQ(tokenizer->encode("ab\xff", true, true).status().message(),
            "the text is not UTF-8: byte 2 is 0xff");
}

} // namespace
} // namespace saddle::text
