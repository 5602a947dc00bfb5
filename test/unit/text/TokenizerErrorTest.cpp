// What tokenizer.json may not contain, and what the message says.

#include "runtime/src/text/Tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace saddle::text {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

Json minimal() {
  return Json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 3, "content": "<e>", "single_word": false,
      "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false,
      "trim_offsets": true, "use_regex": true},
    "post_processor": null,
    "decoder": {"type": "ByteLevel", "add_prefix_space": true,
      "trim_offsets": true, "use_regex": true},
    "model": {"type": "BPE", "dropout": null, "unk_token": null,
      "continuing_subword_prefix": null, "end_of_word_suffix": null,
      "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
      "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}})");
}

Status statusOf(const std::string &text) {
  return Tokenizer::fromJson(
             Bytes(reinterpret_cast<const uint8_t *>(text.data()), text.size()),
             "t.json")
      .status();
}

/// The message after replacing the value at `pointer`; "" when accepted.
std::string with(const char *pointer, const Json &value) {
  Json json = minimal();
  json[Json::json_pointer(pointer)] = value;
  return statusOf(json.dump()).message();
}

TEST(TokenizerErrorTest, TheMinimalFileIsAccepted) {
  EXPECT_EQ(statusOf(minimal().dump()).message(), "");
}

TEST(TokenizerErrorTest, WhatACallerHadSetIsNoPartOfTheTokenizer) {
  EXPECT_EQ(with("/truncation", {{"max_length", 5}}), "");
  EXPECT_EQ(with("/padding", {{"strategy", "BatchLongest"}, {"pad_id", 0}}),
            "");
  EXPECT_EQ(with("/padding", 3),
            "t.json: padding: expected an object or null, found number");
}

TEST(TokenizerErrorTest, AHostileFileIsRefusedAtOnce) {
  EXPECT_EQ(statusOf(std::string(210000, '[')).message(),
            "t.json: nested deeper than 64 levels");
  std::string nested = R"({"normalizer":)";
  for (int i = 0; i < 20000; ++i)
    nested += R"({"type":"Sequence","normalizers":[)";
  EXPECT_EQ(statusOf(nested).message(), "t.json: nested deeper than 64 levels");
  std::string twice = minimal().dump();
  twice.insert(1, R"("model":null,)");
  EXPECT_EQ(statusOf(twice).message(),
            "t.json: key \"model\" appears twice in one object");
}

TEST(TokenizerErrorTest, NotJson) {
  EXPECT_EQ(statusOf("{\"model\": ").message(),
            "t.json: line 1, column 11 (byte 10): not valid JSON, unexpected "
            "end of file");
  EXPECT_EQ(statusOf("").message(),
            "t.json: line 1, column 1 (byte 0): not valid JSON, unexpected end "
            "of file");
  EXPECT_EQ(statusOf("[]").message(),
            "t.json: the file: expected an object, found array");
  EXPECT_EQ(Tokenizer::load("/nowhere/tokenizer.json").status().code(),
            StatusCode::NotFound);
}

TEST(TokenizerErrorTest, EveryTruncationIsRefused) {
  std::string whole = minimal().dump();
  for (size_t length = 0; length < whole.size(); ++length)
    ASSERT_FALSE(statusOf(whole.substr(0, length)).ok()) << length;
}

TEST(TokenizerErrorTest, WrongTypesAnywhereAreErrors) {
  // Every value of the file replaced by values of other types: no crash, and
  // what is accepted still loads.
  Json flat = minimal().flatten();
  for (const auto &entry : flat.items())
    for (const Json &value :
         {Json(nullptr), Json(true), Json(-1), Json(1.5), Json("x"),
          Json::array(), Json::object(), Json(1ull << 60)})
      with(entry.key().c_str(), value);
  for (const char *section :
       {"/model", "/model/vocab", "/model/merges", "/added_tokens",
        "/added_tokens/0", "/pre_tokenizer", "/decoder", "/post_processor",
        "/normalizer"})
    for (const Json &value : {Json(5), Json("x"), Json::array({5}),
                              Json::object({{"type", 5}}), Json::object()})
      EXPECT_NE(with(section, value), "") << section << " " << value;
}

TEST(TokenizerErrorTest, UnknownParts) {
  EXPECT_EQ(with("/surprise", 1),
            "t.json: the file: unknown field \"surprise\"");
  EXPECT_EQ(with("/model/shiny", 1), "t.json: model: unknown field \"shiny\"");
  EXPECT_EQ(
      with("/model/type", "WordPiece"),
      "t.json: model.type is \"WordPiece\", but only \"BPE\" is supported");
  EXPECT_EQ(with("/normalizer", {{"type", "Lowercase"}}),
            "t.json: normalizer.type is \"Lowercase\", but only \"NFC\" or "
            "\"Sequence\" is supported");
  EXPECT_EQ(with("/pre_tokenizer", {{"type", "Whitespace"}}),
            "t.json: pre_tokenizer.type is \"Whitespace\", but only "
            "\"ByteLevel\", \"Split\" or \"Sequence\" is supported");
  EXPECT_EQ(with("/post_processor", {{"type", "BertProcessing"}}),
            "t.json: post_processor.type is \"BertProcessing\", but only "
            "\"ByteLevel\", \"TemplateProcessing\" or \"Sequence\" is "
            "supported");
  EXPECT_EQ(with("/decoder", {{"type", "Metaspace"}}),
            "t.json: decoder.type is \"Metaspace\", but only \"ByteLevel\" is "
            "supported");
  EXPECT_EQ(with("/decoder", nullptr),
            "t.json: decoder is null, but only one of type \"ByteLevel\" is "
            "supported");
  EXPECT_EQ(with("/model/byte_fallback", true),
            "t.json: model.byte_fallback is true, but only null or false is "
            "supported");
  EXPECT_EQ(with("/model/dropout", 0.1),
            "t.json: model.dropout is 0.1, but only null or 0.0 is supported");
  EXPECT_EQ(with("/added_tokens/0/single_word", true),
            "t.json: added_tokens[0].single_word is true, but only null or "
            "false is supported");
}

TEST(TokenizerErrorTest, ByteLevelIsTheLastStage) {
  EXPECT_THAT(with("/pre_tokenizer", {{"type", "Split"},
                                      {"pattern", {{"Regex", "a"}}},
                                      {"behavior", "Isolated"},
                                      {"invert", false}}),
              HasSubstr("pre_tokenizer is without a ByteLevel stage, but only "
                        "byte-level BPE is supported"));
  Json byteLevel = minimal()["pre_tokenizer"];
  EXPECT_THAT(with("/pre_tokenizer",
                   {{"type", "Sequence"},
                    {"pretokenizers", Json::array({byteLevel, byteLevel})}}),
              HasSubstr("pre_tokenizer.pretokenizers[1] is \"ByteLevel\" after "
                        "a ByteLevel stage"));
}

TEST(TokenizerErrorTest, SplitsThatAreNotUnderstood) {
  auto split = [](const Json &pattern, const char *behavior) {
    return with("/pre_tokenizer", {{"type", "Split"},
                                   {"pattern", pattern},
                                   {"behavior", behavior},
                                   {"invert", false}});
  };
  EXPECT_EQ(split({{"Regex", "a(b"}}, "Isolated"),
            "t.json: pre_tokenizer.pattern: regex \"a(b\" is not understood at "
            "offset 3: missing closing parenthesis");
  EXPECT_EQ(split({{"Regex", "\\\\\\w+"}}, "Isolated"),
            "t.json: pre_tokenizer.pattern: regex \"\\\\\\w+\" uses \\w, which "
            "regex libraries understand differently");
  EXPECT_THAT(split({{"Regex", "a"}}, "Sometimes"),
              HasSubstr("pre_tokenizer.behavior is \"Sometimes\", but only "
                        "Removed, Isolated"));
  EXPECT_THAT(split({{"Glob", "a"}}, "Isolated"),
              HasSubstr("pre_tokenizer.pattern: unknown field \"Glob\""));
}

TEST(TokenizerErrorTest, VocabulariesThatContradictThemselves) {
  EXPECT_EQ(with("/model/vocab/b", 0),
            "t.json: model.vocab[\"b\"]: id 0 belongs to \"a\" already");
  EXPECT_EQ(with("/model/vocab/b", -1),
            "t.json: model.vocab[\"b\"]: expected a token id from 0 to "
            "16777216, found -1");
  EXPECT_THAT(with("/model/vocab/b", 1ull << 40),
              HasSubstr("expected a token id from 0 to 16777216"));
  EXPECT_EQ(with("/model/merges/0", {"a", "c"}),
            "t.json: model.merges[0]: \"c\" is not in the vocabulary");
  EXPECT_EQ(with("/model/merges/0", {"b", "a"}),
            "t.json: model.merges[0]: \"ba\" is not in the vocabulary");
  EXPECT_EQ(with("/model/merges/0", "ab"),
            "t.json: model.merges[0]: expected two tokens with one space "
            "between, found \"ab\"");
  EXPECT_EQ(
      with("/model/merges/0", {"a"}),
      "t.json: model.merges[0]: expected \"LEFT RIGHT\" or [LEFT, RIGHT], "
      "found [\"a\"]");
  EXPECT_EQ(
      with("/added_tokens/0/content", "ab"),
      "t.json: added_tokens[0]: \"ab\" has id 3, but the vocabulary gives "
      "it 2");
  Json twice = minimal()["added_tokens"];
  twice.push_back(twice[0]);
  EXPECT_EQ(with("/added_tokens", twice),
            "t.json: added_tokens[1]: \"<e>\" is added twice");
}

TEST(TokenizerErrorTest, ValuesOfOtherTypesAreNamed) {
  EXPECT_EQ(with("/model/ignore_merges", 3),
            "t.json: model.ignore_merges: expected a boolean, found number");
  EXPECT_EQ(with("/model/type", 3),
            "t.json: model.type: expected a string, found number");
  EXPECT_EQ(with("/model/merges", 3),
            "t.json: model.merges: expected an array, found number");
  EXPECT_EQ(with("/model/vocab", Json::array()),
            "t.json: model.vocab: expected an object, found array");
  EXPECT_EQ(with("/post_processor", {{"type", "TemplateProcessing"},
                                     {"single", {Json::object()}}}),
            "t.json: post_processor.single[0]: expected a SpecialToken or a "
            "Sequence");
}

TEST(TokenizerErrorTest, TemplatesWithoutTheirTokens) {
  Json processor = {{"type", "TemplateProcessing"},
                    {"single", {{{"SpecialToken", {{"id", "<s>"}}}}}},
                    {"pair", Json::array()},
                    {"special_tokens", Json::object()}};
  EXPECT_EQ(with("/post_processor", processor),
            "t.json: post_processor.special_tokens: \"<s>\" has no array of "
            "ids");
}

} // namespace
} // namespace saddle::text
