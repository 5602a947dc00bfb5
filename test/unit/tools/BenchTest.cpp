#include "test/unit/tools/Process.h"
#include "test/unit/weights/TestCheckpoint.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <set>

namespace saddle {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

const std::string kBench =
    std::string(SADDLE_BENCH) + " tiny.saddle --weights synthetic:3 ";

class BenchTest : public ToolTest {
protected:
  std::string errorOf(const std::string &arguments) {
    Outcome outcome = run(kBench + arguments);
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    return outcome.err;
  }
};

TEST_F(BenchTest, NcclIsForGpus) {
  EXPECT_EQ(errorOf("--context 2 --steps 1 --prefill 3 --nccl libnccl.so.2 "
                    "--nccl-above 1"),
            "error: tiny.saddle is for target \"cpu\", whose ranks exchange in "
            "memory; do without NCCL (--nccl)\n");
}

TEST_F(BenchTest, ARankAloneIsForGpus) {
  EXPECT_EQ(errorOf("--context 2 --steps 1 --prefill 3 --alone 1"),
            "error: tiny.saddle is for target \"cpu\", whose ranks exchange in "
            "memory; a rank can run alone on a GPU only (--alone)\n");
  EXPECT_EQ(errorOf("--context 2 --steps 1 --prefill 3 --alone 9"),
            "error: tiny.saddle: rank 9 cannot run alone; the engine has ranks "
            "0 to 1\n");
  EXPECT_EQ(run(kBench + "--alone x").code, 2);
}

TEST_F(BenchTest, BudgetsAreOfGpus) {
  EXPECT_EQ(errorOf("--context 2 --steps 1 --prefill 3 --budget b.md"),
            "error: --budget: tiny.saddle is for target \"cpu\", and budgets "
            "are of GPUs; compile with --target sm_90a\n");
  EXPECT_EQ(run(kBench + "--budget -").code, 2);
}

TEST_F(BenchTest, JsonHoldsEveryMeasurement) {
  Outcome outcome = run(kBench + "--batch 1,4 --context 2,5 --steps 3 "
                                 "--prefill 3,16 --json --trace t.json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  Json json = Json::parse(outcome.out);
  ASSERT_EQ(json["decode"].size(), 4u);
  std::set<std::pair<int, int>> seen;
  for (const Json &result : json["decode"]) {
    seen.emplace(result["batch"], result["context"]);
    double median = result["step_seconds"]["median"];
    EXPECT_GT(median, 0);
    EXPECT_LE(result["step_seconds"]["min"], median);
    EXPECT_GE(result["step_seconds"]["max"], median);
    EXPECT_DOUBLE_EQ(result["tokens_per_second"],
                     double(result["batch"]) / median);
    std::set<std::string> ops;
    for (const Json &op : result["ops"])
      ops.insert(op["op"]);
    EXPECT_TRUE(ops.count("attention") && ops.count("all_reduce_sum"));
  }
  EXPECT_EQ(seen.size(), 4u);
  ASSERT_EQ(json["prefill"].size(), 2u);
  EXPECT_EQ(json["prefill"][1]["tokens"], 16);
  EXPECT_EQ(json["engine"]["tp"], 2);

  Json trace = Json::parse(read(folder.path("t.json")));
  std::set<int> ranks;
  size_t spans = 0;
  for (const Json &event : trace["traceEvents"]) {
    ranks.insert(event["tid"].get<int>());
    if (event["ph"] != "X")
      continue;
    ++spans;
    EXPECT_GE(event["ts"], 0.0);
    EXPECT_GE(event["dur"], 0.0);
    EXPECT_TRUE(event["args"]["location"].is_string());
  }
  EXPECT_EQ(ranks, (std::set<int>{0, 1}));
  EXPECT_GT(spans, 100u);
}

TEST_F(BenchTest, TextNamesMeasurementsAndOps) {
  Outcome outcome = run(kBench + "--context 2 --steps 2 --prefill 3");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("decode  batch 1, context 2: "));
  EXPECT_THAT(outcome.out, HasSubstr("prefill 3 tokens: "));
  EXPECT_THAT(outcome.out, HasSubstr("    attention "));
}

TEST_F(BenchTest, LimitsAreCheckedFirst) {
  EXPECT_EQ(
      errorOf("--batch 5 --context 2 --steps 2 --prefill 2"),
      "error: --batch 5: expected 1 to the engine's dp * max_batch = 4\n");
  EXPECT_EQ(errorOf("--context 12 --steps 2 --prefill 2"),
            "error: --context 12 and 5 steps (--steps, warm-up, trace) do not "
            "fit the engine's max_seq_len = 16\n");
  EXPECT_EQ(errorOf("--context 2 --steps 2 --prefill 17"),
            "error: --prefill 17: expected 1 to the engine's max_seq_len = "
            "16\n");
  EXPECT_EQ(errorOf("--batch 0"), "error: --batch 0: expected 1 or more\n");
  EXPECT_THAT(errorOf("--context 1,x"), HasSubstr("--context: expected whole"));
  // Rounded up to 4 pages of 4 tokens.
  EXPECT_EQ(errorOf("--batch 3 --context 5 --steps 2 --prefill 2 "
                    "--kv-tokens 13"),
            "error: --batch 3 at --context 5 needs 9 KV pages of an attention "
            "replica, but it has 4; load with more --kv-tokens\n");
}

TEST_F(BenchTest, LogitsThatAreNotFiniteAreAnError) {
  std::vector<TestTensor> tensors = testTensors(*tinyEngine());
  for (TestTensor &tensor : tensors)
    if (tensor.name == "lm_head.weight") // element 0 of row 3: NaN in bf16
      tensor.data.replace(3 * 8 * 2, 2, "\xc0\x7f");
  folder.write("model.safetensors", safetensors(tensors));
  for (uint64_t candidates : {0, 16}) {
    TinyOptions options;
    options.candidates = candidates;
    writeEngine("tiny.saddle", *tinyEngine(options));
    Outcome outcome =
        run(std::string(SADDLE_BENCH) +
            " tiny.saddle --weights . --context 2 --steps 1 --prefill 3");
    EXPECT_EQ(outcome.code, 1);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.err,
              "error: decode of batch 1 at context 2: row 0 of the logits has "
              "nan for token 3, expected finite numbers; times of such a step "
              "say nothing, so check the weights with saddle-run\n");
  }
}

TEST_F(BenchTest, ExpertsThatWereHitAreCounted) {
  writeEngine("tiny.saddle", *tinyEngine());
  Outcome outcome =
      run(kBench + "--batch 1 --context 2 --steps 1 --prefill 3 --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  // One token chooses two of four.
  EXPECT_EQ(Json::parse(outcome.out)["decode"][0]["routing"],
            Json::parse(R"({"held": 4, "hit": {"mean": 2.0, "min": 2, "max": 2},
                            "independent": 2.0})"));
  EXPECT_THAT(run(kBench + "--context 2 --steps 1 --prefill 3").out,
              HasSubstr("        routing: a launch's tokens chose 2.0 of 4 "
                        "experts (2 to 2), 2.0 if they chose independently\n"));
}

TEST_F(BenchTest, ReplicasAndStages) {
  TinyOptions options;
  options.tp = 4;
  options.dp = options.pp = options.layers = 2;
  writeEngine("tiny.saddle", *tinyEngine(options));
  // 8 sequences are 4 of each replica.
  Outcome outcome = run(kBench + "--batch 8 --context 2 --steps 2 --prefill 3 "
                                 "--micro-batches 3 --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out)["engine"]["dp"], 2);
  EXPECT_EQ(Json::parse(outcome.out)["kv_tokens"], 64);
  EXPECT_EQ(errorOf("--batch 8 --context 5 --steps 2 --prefill 3 "
                    "--kv-tokens 32"),
            "error: --batch 8 at --context 5 needs 12 KV pages of an attention "
            "replica, but it has 8; load with more --kv-tokens\n");
}

TEST_F(BenchTest, WrongCommandLinesExitWith2) {
  EXPECT_EQ(run(kBench + "--steps 0").code, 2);
  EXPECT_THAT(run(kBench + "--trace -").err,
              HasSubstr("--trace needs a file: standard output carries the "
                        "results"));
  EXPECT_EQ(run(kBench + "--budget -").code, 2);
  EXPECT_THAT(run(kBench + "--spec-acceptance 0.5").err,
              HasSubstr("--spec-acceptance has no effect: nothing is drafted"));
  EXPECT_EQ(run(SADDLE_BENCH).code, 2);
  EXPECT_EQ(run(std::string(SADDLE_BENCH) + " --help").code, 0);
}

} // namespace
} // namespace saddle
