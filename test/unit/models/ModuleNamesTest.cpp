// Which names the entries of a list name, for each tool's way to write them.

#include "models/Common/Quantisation/ModuleNames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace saddle;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

constexpr uint64_t kExperts = 12;
const std::string kQ = "model.layers.1.self_attn.q_proj",
                  kQ10 = "model.layers.10.self_attn.q_proj",
                  kGate = "model.layers.1.block_sparse_moe.gate",
                  kGateProj = "model.layers.1.mlp.gate_proj",
                  kW1 = "model.layers.1.block_sparse_moe.experts.{}.w1";

struct Case {
  ModuleNames::Syntax syntax;
  const char *entry;
  std::string module;
  ModuleNames::Match expected;
};

class Entries : public testing::TestWithParam<Case> {};

TEST_P(Entries, Name) {
  const Case &each = GetParam();
  ModuleNames names({each.entry}, each.syntax);
  EXPECT_EQ(names.match(each.module, kExperts), each.expected)
      << each.entry << " and " << each.module;
  // What is said to match nothing matches nothing.
  EXPECT_EQ(names.unmatched({{each.module, kExperts}}).size(),
            each.expected == ModuleNames::No ? 1u : 0u)
      << each.entry << " and " << each.module;
}

constexpr auto No = ModuleNames::No;
constexpr auto Partly = ModuleNames::Partly;
constexpr auto Yes = ModuleNames::Yes;

INSTANTIATE_TEST_SUITE_P(
    Components, Entries,
    testing::Values(
        Case{ModuleNames::Components, "gate", kGate, Yes},
        Case{ModuleNames::Components, "gate", kGateProj, No},
        Case{ModuleNames::Components, "model.layers.1", kQ, Yes},
        Case{ModuleNames::Components, "model.layers.1", kQ10, No},
        Case{ModuleNames::Components, "model.layers.1.", kQ, Yes},
        Case{ModuleNames::Components, "model.layers.1.", kQ10, No},
        Case{ModuleNames::Components, "experts.3", kW1, Partly},
        // With *, as ModelOpt.
        Case{ModuleNames::Components, "model.layers.*.self_attn", kQ10, Yes},
        Case{ModuleNames::Components, "model.layers.*.self_attn", kGate, No},
        Case{ModuleNames::Components, "*.gate", kGate, Yes},
        Case{ModuleNames::Components, "*.gate", kGateProj, No},
        Case{ModuleNames::Components, "layers.*", kQ, No},
        // Expressions of transformers end where a component ends.
        Case{ModuleNames::Components, "model\\.layers\\.\\d\\.self_attn", kQ,
             Yes},
        Case{ModuleNames::Components, "model\\.layers\\.\\d\\.self_attn", kQ10,
             No},
        Case{ModuleNames::Components, "re:.*gate$", kGate, Yes},
        Case{ModuleNames::Components, "re:.*gate$", kGateProj, No},
        Case{ModuleNames::Components, "model.layers.1.(self_attn|mlp.gate)", kQ,
             Yes},
        Case{ModuleNames::Components, "model.layers.1.(self_attn|mlp.gate)",
             kGateProj, No}));

INSTANTIATE_TEST_SUITE_P(
    Expressions, Entries,
    testing::Values(
        Case{ModuleNames::Expressions, "lm_head", "lm_head", Yes},
        Case{ModuleNames::Expressions, "re:.*gate$", kGate, Yes},
        Case{ModuleNames::Expressions, "re:.*gate$", kGateProj, No},
        // A name begins with it, and may go on in the midst of a word.
        Case{ModuleNames::Expressions, "re:.*gate", kGateProj, Yes},
        Case{ModuleNames::Expressions, "re:self_attn", kQ, No},
        Case{ModuleNames::Expressions, "re:^model\\.layers\\.1\\.", kQ, Yes},
        Case{ModuleNames::Expressions, "re:^model\\.layers\\.1\\.", kQ10, No},
        Case{ModuleNames::Expressions, "re:.*experts\\.\\d+\\.w1", kW1, Yes},
        Case{ModuleNames::Expressions, "re:.*experts\\.1\\d\\.w1", kW1, Partly},
        Case{ModuleNames::Expressions, "re:.*experts\\.[\\d]+\\.w1", kW1, Yes},
        Case{ModuleNames::Expressions, "re:(?:model|x)\\.layers\\.\\w+?\\.self",
             kQ10, Yes},
        Case{ModuleNames::Expressions, "re:.*?q_proj", kQ, Yes},
        Case{ModuleNames::Expressions, "re:model[.]layers[.][^0-9]", kQ, No},
        Case{ModuleNames::Expressions, "re:model.layers.\\d{2}[.]", kQ10, Yes},
        Case{ModuleNames::Expressions, "re:model.layers.\\d{2}[.]", kQ, No},
        // As recipes of llm-compressor exclude.
        Case{ModuleNames::Expressions, "re:^(?!.*self_attn).*gate", kGate, Yes},
        Case{ModuleNames::Expressions, "re:^(?!.*self_attn).*", kQ, No},
        Case{ModuleNames::Expressions, "re:.*\\bgate\\b", kGate, Yes},
        Case{ModuleNames::Expressions, "re:.*\\bgate\\b", kGateProj, No},
        Case{ModuleNames::Expressions, "re:(a*)*b", std::string(3000, 'a'),
             No}));

// As fnmatch of Python has them, also of modules above a name, and of single
// components.
INSTANTIATE_TEST_SUITE_P(
    Globs, Entries,
    testing::Values(
        Case{ModuleNames::Globs, "model.layers.1.self_attn*", kQ, Yes},
        Case{ModuleNames::Globs, "model.layers.1.self_attn*", kQ10, No},
        Case{ModuleNames::Globs, "model.layers.1.self_attn.*", kQ, Yes},
        // What ModelOpt writes only where all of layer 10 is meant, too.
        Case{ModuleNames::Globs, "model.layers.1*", kQ10, Yes},
        Case{ModuleNames::Globs, "model.layers.1.*", kQ10, No},
        Case{ModuleNames::Globs, "model.layers.*.self_attn", kQ10, Yes},
        Case{ModuleNames::Globs, "*self_attn", kQ, Yes},
        Case{ModuleNames::Globs, "*q_proj", kQ, Yes},
        Case{ModuleNames::Globs, "*k_proj", kQ, No},
        Case{ModuleNames::Globs, "*a*a*a*a*a*a*a*a*a*a*b",
             std::string(3000, 'a'), No},
        Case{ModuleNames::Globs, "self_attn*", kQ, Yes},
        Case{ModuleNames::Globs, "attn*", kQ, No},
        Case{ModuleNames::Globs, "self_attn", kQ, Yes},
        Case{ModuleNames::Globs, "gate", kGateProj, No},
        // Within a component a glob has no dots.
        Case{ModuleNames::Globs, "self*proj", kQ, No},
        Case{ModuleNames::Globs, "self[!x]attn", kQ, Yes},
        Case{ModuleNames::Globs, "1[!x]self_attn", kQ, No},
        Case{ModuleNames::Globs, "model.layers.?.self_attn*", kQ, Yes},
        Case{ModuleNames::Globs, "model.layers.?.self_attn*", kQ10, No},
        Case{ModuleNames::Globs, "model.layers.[0-3].self_attn*", kQ, Yes},
        Case{ModuleNames::Globs, "model.layers.[!0-3].self_attn*", kQ, No},
        Case{ModuleNames::Globs, "model.layers.[]1].self_attn*", kQ, Yes},
        Case{ModuleNames::Globs, "model.layers.[1.self_attn*", kQ, No},
        Case{ModuleNames::Globs, "*.experts.1*", kW1, Partly},
        Case{ModuleNames::Globs, "*.experts.*", kW1, Yes},
        Case{ModuleNames::Globs, "re:.*gate$", kGate, Yes}));

INSTANTIATE_TEST_SUITE_P(
    Others, Entries,
    testing::Values(
        Case{ModuleNames::Exact, "model.layers.1.self_attn.q_proj", kQ, Yes},
        Case{ModuleNames::Exact, "model.layers.1.self_attn", kQ, Yes},
        Case{ModuleNames::Exact, "self_attn.q_proj", kQ, No},
        Case{ModuleNames::Exact, "model.layers.1.block_sparse_moe.experts", kW1,
             Yes},
        Case{ModuleNames::Exact, "model.layers.1.block_sparse_moe.experts.3.w1",
             kW1, Partly},
        Case{ModuleNames::Substrings, "layers.1", kQ10, Yes},
        Case{ModuleNames::Substrings, "layers.1.", kQ10, No},
        Case{ModuleNames::Substrings, "gate", kGateProj, Yes}));

TEST(ModuleNames, EntriesNameMembersTogether) {
  std::vector<std::string> all;
  for (uint64_t i = 0; i < kExperts; ++i)
    all.push_back("model.layers.1.block_sparse_moe.experts." +
                  std::to_string(i) + ".w1");
  for (ModuleNames::Syntax syntax :
       {ModuleNames::Components, ModuleNames::Expressions, ModuleNames::Globs,
        ModuleNames::Exact, ModuleNames::Substrings}) {
    EXPECT_EQ(ModuleNames(all, syntax).match(kW1, kExperts), Yes);
    EXPECT_EQ(ModuleNames(all, syntax).match(kW1, kExperts + 1), Partly);
    EXPECT_THAT(ModuleNames(all, syntax).unmatched({{kW1, kExperts}}),
                IsEmpty());
  }
  all.back() = "re:.*experts[.]11[.]w1";
  EXPECT_EQ(ModuleNames(all, ModuleNames::Expressions).match(kW1, kExperts),
            Yes);
}

std::string errorOf(const char *entry, ModuleNames::Syntax syntax) {
  ConfigReader reader = *ConfigReader::parse("{}", "c.json");
  ModuleNames::check(reader, "list", {entry}, syntax);
  return reader.status().message();
}

TEST(ModuleNames, WhatASyntaxDoesNotHaveIsRefused) {
  const std::string at = "c.json: list: expected module names";
  EXPECT_EQ(errorOf("model.layers.1*", ModuleNames::Substrings),
            at + " of letters, digits, _ and ., found \"model.layers.1*\"");
  EXPECT_EQ(errorOf("gate*", ModuleNames::Expressions),
            at + " of letters, digits, _ and ., found \"gate*\"");
  EXPECT_EQ(errorOf("a/b", ModuleNames::Components),
            at + " of letters, digits, _ and ., or with *, found \"a/b\"");
  EXPECT_EQ(errorOf("a*/b", ModuleNames::Globs),
            at + " of letters, digits, _ and ., or with * and [], found "
                 "\"a*/b\"");
  for (const char *entry : {"", ".", ".gate"})
    EXPECT_THAT(errorOf(entry, ModuleNames::Components), HasSubstr(at));
  EXPECT_EQ(errorOf("re:(a", ModuleNames::Expressions),
            at + " or \"re:\" and an expression, found \"re:(a\", which is no "
                 "expression: missing closing parenthesis");
  for (const char *entry : {"[a", "a\\", "\\1", "(a)\\1", "[[:alpha:]]",
                            "a{,3}", "{3}", "(?P<x>a)(?P=x)"})
    EXPECT_THAT(errorOf(entry, ModuleNames::Components),
                HasSubstr("which is no expression"))
        << entry;
  // What would take any time or memory.
  for (const std::string &entry :
       {std::string("(((a{99}b){99}){99}){99}"),
        std::string(100000, '(') + std::string(100000, ')')})
    EXPECT_THAT(errorOf(entry.c_str(), ModuleNames::Components),
                HasSubstr("which is no expression"));
  EXPECT_EQ(errorOf("a{2}b{1,3}[c{]", ModuleNames::Components), "");
  for (const char *entry :
       {"gate", "gate.", "a.*.b", "a\\.b", "(?:a|b)c+?", "(?P<x>a)", "[\\]]"})
    EXPECT_EQ(errorOf(entry, ModuleNames::Components), "");
}

} // namespace
