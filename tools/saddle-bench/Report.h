// Measurements as text, JSON and Chrome traces.

#ifndef SADDLE_TOOLS_SADDLE_BENCH_REPORT_H
#define SADDLE_TOOLS_SADDLE_BENCH_REPORT_H

#include "tools/saddle-bench/Budget.h"
#include "tools/saddle-bench/Speculation.h"

namespace saddle::tools {

/// How tokens spread over the experts that a rank holds, over some launches.
struct Spread {
  uint64_t held = 0;            // 0: the launches are not of experts
  uint64_t least = 0, most = 0; // that the tokens of one launch chose
  double mean = 0;
  /// What the mean would be if all choices were independent and even.
  double independent = 0;
};

/// The traced step of one measurement on one rank, by kernel or by op.
struct KernelTime {
  std::string name;
  std::string op;
  uint64_t launches = 0;
  double seconds = 0;
  uint64_t bytes = 0; // that it must move at least, an estimate
  Spread experts = {};
};

/// What an H200's memory delivers at best to a kernel that only reads: 4.6 TB/s
/// of the 4.8 on paper. A kernel's share of it is its bytes at this rate, over
/// its time.
constexpr double kDeviceBytesPerSecond = 4.6e12;
/// What a launch may find in the L2 cache in place of memory: all of an H200's.
constexpr double kDeviceCacheBytes = 50e6;

/// All measurements of one run of the tool.
struct Report {
  saddle_engine_info_t info;
  uint64_t kvTokens = 0; // that an attention replica's pages hold
  double loadSeconds = 0;
  std::vector<DecodeResult> decode;
  std::vector<std::vector<KernelTime>> decodeKernels; // as `decode`
  std::vector<PrefillResult> prefill;
  std::vector<std::vector<KernelTime>> prefillKernels;
  std::vector<Spread> decodeSpreads, prefillSpreads; // likewise
  std::vector<SpeculationResult> chains;             // without drafted tokens
  std::vector<std::vector<BudgetRow>> decodeBudgets, prefillBudgets;
  /// The rank that ran alone; its exchanges came back to it, and links would
  /// take these seconds more in each measurement.
  std::optional<uint32_t> alone;
  std::vector<double> decodeLinks, prefillLinks;
  std::vector<SpeculationResult> speculation;

  /// The rank that tables are of.
  uint32_t rank() const { return alone.value_or(0); }
  /// Whether devices did the work: only they have times of their own.
  bool onDevices() const;
};

/// Sums a rank's events by kernel where there are devices, else by op; the
/// longest first.
std::vector<KernelTime> sumByKernel(const std::vector<Event> &events,
                                    bool onDevices, uint32_t rank = 0);

/// Over all launches of experts of a rank.
Spread spreadOf(const std::vector<Event> &events, uint32_t rank = 0);

/// What links add to the exchanges of a rank that ran alone.
double linkSecondsOf(const std::vector<Event> &events, uint32_t rank);

/// Internal when a kernel would have to be faster than memory and cache: then
/// its time or its bytes are wrong, and with them the figures.
Status checkShares(const Report &report);

std::string reportText(const Report &report);
/// The budget of every measurement, as Markdown.
std::string reportBudget(const Report &report);
std::string reportJson(const Report &report);

/// The events in the JSON that chrome://tracing and Perfetto read: one row per
/// rank, microseconds from the first event.
std::string chromeTrace(const std::vector<Event> &events);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_BENCH_REPORT_H
