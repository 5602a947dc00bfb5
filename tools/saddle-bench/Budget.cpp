#include "tools/saddle-bench/Budget.h"

#include "tools/saddle-bench/Links.h"
#include "tools/saddle-bench/Report.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>

namespace saddle::tools {

namespace {
// What the model knows of an H200, as traced steps show it (docs/benchmarks.md,
// "The budget of a layer"). Rates are what products reach at best under the
// power limit.
constexpr double kBf16PerSecond = 0.79e15, kE4M3PerSecond = 1.5e15;
// A function that has next to nothing to do, with two round trips to memory one
// after the other; one more of the same launch; one more op in a function,
// which meets the op before it in a CTA or a cluster.
constexpr double kFirstFunction = 3.0e-6, kNextFunction = 2.3e-6,
                 kNextStep = 1.4e-6;
// Until loads of weights are under way everywhere, and from the last one to the
// end; and what streaming takes beyond its floor, as a share of that.
constexpr double kStreamSeconds = 2.5e-6, kStreamLoss = 0.2;
// Of a collective, what a traced step adds to one in a graph.
constexpr double kTracedCollective = 0.8e-6;
} // namespace

/// Numbers in a place become stars: places of all layers are one.
static std::string withoutNumbers(const std::string &place) {
  std::string result;
  for (size_t i = 0; i < place.size(); ++i) {
    bool begins = i == 0 || place[i - 1] == '.';
    size_t end = i;
    while (end < place.size() && std::isdigit((unsigned char)place[end]))
      ++end;
    if (begins && end > i && (end == place.size() || place[end] == '.')) {
      result += '*';
      i = end - 1;
    } else {
      result += place[i];
    }
  }
  return result;
}

static double floorOf(const Event &event) {
  double memory = double(event.bytes) / kDeviceBytesPerSecond;
  double products = (event.operations - event.operationsE4M3) / kBf16PerSecond +
                    event.operationsE4M3 / kE4M3PerSecond;
  return std::max(memory, products);
}

static double latencyOf(const Event &event, bool isAlone) {
  ExchangeTime exchange =
      exchangeTime(event.exchange, event.exchangeRanks, event.exchangeBytes);
  double exchanged = isAlone ? exchange.looped : exchange.linked;
  // The measured time of a collective holds what its bytes take.
  if (event.exchange != SADDLE_EXCHANGE_NONE &&
      event.exchange != SADDLE_EXCHANGE_ROWS)
    return std::max(exchanged + kTracedCollective - floorOf(event), 0.0);
  if (event.functions == 0)
    return exchanged;
  double latency = kFirstFunction + double(event.functions - 1) * kNextFunction;
  // Two ops of a function do not wait: add and norm, norm and product.
  if (event.steps > event.functions + 1)
    latency += double(event.steps - event.functions - 1) * kNextStep;
  if (event.operations > 0)
    latency += kStreamSeconds + kStreamLoss * floorOf(event);
  // The exchange is a hop within a function, not a launch of its own.
  return isAlone ? latency : latency + exchange.missing();
}

std::vector<BudgetRow> budgetOf(const std::vector<Event> &events, uint32_t rank,
                                bool isAlone) {
  std::vector<BudgetRow> rows;
  for (const Event &event : events) {
    if (event.rank != rank)
      continue;
    std::string place = withoutNumbers(event.place);
    auto row = std::find_if(rows.begin(), rows.end(), [&](const BudgetRow &r) {
      return r.place == place && r.kernel == event.kernel;
    });
    if (row == rows.end()) {
      rows.push_back({place, event.kernel, event.op});
      row = rows.end() - 1;
      row->functions = event.functions;
    }
    ++row->launches;
    row->bytes += event.bytes;
    row->operations += event.operations;
    row->operationsE4M3 += event.operationsE4M3;
    row->floorSeconds += floorOf(event);
    row->latencySeconds += latencyOf(event, isAlone);
    row->seconds += double(event.durationNs) * 1e-9;
  }
  return rows;
}

std::string reasonOf(const BudgetRow &row) {
  if (std::fabs(row.seconds - row.predicted()) <= 0.2 * row.seconds)
    return "";
  char text[96];
  bool isFaster = row.seconds < row.predicted();
  if (isFaster)
    std::snprintf(text, sizeof text, "waits less than %.1f us",
                  row.latencySeconds * 1e6 / double(row.launches));
  else if (row.floorSeconds > 0.5 * row.predicted())
    std::snprintf(text, sizeof text, "%.0f %% of the machine's rate",
                  100 * row.floorSeconds / row.seconds);
  else
    std::snprintf(text, sizeof text, "waits %.1f us instead of %.1f",
                  row.measuredLatency() * 1e6 / double(row.launches),
                  row.latencySeconds * 1e6 / double(row.launches));
  return text;
}

/// Of (value, weight): the value that half of the weight is below.
static double medianByWeight(std::vector<std::pair<double, double>> values) {
  std::sort(values.begin(), values.end());
  double half = 0;
  for (auto [value, weight] : values)
    half += weight / 2;
  for (auto [value, weight] : values)
    if ((half -= weight) <= 0)
      return value;
  return 0;
}

std::string budgetTable(const std::vector<BudgetRow> &rows,
                        double deviceSeconds) {
  std::string text =
      "| launch | kernel | launches x functions | MB | GFLOP | floor us | "
      "waits us | predicted us | measured us | why they part |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
  char line[512];
  double floor = 0, predicted = 0, seconds = 0;
  std::vector<std::pair<double, double>> errors; // with the time they count for
  for (const BudgetRow &row : rows) {
    double launches = double(row.launches);
    text += "| " + row.place + " | " + row.kernel;
    std::snprintf(
        line, sizeof line,
        " | %llu x %u | %.3f | %.3f | %.1f | %.1f | %.1f | %.1f | %s |\n",
        (unsigned long long)row.launches, row.functions,
        double(row.bytes) * 1e-6 / launches, row.operations * 1e-9 / launches,
        row.floorSeconds * 1e6 / launches, row.latencySeconds * 1e6 / launches,
        row.predicted() * 1e6 / launches, row.seconds * 1e6 / launches,
        reasonOf(row).c_str());
    text += line;
    floor += row.floorSeconds;
    predicted += row.predicted();
    seconds += row.seconds;
    errors.emplace_back(std::fabs(row.predicted() - row.seconds) / row.seconds,
                        row.seconds);
  }
  std::snprintf(line, sizeof line,
                "\nA step: floor %.3f ms, predicted %.3f ms, %.3f ms launch by "
                "launch, %.3f ms as a graph. Predictions are off by %.0f %% "
                "(median, by time).\n",
                floor * 1e3, predicted * 1e3, seconds * 1e3,
                deviceSeconds * 1e3, 100 * medianByWeight(errors));
  return text + line;
}

} // namespace saddle::tools
