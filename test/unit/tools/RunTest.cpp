#include "test/unit/tools/Process.h"

#include "test/unit/base/Sanitizers.h"
#include "test/unit/checkpoint/SafetensorsWriter.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <csignal>
#include <cstring>
#include <functional>
#include <unistd.h>

namespace saddle {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

const std::string kRun =
    std::string(SADDLE_RUN) + " tiny.saddle --weights synthetic:3 ";

class RunTest : public ToolTest {
protected:
  /// Runs with these arguments, expects exit 1 and nothing on stdout.
  std::string errorOf(const std::string &arguments) {
    Outcome outcome = run(kRun + arguments);
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_THAT(outcome.out, IsEmpty());
    return outcome.err;
  }
  Json jsonOf(const std::string &arguments) {
    Outcome outcome = run(kRun + arguments + " --json");
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out, nullptr, false);
  }
};

/// Gives `command` ever more memory until it is enough.
void sweepMemory(const std::function<Outcome(const std::string &)> &run,
                 const std::string &command) {
  int refused = 0, kilobytes = 16 << 10;
  for (Outcome outcome = {1, "", ""}; outcome.code != 0; kilobytes += 1 << 10) {
    ASSERT_LT(kilobytes, 1 << 20) << outcome.err;
    outcome = run("ulimit -v " + std::to_string(kilobytes) + "; " + command);
    refused += outcome.code != 0;
    if (outcome.code == 0)
      continue;
    EXPECT_EQ(outcome.code, 1)
        << command << " in " << kilobytes << " kB: " << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("error: ")) << kilobytes << " kB";
  }
  EXPECT_GT(refused, 2);
}

TEST_F(RunTest, EveryShortageOfMemoryEndsWithAMessage) {
  if (!kTakesLimits)
    GTEST_SKIP() << "sanitizers need more";
  auto runIt = [&](const std::string &command) { return run(command); };
  sweepMemory(runIt, kRun + "--tokens 3,1,4 --max-new-tokens 4");
  sweepMemory(runIt, std::string(SADDLE_BENCH) +
                         " tiny.saddle --weights synthetic:3 --batch 1 "
                         "--context 1 --steps 1 --prefill 2 --json");
  sweepMemory(runIt, std::string(SADDLE_PACK) +
                         " tiny.saddle --weights synthetic:3 -o packed");
}

TEST_F(RunTest, PackedWeightsAreNotPackedAgain) {
  const std::string pack = std::string(SADDLE_PACK) + " tiny.saddle --weights ";
  ASSERT_EQ(run(pack + "synthetic:3 -o packed").code, 0);
  EXPECT_EQ(run(pack + "packed -o again").err,
            "error: packed: is packed already; give the checkpoint\n");
  EXPECT_EQ(run(pack + "packed -o packed").err,
            "error: packed: is where the weights are; give another folder\n");
}

TEST_F(RunTest, NumbersOutOfRangeNameShortBounds) {
  auto usageError = [&](const std::string &arguments) {
    Outcome outcome = run(kRun + "--tokens 1 " + arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_LT(outcome.err.size(), 200u) << outcome.err;
    return outcome.err;
  };
  for (const char *option : {"--top-k", "--seed", "--max-new-tokens",
                             "--prefill-chunk", "--kv-tokens"})
    EXPECT_THAT(usageError(std::string(option) + " -1"),
                HasSubstr(std::string(option) + ": Value -1 not in range "));
  for (const char *seconds : {"nan", "inf", "-inf", "0", "-1", "1e300", "x"})
    EXPECT_THAT(usageError(std::string("--timeout ") + seconds),
                HasSubstr("is no number of seconds above 0"));
  EXPECT_EQ(run(kRun + "--tokens 1 --timeout 0.5 --temperature 1 --seed "
                       "18446744073709551615")
                .code,
            0);
}

TEST_F(RunTest, LineEndsAndByteOrderMarksOfAPromptsFileAreNoTokens) {
  const std::string arguments =
      "--tokenizer " SADDLE_TOKENIZER " --prompts-file ";
  folder.write("crlf.txt", "\xef\xbb\xbf"
                           "0\r\n!0\r\n");
  Json json = jsonOf(arguments + "crlf.txt");
  ASSERT_EQ(json["prompts"].size(), 2u);
  EXPECT_EQ(json["prompts"][0]["prompt_tokens"], Json::array({15}));
  EXPECT_EQ(json["prompts"][1]["prompt_tokens"], Json({0, 15}));
  for (const char *blank : {"0\n\n0\n", "0\r\n\r\n0\r\n"}) {
    folder.write("blank.txt", blank);
    EXPECT_THAT(errorOf(arguments + "blank.txt"),
                HasSubstr("blank.txt: line 2 is empty, expected a prompt"));
  }
}

// An engine whose model lay in a folder with a Latin-1 name, and a path with an
// escape sequence.
TEST_F(RunTest, ForeignTextNeverActsAndNeverStopsJson) {
  TinyOptions options;
  auto engine = tinyEngine(options);
  engine->model->name = "caf\xe9";
  engine->model->architecture = "Tiny\x1b[31m\xff";
  for (auto &command : engine->programs[0]->entries[0]->commands)
    command->place = "layer\xe9";
  writeEngine("latin1.saddle", *engine);
  const std::string bench = std::string(SADDLE_BENCH) +
                            " latin1.saddle --weights synthetic:3 --batch 1 "
                            "--context 1 --steps 1 --prefill 2 ";
  for (const char *arguments : {"--json", "--trace trace.json", ""}) {
    Outcome outcome = run(bench + arguments);
    EXPECT_EQ(outcome.code, 0) << arguments << ": " << outcome.err;
    EXPECT_EQ(outcome.out.find('\x1b'), std::string::npos);
    if (std::string(arguments) == "--json")
      EXPECT_TRUE(Json::accept(outcome.out));
  }
  EXPECT_TRUE(Json::accept(read(folder.path("trace.json"))));
  EXPECT_THAT(run(bench).out, HasSubstr("Tiny\\u{1b}[31m\\xff, tp=1"));
  Outcome outcome = run(std::string(SADDLE_RUN) +
                        " $(printf 'no\\033[31m') --weights x --tokens 1");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err,
            "error: no\\u{1b}[31m: cannot be opened: No such file or "
            "directory\n");
}

TEST_F(RunTest, TokensInTokensOut) {
  Outcome outcome =
      run(kRun + "--tokens 3,1,4 --max-new-tokens 4 --ignore-eos");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, MatchesRegex("[0-9]+,[0-9]+,[0-9]+,[0-9]+\n"));
  EXPECT_THAT(outcome.err, HasSubstr("prefill 3 tokens in"));
  EXPECT_THAT(outcome.err, HasSubstr("decode 3 tokens in"));
  EXPECT_EQ(run(kRun + "--tokens 3,1,4 --max-new-tokens 4 --ignore-eos").out,
            outcome.out)
      << "greedy repeats";
}

TEST_F(RunTest, SeveralPromptsAreNumberedAndEqualTheirLoneRuns) {
  // More prompts than the engine's max_batch of 4.
  std::vector<std::string> prompts = {"1",        "2,3", "4,5,6",
                                      "7,8,9,10", "11",  "12,13"};
  std::string arguments, expected;
  for (size_t i = 0; i < prompts.size(); ++i) {
    arguments += "--tokens " + prompts[i] + " ";
    expected +=
        "[" + std::to_string(i) + "] " +
        run(kRun + "--tokens " + prompts[i] + " --max-new-tokens 5").out;
  }
  EXPECT_EQ(run(kRun + arguments + "--max-new-tokens 5").out, expected);
}

TEST_F(RunTest, JsonTellsPromptTokensAndStop) {
  Json json = jsonOf("--tokens 3,1 --tokens 5 --max-new-tokens 2 --ignore-eos");
  ASSERT_EQ(json["prompts"].size(), 2u);
  EXPECT_EQ(json["prompts"][0]["prompt_tokens"], Json({3, 1}));
  EXPECT_EQ(json["prompts"][0]["tokens"].size(), 2u);
  EXPECT_EQ(json["prompts"][1]["stop"], "length");
  EXPECT_EQ(json["stats"]["prefill_tokens"], 3);
  // The parts of loading are not more than the whole.
  const Json &stats = json["stats"];
  double parts = 0;
  for (const char *part : {"load_devices_seconds", "load_memory_seconds",
                           "load_weights_seconds"}) {
    EXPECT_GT(stats[part], 0);
    parts += double(stats[part]);
  }
  EXPECT_LE(parts, double(stats["load_seconds"]));
}

TEST_F(RunTest, ReplicasAndStagesGenerateTheSame) {
  TinyOptions options;
  options.layers = 2;
  writeEngine("tiny.saddle", *tinyEngine(options));
  const std::string arguments =
      "--tokens 1 --tokens 2,3 --tokens 4,5,6 --tokens 7,8,9,10 --tokens 11 "
      "--max-new-tokens 6 --ignore-eos "
      "--kv-tokens 16"; // of a replica: two short prompts at a time
  Json one = jsonOf(arguments)["prompts"];
  options.tp = 4;
  options.dp = options.pp = 2;
  writeEngine("tiny.saddle", *tinyEngine(options));
  for (const char *cut : {"", " --micro-batches 1", " --micro-batches 5"})
    EXPECT_EQ(jsonOf(arguments + cut)["prompts"], one) << cut;
}

TEST_F(RunTest, SamplingFollowsItsSeed) {
  auto sample = [&](const std::string &options) {
    return jsonOf("--tokens 3 --max-new-tokens 12 --ignore-eos " +
                  options)["prompts"][0]["tokens"];
  };
  EXPECT_EQ(sample("--temperature 5 --seed 1"),
            sample("--temperature 5 --seed 1"));
  EXPECT_NE(sample("--temperature 5 --seed 1"),
            sample("--temperature 5 --seed 2"));
  EXPECT_EQ(sample("--temperature 5 --top-k 1"), sample(""));
}

TEST_F(RunTest, EosEndsUnlessIgnored) {
  // Whatever greedy decoding says first becomes the end-of-sequence token.
  Json free = jsonOf("--tokens 3,1,4 --max-new-tokens 6 --ignore-eos");
  auto engine = tinyEngine(twoRanks());
  uint32_t first = free["prompts"][0]["tokens"][0];
  engine->model->eos_token_ids = {99, first};
  writeEngine("tiny.saddle", *engine);
  Json ended = jsonOf("--tokens 3,1,4 --max-new-tokens 6");
  EXPECT_EQ(ended["prompts"][0]["tokens"], Json::array({first}));
  EXPECT_EQ(ended["prompts"][0]["stop"], "eos");
  EXPECT_EQ(jsonOf("--tokens 3,1,4 --max-new-tokens 6 --ignore-eos")["prompts"],
            free["prompts"]);
}

TEST_F(RunTest, MaxSeqLenEndsWithANote) {
  Outcome outcome = run(kRun + "--tokens 1,2,3,4,5,6,7,8,9,10,11,12 "
                               "--max-new-tokens 99 --ignore-eos --json");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  Json json = Json::parse(outcome.out);
  // 12 + 4 tokens are fed; the last of them yields one more.
  EXPECT_EQ(json["prompts"][0]["tokens"].size(), 5u);
  EXPECT_EQ(json["prompts"][0]["stop"], "max_seq_len");
  EXPECT_THAT(outcome.err,
              HasSubstr("prompt 0: stopped at the engine's max_seq_len = 16"));
}

/// name -> (shape, bytes) of a safetensors file.
std::map<std::string, std::pair<Json, std::string>>
tensorsOf(const std::string &file) {
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  Json header = Json::parse(file.substr(8, length));
  std::map<std::string, std::pair<Json, std::string>> tensors;
  for (const auto &entry : header.items()) {
    uint64_t begin = entry.value()["data_offsets"][0];
    uint64_t end = entry.value()["data_offsets"][1];
    tensors[entry.key()] = {entry.value()["shape"],
                            file.substr(8 + length + begin, end - begin)};
  }
  return tensors;
}

TEST_F(RunTest, LogitsOutHoldsARowPerTokenThatWasFed) {
  Outcome outcome = run(kRun + "--tokens 3,1,4 --tokens 5 --max-new-tokens 3 "
                               "--ignore-eos --json --logits-out l.st");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  Json json = Json::parse(outcome.out);
  auto tensors = tensorsOf(read(folder.path("l.st")));
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors["tokens.0"].first, Json::array({6}));
  EXPECT_EQ(tensors["logits.0"].first, Json({5, 16}));
  EXPECT_EQ(tensors["tokens.1"].first, Json::array({4}));
  EXPECT_EQ(tensors["logits.1"].first, Json({3, 16}));
  std::vector<int32_t> tokens(6);
  std::vector<float> logits(5 * 16);
  std::memcpy(tokens.data(), tensors["tokens.0"].second.data(), 6 * 4);
  std::memcpy(logits.data(), tensors["logits.0"].second.data(), 5 * 16 * 4);
  EXPECT_EQ(std::vector<int32_t>(tokens.begin(), tokens.begin() + 3),
            (std::vector<int32_t>{3, 1, 4}));
  for (int i = 0; i < 3; ++i) { // greedy: row 2 + i chose token 3 + i
    auto row = logits.begin() + (2 + i) * 16;
    EXPECT_EQ(std::max_element(row, row + 16) - row, tokens[3 + i]);
    EXPECT_EQ(json["prompts"][0]["tokens"][i], tokens[3 + i]);
  }
  // One prompt alone: plain names; other chunks: the same bits.
  ASSERT_EQ(run(kRun + "--tokens 3,1,4 --max-new-tokens 3 --ignore-eos "
                       "--prefill-chunk 2 --logits-out m.st")
                .code,
            0);
  auto alone = tensorsOf(read(folder.path("m.st")));
  EXPECT_EQ(alone.at("logits"), tensors.at("logits.0"));
  // Nothing generated: the prompt's rows only.
  ASSERT_EQ(
      run(kRun + "--tokens 3,1 --max-new-tokens 0 --logits-out n.st").code, 0);
  EXPECT_EQ(tensorsOf(read(folder.path("n.st")))["logits"].first,
            Json({2, 16}));
}

TEST_F(RunTest, GoldensThatCannotBeComparedAreRefused) {
  auto golden = [&](int32_t token, float logit) {
    return safetensors(
        {{"tokens", "I32", {1}, bytesOf(std::vector<int32_t>{token})},
         {"logits", "F32", {1, 16}, bytesOf(std::vector<float>(16, logit))}});
  };
  auto errorWith = [&](int32_t token, float logit) {
    folder.write("golden.st", golden(token, logit));
    return errorOf("--self-test golden.st");
  };
  EXPECT_EQ(errorWith(16, 0),
            "error: golden.st: token 16 is none of the vocabulary's 16\n");
  EXPECT_EQ(errorWith(3, NAN),
            "error: golden.st: holds logits that are no finite numbers\n");
}

TEST_F(RunTest, TextPromptsGoThroughATokenizer) {
  // The nano vocabulary begins with the printable bytes, so "0" is token 15,
  // the tiny engine's last.
  std::string tokenizer = " --tokenizer " SADDLE_TOKENIZER;
  Json json = jsonOf("--prompt 0" + tokenizer);
  EXPECT_EQ(json["prompts"][0]["prompt_tokens"], Json::array({15}));
  EXPECT_TRUE(json["prompts"][0]["text"].is_string());
  folder.write("p.txt", "0\n!0\n");
  json = jsonOf("--prompts-file p.txt" + tokenizer);
  EXPECT_EQ(json["prompts"][1]["prompt_tokens"], Json({0, 15}));
  EXPECT_THAT(errorOf("--prompt '~~~ zzz'" + tokenizer),
              HasSubstr("does the tokenizer belong to this engine?"));
}

TEST_F(RunTest, SpecialTokensInAPromptAreAChoice) {
  // As token ids of the tokenizer's own vocabulary, which is larger than the
  // tiny engine's: the message counts them.
  auto tokens = [&](const std::string &options) {
    return errorOf("--prompt '[e~[' --tokenizer " SADDLE_TOKENIZER " " +
                   options);
  };
  EXPECT_THAT(tokens(""),
              MatchesRegex("prompt 0: content of special tokens stays text; "
                           "--parse-special makes it tokens\nerror: prompt "
                           "0: token 0 is 58, expected .*\n"));
  EXPECT_THAT(tokens("--parse-special"),
              MatchesRegex("error: prompt 0: token 0 is 765, expected .*\n"));
  EXPECT_THAT(errorOf("--prompt 'a' --tokenizer " SADDLE_TOKENIZER),
              MatchesRegex("error: prompt 0: token 0 is 64, .*\n"));
  EXPECT_EQ(run(kRun + "--tokens 1 --parse-special").code, 2);
}

TEST_F(RunTest, AnEngineWithoutEndTokensSaysSo) {
  auto tree = tinyEngine();
  tree->model->eos_token_ids = {};
  writeEngine("tiny.saddle", *tree);
  const char *note = "the engine knows no end token: answers end at "
                     "--max-new-tokens or max_seq_len only\n";
  EXPECT_THAT(run(kRun + "--tokens 1").err, HasSubstr(note));
  EXPECT_THAT(run(kRun + "--tokens 1 --ignore-eos").err,
              testing::Not(HasSubstr("end token")));
}

TEST_F(RunTest, BadPromptsAreNamed) {
  std::string tokenizer = " --tokenizer " SADDLE_TOKENIZER;
  EXPECT_EQ(errorOf("--tokens ''"),
            "error: prompt 0 is empty, expected at least one token\n");
  EXPECT_EQ(errorOf("--prompt ''" + tokenizer),
            "error: prompt 0 is empty, expected at least one token\n");
  EXPECT_EQ(errorOf("--tokens 1 --tokens 2,16"),
            "error: prompt 1: token 1 is 16, expected 0 to 15\n");
  EXPECT_EQ(errorOf("--tokens 2,-1"),
            "error: prompt 0: token 1 is -1, expected 0 to 15\n");
  EXPECT_EQ(errorOf("--tokens 99999999999"),
            "error: prompt 0: token 0 is 99999999999, expected 0 to 15\n");
  EXPECT_EQ(
      errorOf("--tokens 1,,2"),
      "error: --tokens: expected whole numbers with commas between, found "
      "\"\" in place 1\n");
  EXPECT_EQ(
      errorOf("--tokens 1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8"),
      "error: prompt 0 has 17 tokens, but the engine's max_seq_len is 16; "
      "compile with a larger --max-seq-len\n");
  EXPECT_EQ(errorOf("--prompt \"$(printf 'a\\377')\"" + tokenizer),
            "error: prompt 0: the text is not UTF-8: byte 1 is 0xff\n");
  folder.write("p.txt", "a\n\nb\n");
  EXPECT_EQ(errorOf("--prompts-file p.txt" + tokenizer),
            "error: p.txt: line 2 is empty, expected a prompt\n");
  folder.write("p.txt", "");
  EXPECT_EQ(errorOf("--prompts-file p.txt" + tokenizer),
            "error: p.txt: empty, expected one prompt per line\n");
  EXPECT_THAT(errorOf("--prompts-file absent.txt" + tokenizer),
              HasSubstr("error: absent.txt: "));
}

TEST_F(RunTest, TextWithoutATokenizerIsAnError) {
  EXPECT_EQ(errorOf("--prompt hello"),
            "error: synthetic weights have no tokenizer; text prompts need a "
            "tokenizer: give --tokenizer FILE, or token ids with --tokens\n");
  Outcome outcome =
      run(std::string(SADDLE_RUN) + " tiny.saddle --weights . --prompt hello");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("./tokenizer.json: does not exist; text "
                                     "prompts need a tokenizer"));
}

TEST_F(RunTest, AFileAsWeightsIsNamed) {
  for (const char *input : {"--prompt hello", "--tokens 1"}) {
    Outcome outcome = run(std::string(SADDLE_RUN) +
                          " tiny.saddle --weights tiny.saddle " + input);
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(
        outcome.err,
        MatchesRegex("error: tiny.saddle: expected a checkpoint folder.*, but "
                     "this is a file; give the folder that holds it\n"));
  }
}

TEST_F(RunTest, OtherInputErrors) {
  EXPECT_THAT(errorOf("--tokens 1 --temperature -1"),
              HasSubstr("error: temperature -1: expected"));
  EXPECT_THAT(errorOf("--tokens 1 --temperature 1 --top-p 2"),
              HasSubstr("error: top-p 2:"));
  EXPECT_THAT(errorOf("--tokens 1 --prefill-chunk 99"),
              HasSubstr("error: prefill chunk 99: the engine was compiled for "
                        "up to 8"));
  Outcome outcome = run(std::string(SADDLE_RUN) +
                        " absent.saddle --weights synthetic:1 --tokens 1");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("error: absent.saddle: "));
  outcome = run(std::string(SADDLE_RUN) +
                " tiny.saddle --weights nowhere --tokens 1");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("nowhere"));
  outcome = run(kRun + "--tokens 1 --logits-out nowhere/l.st");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("error: nowhere/l.st: "));
}

TEST_F(RunTest, NcclThatCannotBeUsedIsAnError) {
  EXPECT_EQ(errorOf("--tokens 1 --nccl libnccl.so.2"),
            "error: tiny.saddle is for target \"cpu\", whose ranks exchange in "
            "memory; do without NCCL (--nccl)\n");
  writeDeviceEngine("tiny.saddle");
  std::string error = errorOf("--tokens 1 --nccl ./absent.so --nccl-above 0");
  if (SADDLE_HAS_CUDA_TARGET)
    EXPECT_THAT(error,
                HasSubstr("error: NCCL cannot be loaded: ./absent.so: "));
  else
    EXPECT_THAT(error, HasSubstr("this build was made without CUDA"));
}

TEST_F(RunTest, OptionsWithoutEffectAreErrors) {
  auto refusal = [&](const std::string &arguments) {
    Outcome outcome = run(kRun + arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    return outcome.err;
  };
  for (const char *option : {"--seed", "--top-k", "--top-p"})
    EXPECT_THAT(refusal("--tokens 1 " + std::string(option) + " 1"),
                HasSubstr(std::string(option) +
                          " has no effect without --temperature: the "
                          "likeliest token is taken; leave it out"));
  EXPECT_EQ(run(kRun + "--tokens 1 --temperature 1 --seed 1").code, 0);
  EXPECT_THAT(refusal("--tokens 1 --self-test-bound 0.1"),
              HasSubstr("--self-test-bound has no effect without --self-test"));
  EXPECT_THAT(refusal("--tokens 1 --parse-special"),
              HasSubstr("--parse-special has no effect on --tokens; leave it "
                        "out"));
}

TEST_F(RunTest, WrongCommandLinesExitWith2) {
  for (const char *arguments :
       {"", "--tokens 1 --prompt a", "--tokens 1 --frobnicate",
        "--tokens 1 --max-new-tokens -1", "--tokens 1 --timeout 0",
        "--tokens 1 --logits-out -", "--tokens 1 --nccl-above 5",
        "--tokens 1 --nccl x --nccl-above -5"}) {
    Outcome outcome = run(kRun + arguments);
    EXPECT_EQ(outcome.code, 2) << arguments;
    EXPECT_THAT(outcome.out, IsEmpty()) << arguments;
  }
  auto usageError = [&](const std::string &arguments) {
    Outcome outcome = run(kRun + arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    return outcome.err;
  };
  EXPECT_THAT(usageError("--tokens 1 --frobnicate"),
              HasSubstr("The following argument was not expected: "
                        "--frobnicate; --help lists the options"));
  EXPECT_THAT(usageError("--tokens 1 --seed x"),
              HasSubstr("--help says which values an option takes"));
  EXPECT_THAT(usageError("--tokens 1 --prompt a"),
              HasSubstr("; --help says what must be given"));
  EXPECT_THAT(usageError("--tokens 1 --nccl-above 5"),
              HasSubstr("; --help says how options go together"));
  EXPECT_THAT(usageError(""),
              HasSubstr("expected an input: --prompt, --tokens or "
                        "--prompts-file"));
  EXPECT_THAT(usageError("--tokens 1 --logits-out -"),
              HasSubstr("--logits-out needs a file: standard output carries "
                        "the text"));
  Outcome help = run(std::string(SADDLE_RUN) + " --help");
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("--logits-out"));
  EXPECT_EQ(run(std::string(SADDLE_RUN) + " --version").code, 0);
}

/// Whether a process has a handler for a signal.
bool isCaught(pid_t process, int signal) {
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
  std::string word;
  uint64_t signals = 0;
  while (file >> word)
    if (word == "SigCgt:")
      file >> std::hex >> signals;
  return signals >> (signal - 1) & 1;
}

TEST_F(RunTest, WhatWasGeneratedSurvivesASignal) {
  TinyOptions options;
  options.maxSeqLen = 60000; // takes much longer than the signal
  writeEngine("tiny.saddle", *tinyEngine(options));
  // Sends the signal some time after the tool has begun to wait for it.
  auto interrupted = [&](int signal, const std::string &arguments) {
    pid_t child = ::fork();
    if (child == 0) {
      std::string command = "cd '" + folder.path("") + "' && exec " + kRun +
                            "--tokens 3,1,4 --max-new-tokens 50000 "
                            "--ignore-eos " +
                            arguments + " >stdout 2>stderr";
      ::signal(signal, SIG_DFL);
      ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 6000 && !isCaught(child, signal); ++i)
      ::usleep(10000);
    ::usleep(300000);
    ::kill(child, signal);
    int status = 0;
    ::waitpid(child, &status, 0);
    return Outcome{WIFSIGNALED(status) ? 128 + WTERMSIG(status) : -1,
                   read(folder.path("stdout")), read(folder.path("stderr"))};
  };
  Outcome outcome = interrupted(SIGTERM, "--tokens 5 --json");
  EXPECT_EQ(outcome.code, 128 + SIGTERM) << outcome.err;
  Json json = Json::parse(outcome.out, nullptr, false);
  ASSERT_EQ(json["prompts"].size(), 2u) << outcome.out;
  for (const Json &prompt : json["prompts"])
    EXPECT_EQ(prompt["stop"], "interrupted");
  std::vector<int> tokens = json["prompts"][0]["tokens"];
  std::vector<int> whole =
      jsonOf("--tokens 3,1,4 --max-new-tokens 20 --ignore-eos")["prompts"][0]
                                                               ["tokens"];
  ASSERT_GT(tokens.size(), 20u);
  EXPECT_EQ(std::vector<int>(tokens.begin(), tokens.begin() + 20), whole);
  EXPECT_THAT(outcome.err,
              HasSubstr("interrupted: 2 of 2 prompts had not ended\n"));

  outcome = interrupted(SIGINT, "--tokens 5");
  EXPECT_EQ(outcome.code, 128 + SIGINT);
  EXPECT_THAT(outcome.out,
              testing::ContainsRegex("^\\[0\\] [0-9,]+\n\\[1\\] [0-9,]+\n$"));
  outcome = interrupted(SIGHUP, "--logits-out l.safetensors");
  EXPECT_EQ(outcome.code, 128 + SIGHUP);
  EXPECT_GT(std::filesystem::file_size(folder.path("l.safetensors")), 1000u);
}

TEST_F(RunTest, AFileSizeLimitIsAnErrorThatLeavesNothing) {
  for (const std::string &command :
       {kRun + "--tokens 3,1,4 --logits-out big",
        std::string(SADDLE_BENCH) + " tiny.saddle --weights synthetic:3 "
                                    "--context 2 --steps 1 --prefill 3 "
                                    "--trace big"}) {
    // Through a pipe: standard output of the test is a file, too.
    Outcome outcome = run("(ulimit -f 0; " + command + ") 2>&1 | cat");
    EXPECT_THAT(outcome.out,
                HasSubstr("error: big: cannot be written: File too large\n"));
    EXPECT_EQ(folder.list(),
              (std::vector<std::string>{"stderr", "stdout", "tiny.saddle"}));
  }
}

TEST_F(RunTest, AFullDiskIsAnError) {
  Outcome outcome = run("sh -c '" + kRun + "--tokens 1 > /dev/full'");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("standard output could not be written"));
}

} // namespace
} // namespace saddle
