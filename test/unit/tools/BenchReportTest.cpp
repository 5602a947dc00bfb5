// What saddle-bench makes of the events of a device.

#include "tools/saddle-bench/Links.h"
#include "tools/saddle-bench/Measure.h"
#include "tools/saddle-bench/Report.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace saddle::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<Event> someEvents() {
  Event linear = {0,        "decode",   "layers.0.o_proj",
                  "linear", "linear_3", 1,
                  46000000, 100,        20000};
  Event other = linear, norm = linear, elsewhere = linear;
  other.place = "layers.1.o_proj";
  norm.op = "rms_norm";
  norm.kernel = "rms_norm_0";
  norm.bytes = 4600;
  norm.durationNs = 10000;
  elsewhere.rank = 1;
  elsewhere.durationNs = 1000000;
  return {linear, norm, other, elsewhere};
}

/// Devices alone measure times of their own.
Report reportOf(const char *target, bool devices,
                std::vector<Event> moreEvents = {}) {
  Report report;
  report.info = {};
  report.info.target = target;
  report.info.architecture = "M";
  report.info.compute_dtype = report.info.kv_dtype = "bf16";
  report.info.model_name = "";
  DecodeResult decode = {2, 64, 5, {}};
  decode.times.seconds = {2e-3, 1e-3, 3e-3};
  if (devices)
    decode.times.device = {1.5e-3, 0.9e-3, 2.5e-3};
  report.decode.push_back(decode);
  std::vector<Event> events = someEvents();
  for (Event &event : moreEvents)
    events.push_back(event);
  report.decodeKernels.push_back(sumByKernel(events, report.onDevices()));
  report.decodeSpreads.push_back(spreadOf(events));
  report.decodeBudgets.push_back(budgetOf(events, 0, /*isAlone=*/false));
  return report;
}

/// Two launches of 64 tokens that choose 8 of 256 experts each.
std::vector<Event> expertEvents() {
  Event first = {0,         "decode",    "layers.0.experts",
                 "experts", "experts_5", 64,
                 0,         100,         500000};
  first.expertsHeld = 256;
  first.expertsHit = 210;
  first.expertsIndependent = 222.5;
  Event second = first, idle = first, elsewhere = first;
  second.expertsHit = 225;
  second.bytes = 100;
  idle.expertsHit = 0; // a replica that had no tokens
  idle.expertsIndependent = 0;
  elsewhere.rank = 1;
  elsewhere.expertsHit = 1;
  return {first, second, idle, elsewhere};
}

TEST(BenchReportTest, KernelsOfRankZeroAreSummed) {
  std::vector<KernelTime> kernels = sumByKernel(someEvents(), true);
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_EQ(kernels[0].name, "linear_3");
  EXPECT_EQ(kernels[0].op, "linear");
  EXPECT_EQ(kernels[0].launches, 2u);
  EXPECT_DOUBLE_EQ(kernels[0].seconds, 40e-6);
  EXPECT_EQ(kernels[0].bytes, 92000000u);
  EXPECT_EQ(kernels[1].name, "rms_norm_0");
  EXPECT_EQ(sumByKernel(someEvents(), false)[1].name, "rms_norm");
}

TEST(BenchReportTest, MediansOfAnyNumberOfTimes) {
  EXPECT_EQ(distributionOf({3, 1, 2}).median, 2);
  EXPECT_EQ(distributionOf({4, 1, 3, 2}).median, 2.5);
  EXPECT_EQ(distributionOf({5}).median, 5);
  Distribution times = distributionOf({4, 1, 3, 2});
  EXPECT_EQ(times.least, 1);
  EXPECT_EQ(times.most, 4);
  EXPECT_EQ(distributionOf({}).most, 0);
}

TEST(BenchReportTest, TracesHaveARowForEachRank) {
  nlohmann::json trace = nlohmann::json::parse(chromeTrace(someEvents()));
  const auto &list = trace.is_array() ? trace : trace["traceEvents"];
  std::vector<std::string> ranks;
  size_t events = 0;
  for (const auto &each : list) {
    if (each["ph"] == "M")
      ranks.push_back(each["args"]["name"]);
    else
      ++events;
  }
  EXPECT_THAT(ranks, testing::ElementsAre("rank 0", "rank 1"));
  EXPECT_EQ(events, someEvents().size());
}

TEST(BenchReportTest, DevicesHaveTimesAndShares) {
  std::string text = reportText(reportOf("sm_90a", true));
  EXPECT_THAT(text, HasSubstr("decode  batch 2, context 64: 2.000 ms per step "
                              "(1.000 to 3.000, 5 steps), 1000.0 tokens/s\n"
                              "        on the device 1.500 ms (0.900 to "
                              "2.500)\n"));
  // 46 MB take 10 us at 4.6 TB/s, half of the 20 us that a launch took; 4600
  // bytes take 1 ns of 10 us.
  EXPECT_THAT(text,
              HasSubstr("    linear_3                      2 x       20.0 us   "
                        "80.0 %     46.000 MB   50.0 % of memory\n"));
  EXPECT_THAT(text,
              HasSubstr("    rms_norm_0                    1 x       10.0 us   "
                        "20.0 %      0.005 MB    0.0 % of memory\n"));
  auto json = nlohmann::json::parse(reportJson(reportOf("sm_90a", true)));
  const auto &decode = json["decode"][0];
  EXPECT_EQ(decode["device_seconds"]["median"], 1.5e-3);
  EXPECT_EQ(decode["kernels"][0]["kernel"], "linear_3");
  EXPECT_EQ(decode["kernels"][0]["bytes"], 92000000);
  EXPECT_DOUBLE_EQ(decode["kernels"][0]["memory_share"], 0.5);
}

/// A sum of 6 KB over 8 ranks, twice, in a traced step of rank 5.
std::vector<Event> exchangeEvents() {
  Event sum = {5,       "decode",     "layers.0.o_proj", "all_reduce_sum",
               "sum_1", /*tokens=*/1, /*bytes=*/12288,   /*startNs=*/0,
               4000};
  sum.exchange = SADDLE_EXCHANGE_SUM;
  sum.exchangeRanks = 8;
  sum.exchangeBytes = 6144;
  sum.functions = 1;
  Event next = sum;
  next.place = "layers.11.o_proj";
  return {sum, next};
}

TEST(BenchReportTest, ARankAloneGetsItsLinks) {
  std::vector<Event> events = exchangeEvents();
  double missing = exchangeTime(SADDLE_EXCHANGE_SUM, 8, 6144).missing();
  EXPECT_GT(missing, 0);
  EXPECT_DOUBLE_EQ(linkSecondsOf(events, 5), 2 * missing);
  EXPECT_EQ(linkSecondsOf(events, 0), 0);
  Report report = reportOf("sm_90a", true);
  report.info.world_size = 8;
  report.alone = 5;
  report.decodeLinks.push_back(0.25e-3);
  std::string text = reportText(report);
  EXPECT_THAT(text, HasSubstr("rank 5 of 8 alone, its exchanges looped back: "
                              "times are of its kernels, what it computes is "
                              "no model's output\n"));
  EXPECT_THAT(text,
              HasSubstr("        1.750 ms predicted on the devices of all "
                        "ranks: links take 0.250 ms more, by measured "
                        "exchanges\n"));
  auto json = nlohmann::json::parse(reportJson(report));
  EXPECT_EQ(json["alone"], 5);
  EXPECT_DOUBLE_EQ(json["decode"][0]["link_seconds"], 0.25e-3);
  EXPECT_DOUBLE_EQ(json["decode"][0]["predicted_seconds"], 1.75e-3);
  EXPECT_FALSE(nlohmann::json::parse(reportJson(reportOf("sm_90a", true)))
                   .contains("alone"));
}

TEST(BenchReportTest, ARankAloneKnowsItsShareOfTheVocabulary) {
  saddle_engine_info_t info = {};
  info.vocab_size = 800;
  info.tp = 8;
  info.dp = 2;
  auto range = [&](std::optional<uint32_t> alone) {
    TokenRange found = tokensFor(info, alone);
    return std::pair(found.first, found.count);
  };
  using Range = std::pair<uint64_t, uint64_t>;
  EXPECT_EQ(range(std::nullopt), Range(0, 800));
  // Four ranks a replica: rank 6 is the third of the second one.
  EXPECT_EQ(range(6), Range(400, 200));
  for (int32_t token : someTokens(3, 1000, tokensFor(info, 6)))
    EXPECT_TRUE(token >= 400 && token < 600) << token;
  info.vocab_size = 801; // whole on every rank
  EXPECT_EQ(range(6), Range(0, 801));
}

TEST(BenchReportTest, TimesOfExchangesFollowTheTable) {
  auto linked = [](uint32_t ranks, uint64_t bytes,
                   saddle_exchange_t kind = SADDLE_EXCHANGE_SUM) {
    return exchangeTime(kind, ranks, bytes).linked;
  };
  EXPECT_EQ(linked(8, 6144, SADDLE_EXCHANGE_NONE), 0);
  EXPECT_EQ(linked(1, 6144), 0);
  // A row of the table (docs/benchmarks/exchange-8.json), between two, beyond.
  EXPECT_DOUBLE_EQ(linked(8, 6144), 4.221e-6);
  // Of 16384 bytes 4.725: a quarter of the way is a quarter of the difference.
  EXPECT_NEAR(linked(8, 6144 + (16384 - 6144) / 4), 4.347e-6, 1e-12);
  EXPECT_DOUBLE_EQ(linked(8, 128 << 20), 2 * linked(8, 64 << 20));
  // Below the smallest that there is, as the smallest.
  EXPECT_EQ(linked(8, 64, SADDLE_EXCHANGE_GATHER),
            linked(8, 16384, SADDLE_EXCHANGE_GATHER));
  // Groups that were not measured: three as four, sixteen as eight.
  EXPECT_EQ(linked(3, 6144), linked(4, 6144));
  EXPECT_EQ(linked(16, 6144), linked(8, 6144));
  EXPECT_EQ(linked(8, 64, SADDLE_EXCHANGE_ROWS), linked(8, 64));
}

TEST(BenchReportTest, BudgetsPutLayersTogetherInTheirOrder) {
  std::vector<Event> events = exchangeEvents();
  Event norm = events[0];
  norm.place = "layers.0.norm.2a"; // no number of a layer
  norm.kernel = "norm_0";
  norm.exchange = SADDLE_EXCHANGE_NONE;
  // 46 MB take 10 us; 1.5 GFLOP in e4m3 take one.
  norm.bytes = 46000000;
  norm.operations = norm.operationsE4M3 = 1.5e9;
  norm.functions = 2;
  norm.durationNs = 30000;
  Event products = norm;
  products.kernel = "products";
  products.operations = 0.79e11 + 1.5e9; // 100 us in bf16, one in e4m3
  Event other = norm;
  other.rank = 0;
  events.insert(events.begin() + 1, {norm, products, other});
  std::vector<BudgetRow> rows = budgetOf(events, 5, /*isAlone=*/false);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].place, "layers.*.o_proj");
  EXPECT_EQ(rows[0].launches, 2u);
  EXPECT_NEAR(rows[0].seconds, 8e-6, 1e-12);
  // What the table of exchanges says of each, and 0.8 us of tracing.
  EXPECT_NEAR(rows[0].predicted(), 2 * (4.221e-6 + 0.8e-6), 1e-9);
  EXPECT_EQ(rows[1].place, "layers.*.norm.2a");
  EXPECT_NEAR(rows[1].floorSeconds, 10e-6, 1e-12);
  // Two functions, 3.0 and 2.3 us, a stream of weights, 2.5 and a fifth of 10.
  EXPECT_NEAR(rows[1].latencySeconds, 9.8e-6, 1e-9);
  EXPECT_NEAR(rows[1].measuredLatency(), 20e-6, 1e-12);
  EXPECT_NEAR(rows[2].floorSeconds, 101e-6, 1e-9);
  // Alone, an exchange takes what it takes looped back.
  EXPECT_NEAR(budgetOf(events, 5, true)[0].predicted(),
              2 * (exchangeTime(SADDLE_EXCHANGE_SUM, 8, 6144).looped + 0.8e-6),
              1e-9);
  std::string table = budgetTable(rows, 1e-3);
  EXPECT_THAT(table, HasSubstr("| layers.*.o_proj | sum_1 | 2 x 1 | 0.012 | "));
  // Off by 26 % for 8 us, by 34 % for 30 and by much more for another 30.
  EXPECT_THAT(table, HasSubstr("1.000 ms as a graph. Predictions are off by "
                               "34 % (median, by time).\n"));
  Report report = reportOf("sm_90a", true);
  report.info.tp = 8;
  report.alone = 5;
  EXPECT_THAT(reportBudget(report),
              testing::StartsWith(
                  "### M, tp=8 dp=0 ep=0, rank 5 alone: decode, batch 2, "
                  "context 64\n\n| launch | kernel | launches x functions |"));
}

TEST(BenchReportTest, BudgetsSayWhyTimesPart) {
  auto reason = [](double floor, double latency, double seconds) {
    BudgetRow row;
    row.launches = 2;
    row.floorSeconds = floor * 2e-6;
    row.latencySeconds = latency * 2e-6;
    row.seconds = seconds * 2e-6;
    return reasonOf(row);
  };
  EXPECT_EQ(reason(10, 2, 12), "");
  EXPECT_EQ(reason(10, 2, 14.9), "");
  EXPECT_EQ(reason(10, 2, 20), "50 % of the machine's rate");
  EXPECT_EQ(reason(1, 3, 8), "waits 7.0 us instead of 3.0");
  EXPECT_EQ(reason(1, 9, 6), "waits less than 9.0 us");
}

TEST(BenchReportTest, TheCpuHasNeither) {
  std::string text = reportText(reportOf("cpu", false));
  EXPECT_THAT(text, Not(HasSubstr("device")));
  EXPECT_THAT(text, Not(HasSubstr("memory")));
  EXPECT_THAT(text, HasSubstr("    linear  "));
  auto json = nlohmann::json::parse(reportJson(reportOf("cpu", false)));
  EXPECT_FALSE(json["decode"][0].contains("device_seconds"));
  EXPECT_EQ(json["decode"][0]["ops"][0]["op"], "linear");
}

TEST(BenchReportTest, ExpertsThatWereHitAreShownWithEachFigureAndRow) {
  for (bool devices : {false, true}) {
    Report report = reportOf("any", devices, expertEvents());
    std::string text = reportText(report);
    // (210 + 225) / 2.
    EXPECT_THAT(text,
                HasSubstr("        routing: a launch's tokens chose 217.5 "
                          "of 256 experts (210 to 225), 222.5 if they "
                          "chose independently\n"));
    EXPECT_THAT(text, testing::ContainsRegex("    experts.* 3 x .*  217.5 of "
                                             "256 experts\n"));
    EXPECT_THAT(text, Not(testing::ContainsRegex("linear.*experts")));
    auto decode = nlohmann::json::parse(reportJson(report))["decode"][0];
    nlohmann::json spread = {
        {"held", 256},
        {"hit", {{"mean", 217.5}, {"min", 210}, {"max", 225}}},
        {"independent", 222.5}};
    EXPECT_EQ(decode["routing"], spread);
    const auto &rows = decode[devices ? "kernels" : "ops"];
    EXPECT_EQ(rows[0]["experts"], spread); // the longest
    EXPECT_FALSE(rows[1].contains("experts"));
  }
  EXPECT_FALSE(
      nlohmann::json::parse(reportJson(reportOf("any", true)))["decode"][0]
          .contains("routing"));
}

TEST(BenchReportTest, MoreThanMemoryDeliversIsAnError) {
  // 1 ms brings 4.6 GB from memory, and the cache may hold 50 MB.
  auto check = [](uint64_t bytes, bool devices = true) {
    Report report = reportOf("sm_90a", devices);
    KernelTime experts;
    experts.name = "experts_5";
    experts.launches = 2;
    experts.seconds = 2e-3;
    experts.bytes = 2 * bytes;
    report.decodeKernels[0].push_back(experts);
    report.prefill.push_back({1024, 5, report.decode[0].times});
    report.prefillKernels.push_back({});
    Status decode = checkShares(report);
    report.prefillKernels[0].swap(report.decodeKernels[0]);
    return std::make_pair(decode.message(), checkShares(report).message());
  };
  EXPECT_EQ(check(4'650'000'000), std::make_pair(std::string(), std::string()));
  EXPECT_EQ(check(5'110'000'000, false),
            std::make_pair(std::string(), std::string()));
  auto [decode, prefill] = check(5'110'000'000);
  std::string rest =
      ": kernel experts_5 moved 5110.000 MB in 1000.0 us a launch, "
      "of which at least 5060.000 MB come from memory: 5.06 TB/s, "
      "expected 4.6 at most; its bytes or its time are wrong, and "
      "no figure of this run counts";
  EXPECT_EQ(decode, "decode of batch 2 at context 64" + rest);
  EXPECT_EQ(prefill, "prefill of 1024 tokens" + rest);
}

} // namespace
} // namespace saddle::tools
