// Measurements as text, JSON and Chrome traces.

#ifndef SADDLE_TOOLS_SADDLE_BENCH_REPORT_H
#define SADDLE_TOOLS_SADDLE_BENCH_REPORT_H

#include "tools/saddle-bench/Measure.h"

namespace saddle::tools {

/// The traced step of one measurement, by op on rank 0.
struct OpTime {
  std::string op;
  uint64_t launches = 0;
  double seconds = 0;
};

/// All measurements of one run of the tool.
struct Report {
  saddle_engine_info_t info;
  double loadSeconds = 0;
  std::vector<DecodeResult> decode;
  std::vector<std::vector<OpTime>> decodeOps; // one per entry of `decode`
  std::vector<PrefillResult> prefill;
  std::vector<std::vector<OpTime>> prefillOps;
};

/// Sums rank 0's events by op, the longest first.
std::vector<OpTime> sumByOp(const std::vector<Event> &events);

std::string reportText(const Report &report);
std::string reportJson(const Report &report);

/// The events in the JSON that chrome://tracing and Perfetto read: one row per
/// rank, microseconds from the first event.
std::string chromeTrace(const std::vector<Event> &events);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_BENCH_REPORT_H
