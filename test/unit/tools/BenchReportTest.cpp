// What saddle-bench makes of the events of a device.

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
                  43000000, 100,        20000};
  Event other = linear, norm = linear, elsewhere = linear;
  other.place = "layers.1.o_proj";
  norm.op = "rms_norm";
  norm.kernel = "rms_norm_0";
  norm.bytes = 4300;
  norm.durationNs = 10000;
  elsewhere.rank = 1;
  elsewhere.durationNs = 1000000;
  return {linear, norm, other, elsewhere};
}

/// Devices alone measure times of their own.
Report reportOf(const char *target, bool devices) {
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
  report.decodeKernels.push_back(sumByKernel(someEvents(), report.onDevices()));
  return report;
}

TEST(BenchReportTest, KernelsOfRankZeroAreSummed) {
  std::vector<KernelTime> kernels = sumByKernel(someEvents(), true);
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_EQ(kernels[0].name, "linear_3");
  EXPECT_EQ(kernels[0].op, "linear");
  EXPECT_EQ(kernels[0].launches, 2u);
  EXPECT_DOUBLE_EQ(kernels[0].seconds, 40e-6);
  EXPECT_EQ(kernels[0].bytes, 86000000u);
  EXPECT_EQ(kernels[1].name, "rms_norm_0");
  EXPECT_EQ(sumByKernel(someEvents(), false)[1].name, "rms_norm");
}

TEST(BenchReportTest, DevicesHaveTimesAndShares) {
  std::string text = reportText(reportOf("sm_90a", true));
  EXPECT_THAT(text, HasSubstr("decode  batch 2, context 64: 2.000 ms per step "
                              "(1.000 to 3.000, 5 steps), 1000.0 tokens/s\n"
                              "        on the device 1.500 ms (0.900 to "
                              "2.500)\n"));
  // 43 MB take 10 us at 4.3 TB/s, half of the 20 us that a launch took; 4300
  // bytes take 1 ns of 10 us.
  EXPECT_THAT(text,
              HasSubstr("    linear_3                      2 x       20.0 us   "
                        "80.0 %     43.000 MB   50.0 % of memory\n"));
  EXPECT_THAT(text,
              HasSubstr("    rms_norm_0                    1 x       10.0 us   "
                        "20.0 %      0.004 MB    0.0 % of memory\n"));
  auto json = nlohmann::json::parse(reportJson(reportOf("sm_90a", true)));
  const auto &decode = json["decode"][0];
  EXPECT_EQ(decode["device_seconds"]["median"], 1.5e-3);
  EXPECT_EQ(decode["kernels"][0]["kernel"], "linear_3");
  EXPECT_EQ(decode["kernels"][0]["bytes"], 86000000);
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

} // namespace
} // namespace saddle::tools
