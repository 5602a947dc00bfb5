#include "models/Architecture.h"

#include <gtest/gtest.h>

using namespace saddle;

static StatusOr<Architecture> identify(const std::string &text) {
  StatusOr<ConfigReader> reader = ConfigReader::parse(text, "c.json");
  EXPECT_TRUE(reader.ok()) << reader.status().message();
  return identifyArchitecture(*reader);
}

TEST(Architecture, M2ByNameOrByType) {
  for (const char *text :
       {R"({"architectures": ["MiniMaxM2ForCausalLM"]})",
        R"({"architectures": ["MiniMaxM2ForCausalLM"],
            "model_type": "minimax_m2"})",
        R"({"architectures": ["MiniMaxM2ForCausalLM"],
            "model_type": "minimax"})",
        R"({"architectures": null, "model_type": "minimax_m2"})",
        R"({"architectures": [], "model_type": "minimax_m2"})"}) {
    StatusOr<Architecture> result = identify(text);
    ASSERT_TRUE(result.ok()) << text << result.status().message();
    EXPECT_STREQ(architectureName(*result), "MiniMaxM2ForCausalLM");
  }
}

struct Refusal {
  const char *config;
  const char *message;
};

class ArchitectureRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(ArchitectureRefusal, NamesWhatIsWrong) {
  EXPECT_EQ(identify(GetParam().config).status().message(),
            std::string("c.json: ") + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, ArchitectureRefusal,
    testing::Values(
        Refusal{R"({"architectures": ["LlamaForCausalLM"]})",
                "architectures[0]: \"LlamaForCausalLM\" is not a known "
                "architecture; known: MiniMaxM2ForCausalLM (minimax_m2)"},
        Refusal{R"({"model_type": "llama"})",
                "model_type: \"llama\" is not a known architecture; known: "
                "MiniMaxM2ForCausalLM (minimax_m2)"},
        Refusal{R"({"architectures": ["MiniMaxText01ForCausalLM"]})",
                "architectures[0]: \"MiniMaxText01ForCausalLM\" is not "
                "supported yet by this version"},
        Refusal{R"({"architectures": ["MiniMaxM1ForCausalLM"]})",
                "architectures[0]: \"MiniMaxM1ForCausalLM\" is not supported "
                "yet by this version"},
        Refusal{R"({"architectures": ["MiniMaxForCausalLM"]})",
                "architectures[0]: \"MiniMaxForCausalLM\" is not supported "
                "yet by this version"},
        Refusal{R"({"architectures":
                    ["MiniMaxM3SparseForConditionalGeneration"]})",
                "architectures[0]: \"MiniMaxM3SparseForConditionalGeneration\""
                " is not supported yet by this version"},
        Refusal{R"({"model_type": "minimax"})",
                "model_type: \"minimax\" is not supported yet by this "
                "version"},
        Refusal{R"({"architectures": ["MiniMaxM2ForCausalLM"],
                    "model_type": "llama"})",
                "model_type: expected \"minimax_m2\", which goes with "
                "architectures[0] = \"MiniMaxM2ForCausalLM\", found "
                "\"llama\""},
        Refusal{"{}", "architectures: missing, expected a list such as "
                      "[\"MiniMaxM2ForCausalLM\"]"},
        Refusal{R"({"architectures": "MiniMaxM2ForCausalLM"})",
                "architectures: expected a list of strings, found "
                "\"MiniMaxM2ForCausalLM\""},
        Refusal{R"({"model_type": 2})",
                "model_type: expected a string, found 2"}));
