#include "tools/saddle-bench/Report.h"

#include "tools/saddle-bench/Links.h"
#include "tools/support/Print.h"

#include <algorithm>
#include <cstdarg>
#include <map>
#include <nlohmann/json.hpp>

namespace saddle::tools {

using Json = nlohmann::ordered_json;

bool Report::onDevices() const {
  auto measured = [](const auto &result) {
    return result.times.device.most > 0;
  };
  return std::any_of(decode.begin(), decode.end(), measured) ||
         std::any_of(prefill.begin(), prefill.end(), measured);
}

namespace {
/// Collects a Spread.
class SpreadSum {
public:
  void add(const Event &event) {
    // A replica without tokens has no choices.
    if (event.expertsIndependent == 0)
      return;
    uint64_t hit = event.expertsHit;
    least = launches == 0 ? hit : std::min(least, hit);
    most = std::max(most, hit);
    held = std::max(held, event.expertsHeld);
    hits += double(hit);
    independent += event.expertsIndependent;
    ++launches;
  }
  Spread result() const {
    double count = double(std::max<uint64_t>(launches, 1));
    return {held, least, most, hits / count, independent / count};
  }

private:
  uint64_t launches = 0, held = 0, least = 0, most = 0;
  double hits = 0, independent = 0;
};
} // namespace

Spread spreadOf(const std::vector<Event> &events, uint32_t rank) {
  SpreadSum sum;
  for (const Event &event : events)
    if (event.rank == rank)
      sum.add(event);
  return sum.result();
}

double linkSecondsOf(const std::vector<Event> &events, uint32_t rank) {
  double seconds = 0;
  for (const Event &event : events)
    if (event.rank == rank)
      seconds +=
          exchangeTime(event.exchange, event.exchangeRanks, event.exchangeBytes)
              .missing();
  return seconds;
}

std::vector<KernelTime> sumByKernel(const std::vector<Event> &events,
                                    bool onDevices, uint32_t rank) {
  std::vector<KernelTime> sums;
  std::map<std::string, SpreadSum> spreads;
  for (const Event &event : events) {
    if (event.rank != rank)
      continue;
    const std::string &name = onDevices ? event.kernel : event.op;
    auto sum =
        std::find_if(sums.begin(), sums.end(), [&](const KernelTime &known) {
          return known.name == name;
        });
    if (sum == sums.end()) {
      sums.push_back({name, event.op});
      sum = sums.end() - 1;
    }
    ++sum->launches;
    sum->seconds += double(event.durationNs) * 1e-9;
    sum->bytes += event.bytes;
    spreads[name].add(event);
  }
  for (KernelTime &sum : sums)
    sum.experts = spreads[sum.name].result();
  std::sort(
      sums.begin(), sums.end(), [](const KernelTime &a, const KernelTime &b) {
        return a.seconds != b.seconds ? a.seconds > b.seconds : a.name < b.name;
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

/// The share of what memory can deliver that a kernel's bytes and time make.
static double floorShare(const KernelTime &kernel) {
  return kernel.seconds > 0
             ? double(kernel.bytes) / kDeviceBytesPerSecond / kernel.seconds
             : 0;
}

Status checkShares(const Report &report) {
  auto check = [](const std::vector<KernelTime> &kernels,
                  const std::string &what) -> Status {
    for (const KernelTime &kernel : kernels) {
      double launches = double(kernel.launches);
      double fromMemory = double(kernel.bytes) - launches * kDeviceCacheBytes;
      if (fromMemory <= kernel.seconds * kDeviceBytesPerSecond)
        continue;
      return makeError(
          StatusCode::Internal,
          "%s: kernel %s moved %.3f MB in %.1f us a launch, of which at least "
          "%.3f MB come from memory: %.2f TB/s, expected %.1f at most; its "
          "bytes or its time are wrong, and no figure of this run counts",
          what.c_str(), kernel.name.c_str(),
          double(kernel.bytes) * 1e-6 / launches,
          kernel.seconds * 1e6 / launches, fromMemory * 1e-6 / launches,
          fromMemory / kernel.seconds * 1e-12, kDeviceBytesPerSecond * 1e-12);
    }
    return {};
  };
  if (!report.onDevices())
    return {};
  for (size_t i = 0; i < report.decode.size(); ++i)
    SADDLE_RETURN_IF_ERROR(
        check(report.decodeKernels[i],
              "decode of batch " + std::to_string(report.decode[i].batch) +
                  " at context " + std::to_string(report.decode[i].context)));
  for (size_t i = 0; i < report.prefill.size(); ++i)
    SADDLE_RETURN_IF_ERROR(check(
        report.prefillKernels[i],
        "prefill of " + std::to_string(report.prefill[i].tokens) + " tokens"));
  return {};
}

static void appendKernels(std::string &text,
                          const std::vector<KernelTime> &kernels,
                          bool onDevices) {
  double total = 0;
  for (const KernelTime &kernel : kernels)
    total += kernel.seconds;
  for (const KernelTime &kernel : kernels) {
    append(text, "    %-24s %6llu x %10.1f us  %5.1f %%", kernel.name.c_str(),
           (unsigned long long)kernel.launches,
           kernel.seconds * 1e6 / double(kernel.launches),
           100 * kernel.seconds / total);
    if (onDevices)
      append(text, "  %9.3f MB  %5.1f %% of memory",
             double(kernel.bytes) * 1e-6 / double(kernel.launches),
             100 * floorShare(kernel));
    if (kernel.experts.held)
      append(text, "  %.1f of %llu experts", kernel.experts.mean,
             (unsigned long long)kernel.experts.held);
    append(text, "\n");
  }
}

static void appendDevice(std::string &text, const StepTimes &times,
                         bool onDevices) {
  if (onDevices)
    append(text, "        on the device %.3f ms (%.3f to %.3f)\n",
           times.device.median * 1e3, times.device.least * 1e3,
           times.device.most * 1e3);
}

/// What the step of a rank that ran alone would take with its peers.
static double withLinks(const StepTimes &times, double links) {
  return times.device.median + links;
}

static void appendLinks(std::string &text, const Report &report,
                        const StepTimes &times, double links) {
  if (report.alone)
    append(text,
           "        %.3f ms predicted on the devices of all ranks: links take "
           "%.3f ms more, by measured exchanges\n",
           withLinks(times, links) * 1e3, links * 1e3);
}

static void appendRouting(std::string &text, const Spread &spread) {
  if (spread.held)
    append(
        text,
        "        routing: a launch's tokens chose %.1f of %llu experts (%llu "
        "to %llu), %.1f if they chose independently\n",
        spread.mean, (unsigned long long)spread.held,
        (unsigned long long)spread.least, (unsigned long long)spread.most,
        spread.independent);
}

std::string reportText(const Report &report) {
  std::string text;
  const saddle_engine_info_t &info = report.info;
  append(text,
         "%s, tp=%u dp=%u ep=%u pp=%u, compute %s, KV %s, loaded in %.2f s\n",
         info.architecture, info.tp, info.dp, info.ep, info.pp,
         info.compute_dtype, info.kv_dtype, report.loadSeconds);
  if (report.alone)
    append(text,
           "rank %u of %u alone, its exchanges looped back: times are of its "
           "kernels, what it computes is no model's output\n",
           *report.alone, info.world_size);
  for (size_t i = 0; i < report.decode.size(); ++i) {
    const DecodeResult &result = report.decode[i];
    append(text,
           "decode  batch %llu, context %llu: %.3f ms per step (%.3f to %.3f, "
           "%llu steps), %.1f tokens/s\n",
           (unsigned long long)result.batch, (unsigned long long)result.context,
           result.times.seconds.median * 1e3, result.times.seconds.least * 1e3,
           result.times.seconds.most * 1e3, (unsigned long long)result.steps,
           double(result.batch) / result.times.seconds.median);
    appendDevice(text, result.times, report.onDevices());
    if (report.alone)
      appendLinks(text, report, result.times, report.decodeLinks[i]);
    appendRouting(text, report.decodeSpreads[i]);
    appendKernels(text, report.decodeKernels[i], report.onDevices());
  }
  for (size_t i = 0; i < report.prefill.size(); ++i) {
    const PrefillResult &result = report.prefill[i];
    append(text,
           "prefill %llu tokens: %.3f ms (%.3f to %.3f, %llu runs), %.1f "
           "tokens/s\n",
           (unsigned long long)result.tokens, result.times.seconds.median * 1e3,
           result.times.seconds.least * 1e3, result.times.seconds.most * 1e3,
           (unsigned long long)result.repeats,
           double(result.tokens) / result.times.seconds.median);
    appendDevice(text, result.times, report.onDevices());
    if (report.alone)
      appendLinks(text, report, result.times, report.prefillLinks[i]);
    appendRouting(text, report.prefillSpreads[i]);
    appendKernels(text, report.prefillKernels[i], report.onDevices());
  }
  for (const SpeculationResult &result : report.chains) {
    append(text,
           "decode in chains of %llu steps, batch %llu, context %llu: %.3f ms "
           "per step (%.3f to %.3f, %llu steps)\n",
           (unsigned long long)result.chained, (unsigned long long)result.batch,
           (unsigned long long)result.context, result.round.median * 1e3,
           result.round.least * 1e3, result.round.most * 1e3,
           (unsigned long long)result.rounds);
    appendDevice(text, {result.round, result.device}, report.onDevices());
  }
  for (const SpeculationResult &result : report.speculation) {
    append(text,
           "speculation of %llu tokens, batch %llu, context %llu: %.3f ms per "
           "round (%.3f to %.3f, %llu rounds), verify %.3f ms, draft %.3f ms\n",
           (unsigned long long)result.drafted, (unsigned long long)result.batch,
           (unsigned long long)result.context, result.round.median * 1e3,
           result.round.least * 1e3, result.round.most * 1e3,
           (unsigned long long)result.rounds, result.verify.median * 1e3,
           result.draft.median * 1e3);
    if (result.chained > 1) {
      append(text, "        in chains of %llu rounds\n",
             (unsigned long long)result.chained);
      appendDevice(text, {result.round, result.device}, report.onDevices());
    }
    append(text,
           "        accepted %.1f %%%s, %.2f tokens a round: %.3f ms per "
           "token, %.1f tokens/s\n",
           100 * result.acceptance,
           result.fixedAcceptance ? " (fixed: the text means nothing)" : "",
           result.acceptedLength, result.secondsPerToken() * 1e3,
           double(result.batch) / result.secondsPerToken());
  }
  return printable(text, /*indent=*/"");
}

static Json spreadJson(const Spread &spread) {
  return {
      {"held", spread.held},
      {"hit",
       {{"mean", spread.mean}, {"min", spread.least}, {"max", spread.most}}},
      {"independent", spread.independent}};
}

/// Under "ops" or, on devices, "kernels".
static void addKernels(Json &json, const std::vector<KernelTime> &kernels,
                       bool onDevices) {
  Json list = Json::array();
  for (const KernelTime &kernel : kernels) {
    Json entry;
    if (onDevices)
      entry["kernel"] = kernel.name;
    entry["op"] = kernel.op;
    entry["launches"] = kernel.launches;
    entry["seconds"] = kernel.seconds;
    if (onDevices) {
      entry["bytes"] = kernel.bytes;
      entry["memory_share"] = floorShare(kernel);
    }
    if (kernel.experts.held)
      entry["experts"] = spreadJson(kernel.experts);
    list.push_back(std::move(entry));
  }
  json[onDevices ? "kernels" : "ops"] = std::move(list);
}

static Json budgetJson(const std::vector<BudgetRow> &rows) {
  Json list = Json::array();
  for (const BudgetRow &row : rows)
    list.push_back({{"place", row.place},
                    {"kernel", row.kernel},
                    {"op", row.op},
                    {"launches", row.launches},
                    {"functions", row.functions},
                    {"bytes", row.bytes},
                    {"operations", row.operations},
                    {"operations_e4m3", row.operationsE4M3},
                    {"floor_seconds", row.floorSeconds},
                    {"latency_seconds", row.latencySeconds},
                    {"predicted_seconds", row.predicted()},
                    {"seconds", row.seconds}});
  return list;
}

static double floorOf(const std::vector<BudgetRow> &rows) {
  double seconds = 0;
  for (const BudgetRow &row : rows)
    seconds += row.floorSeconds;
  return seconds;
}

/// What only devices have.
static void addDevice(Json &json, const Report &report, const StepTimes &times,
                      const std::vector<BudgetRow> &budget, double links) {
  if (!report.onDevices())
    return;
  json["floor_seconds"] = floorOf(budget);
  json["budget"] = budgetJson(budget);
  if (!report.alone)
    return;
  json["link_seconds"] = links;
  json["predicted_seconds"] = withLinks(times, links);
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
  if (report.alone)
    json["alone"] = *report.alone;
  json["kv_tokens"] = report.kvTokens;
  json["load_seconds"] = report.loadSeconds;
  json["decode"] = Json::array();
  for (size_t i = 0; i < report.decode.size(); ++i) {
    const DecodeResult &result = report.decode[i];
    Json entry = {{"batch", result.batch},
                  {"context", result.context},
                  {"steps", result.steps},
                  {"step_seconds", secondsJson(result.times.seconds)}};
    if (report.onDevices())
      entry["device_seconds"] = secondsJson(result.times.device);
    entry["tokens_per_second"] =
        double(result.batch) / result.times.seconds.median;
    if (report.decodeSpreads[i].held)
      entry["routing"] = spreadJson(report.decodeSpreads[i]);
    addKernels(entry, report.decodeKernels[i], report.onDevices());
    addDevice(entry, report, result.times, report.decodeBudgets[i],
              report.alone ? report.decodeLinks[i] : 0);
    json["decode"].push_back(std::move(entry));
  }
  json["prefill"] = Json::array();
  for (size_t i = 0; i < report.prefill.size(); ++i) {
    const PrefillResult &result = report.prefill[i];
    Json entry = {{"tokens", result.tokens},
                  {"runs", result.repeats},
                  {"seconds", secondsJson(result.times.seconds)}};
    if (report.onDevices())
      entry["device_seconds"] = secondsJson(result.times.device);
    entry["tokens_per_second"] =
        double(result.tokens) / result.times.seconds.median;
    if (report.prefillSpreads[i].held)
      entry["routing"] = spreadJson(report.prefillSpreads[i]);
    addKernels(entry, report.prefillKernels[i], report.onDevices());
    addDevice(entry, report, result.times, report.prefillBudgets[i],
              report.alone ? report.prefillLinks[i] : 0);
    json["prefill"].push_back(std::move(entry));
  }
  for (const SpeculationResult &result : report.chains)
    json["chains"].push_back({{"batch", result.batch},
                              {"context", result.context},
                              {"steps", result.rounds},
                              {"chained", result.chained},
                              {"step_seconds", secondsJson(result.round)},
                              {"device_seconds", secondsJson(result.device)}});
  for (const SpeculationResult &result : report.speculation) {
    Json entry = {{"batch", result.batch},
                  {"context", result.context},
                  {"rounds", result.rounds},
                  {"spec_tokens", result.drafted},
                  {"round_seconds", secondsJson(result.round)},
                  {"verify_seconds", secondsJson(result.verify)},
                  {"draft_seconds", secondsJson(result.draft)},
                  {"chained", result.chained},
                  {"acceptance", result.acceptance},
                  {"acceptance_is_fixed", result.fixedAcceptance.has_value()},
                  {"accepted_length", result.acceptedLength},
                  {"seconds_per_token", result.secondsPerToken()}};
    json["speculation"].push_back(std::move(entry));
  }
  return jsonText(json, 2);
}

std::string reportBudget(const Report &report) {
  std::string text;
  const saddle_engine_info_t &info = report.info;
  std::string engine =
      std::string(info.architecture) + ", tp=" + std::to_string(info.tp) +
      " dp=" + std::to_string(info.dp) + " ep=" + std::to_string(info.ep);
  if (report.alone)
    engine += ", rank " + std::to_string(*report.alone) + " alone";
  for (size_t i = 0; i < report.decode.size(); ++i)
    text += "### " + engine + ": decode, batch " +
            std::to_string(report.decode[i].batch) + ", context " +
            std::to_string(report.decode[i].context) + "\n\n" +
            budgetTable(report.decodeBudgets[i],
                        report.decode[i].times.device.median) +
            "\n";
  for (size_t i = 0; i < report.prefill.size(); ++i)
    text += "### " + engine + ": prefill, " +
            std::to_string(report.prefill[i].tokens) + " tokens\n\n" +
            budgetTable(report.prefillBudgets[i],
                        report.prefill[i].times.device.median) +
            "\n";
  return printable(text, /*indent=*/"");
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
  for (const Event &event : events) {
    list.push_back({{"name", event.op},
                    {"cat", event.entry},
                    {"ph", "X"},
                    {"pid", 0},
                    {"tid", event.rank},
                    {"ts", double(event.startNs - origin) / 1000},
                    {"dur", double(event.durationNs) / 1000},
                    {"args",
                     {{"location", event.place},
                      {"entry", event.entry},
                      {"kernel", event.kernel},
                      {"tokens", event.tokens},
                      {"bytes", event.bytes}}}});
    if (event.expertsHeld) {
      list.back()["args"]["experts_held"] = event.expertsHeld;
      list.back()["args"]["experts_hit"] = event.expertsHit;
    }
  }
  return jsonText({{"traceEvents", list}, {"displayTimeUnit", "ns"}}, -1);
}

} // namespace saddle::tools
