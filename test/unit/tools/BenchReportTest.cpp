// What saddle-bench makes of the events of a device.

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
