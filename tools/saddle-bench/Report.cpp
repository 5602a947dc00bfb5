#include "tools/saddle-bench/Report.h"

#include <algorithm>
#include <cstdarg>
#include <nlohmann/json.hpp>

namespace saddle::tools {

using Json = nlohmann::ordered_json;

std::vector<OpTime> sumByOp(const std::vector<Event> &events) {
  std::vector<OpTime> sums;
  for (const Event &event : events) {
    if (event.rank != 0)
      continue;
    auto sum = std::find_if(sums.begin(), sums.end(), [&](const OpTime &known) {
      return known.op == event.op;
    });
    if (sum == sums.end()) {
      sums.push_back({event.op});
      sum = sums.end() - 1;
    }
    ++sum->launches;
    sum->seconds += double(event.durationNs) * 1e-9;
  }
  std::sort(sums.begin(), sums.end(), [](const OpTime &a, const OpTime &b) {
    return a.seconds != b.seconds ? a.seconds > b.seconds : a.op < b.op;
  });
  return sums;
}

[[gnu::format(printf, 2, 3)]] static void append(std::string &text,
                                                 const char *format, ...) {
  char line[256];
  va_list args;
  va_start(args, format);
  std::vsnprintf(line, sizeof line, format, args);
  va_end(args);
  text += line;
}

static void appendOps(std::string &text, const std::vector<OpTime> &ops) {
  double total = 0;
  for (const OpTime &op : ops)
    total += op.seconds;
  for (const OpTime &op : ops)
    append(text, "    %-20s %6llu x %10.1f us  %5.1f %%\n", op.op.c_str(),
           (unsigned long long)op.launches,
           op.seconds * 1e6 / double(op.launches), 100 * op.seconds / total);
}

std::string reportText(const Report &report) {
  std::string text;
  const saddle_engine_info_t &info = report.info;
  append(text,
         "%s, tp=%u dp=%u ep=%u pp=%u, compute %s, KV %s, loaded in %.2f s\n",
         info.architecture, info.tp, info.dp, info.ep, info.pp,
         info.compute_dtype, info.kv_dtype, report.loadSeconds);
  for (size_t i = 0; i < report.decode.size(); ++i) {
    const DecodeResult &result = report.decode[i];
    append(text,
           "decode  batch %llu, context %llu: %.3f ms per step (%.3f to %.3f, "
           "%llu steps), %.1f tokens/s\n",
           (unsigned long long)result.batch, (unsigned long long)result.context,
           result.seconds.median * 1e3, result.seconds.least * 1e3,
           result.seconds.most * 1e3, (unsigned long long)result.steps,
           double(result.batch) / result.seconds.median);
    appendOps(text, report.decodeOps[i]);
  }
  for (size_t i = 0; i < report.prefill.size(); ++i) {
    const PrefillResult &result = report.prefill[i];
    append(text,
           "prefill %llu tokens: %.3f ms (%.3f to %.3f, %llu runs), %.1f "
           "tokens/s\n",
           (unsigned long long)result.tokens, result.seconds.median * 1e3,
           result.seconds.least * 1e3, result.seconds.most * 1e3,
           (unsigned long long)result.repeats,
           double(result.tokens) / result.seconds.median);
    appendOps(text, report.prefillOps[i]);
  }
  return text;
}

static Json opsJson(const std::vector<OpTime> &ops) {
  Json list = Json::array();
  for (const OpTime &op : ops)
    list.push_back(
        {{"op", op.op}, {"launches", op.launches}, {"seconds", op.seconds}});
  return list;
}

static Json secondsJson(const Distribution &seconds) {
  return {{"median", seconds.median},
          {"min", seconds.least},
          {"max", seconds.most}};
}

std::string reportJson(const Report &report) {
  const saddle_engine_info_t &info = report.info;
  Json json;
  json["engine"] = {{"architecture", info.architecture},
                    {"model", info.model_name},
                    {"target", info.target},
                    {"compute_dtype", info.compute_dtype},
                    {"kv_dtype", info.kv_dtype},
                    {"tp", info.tp},
                    {"dp", info.dp},
                    {"ep", info.ep},
                    {"pp", info.pp},
                    {"world_size", info.world_size}};
  json["load_seconds"] = report.loadSeconds;
  json["decode"] = Json::array();
  for (size_t i = 0; i < report.decode.size(); ++i) {
    const DecodeResult &result = report.decode[i];
    json["decode"].push_back(
        {{"batch", result.batch},
         {"context", result.context},
         {"steps", result.steps},
         {"step_seconds", secondsJson(result.seconds)},
         {"tokens_per_second", double(result.batch) / result.seconds.median},
         {"ops", opsJson(report.decodeOps[i])}});
  }
  json["prefill"] = Json::array();
  for (size_t i = 0; i < report.prefill.size(); ++i) {
    const PrefillResult &result = report.prefill[i];
    json["prefill"].push_back(
        {{"tokens", result.tokens},
         {"runs", result.repeats},
         {"seconds", secondsJson(result.seconds)},
         {"tokens_per_second", double(result.tokens) / result.seconds.median},
         {"ops", opsJson(report.prefillOps[i])}});
  }
  return json.dump(2) + "\n";
}

std::string chromeTrace(const std::vector<Event> &events) {
  uint64_t origin = ~uint64_t(0);
  uint32_t ranks = 0;
  for (const Event &event : events) {
    origin = std::min(origin, event.startNs);
    ranks = std::max(ranks, event.rank + 1);
  }
  Json list = Json::array();
  for (uint32_t rank = 0; rank < ranks; ++rank)
    list.push_back({{"name", "thread_name"},
                    {"ph", "M"},
                    {"pid", 0},
                    {"tid", rank},
                    {"args", {{"name", "rank " + std::to_string(rank)}}}});
  for (const Event &event : events)
    list.push_back({{"name", event.op},
                    {"cat", event.entry},
                    {"ph", "X"},
                    {"pid", 0},
                    {"tid", event.rank},
                    {"ts", double(event.startNs - origin) / 1000},
                    {"dur", double(event.durationNs) / 1000},
                    {"args",
                     {{"location", event.location},
                      {"entry", event.entry},
                      {"tokens", event.tokens}}}});
  return Json({{"traceEvents", list}, {"displayTimeUnit", "ns"}}).dump() + "\n";
}

} // namespace saddle::tools
