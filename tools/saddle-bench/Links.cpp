#include "tools/saddle-bench/Links.h"

namespace saddle::tools {

namespace {
struct Measured {
  saddle_exchange_t kind;
  uint32_t ranks;
  uint64_t bytes;
  double linked, looped; // microseconds
};
// By kind, ranks and bytes.
constexpr Measured kMeasured[] = {
#include "tools/saddle-bench/LinkTimes.inc"
};
} // namespace

/// The measured group that stands for one of `ranks`: none that is smaller, if
/// there is one.
static uint32_t groupFor(saddle_exchange_t kind, uint32_t ranks) {
  uint32_t largest = 0;
  for (const Measured &row : kMeasured)
    if (row.kind == kind) {
      largest = row.ranks;
      if (row.ranks >= ranks)
        break;
    }
  return largest;
}

ExchangeTime exchangeTime(saddle_exchange_t kind, uint32_t ranks,
                          uint64_t bytes) {
  if (kind == SADDLE_EXCHANGE_NONE || ranks < 2)
    return {};
  // Numbers of rows are packets as those of a small sum.
  if (kind == SADDLE_EXCHANGE_ROWS)
    kind = SADDLE_EXCHANGE_SUM;
  const uint32_t group = groupFor(kind, ranks);
  const Measured *below = nullptr, *above = nullptr;
  for (const Measured &row : kMeasured) {
    if (row.kind != kind || row.ranks != group)
      continue;
    if (row.bytes <= bytes)
      below = &row;
    else if (!above)
      above = &row;
  }
  if (!below)
    return {above->linked * 1e-6, above->looped * 1e-6};
  if (!above) {
    double times = double(bytes) / double(below->bytes);
    return {below->linked * times * 1e-6, below->looped * times * 1e-6};
  }
  double place =
      double(bytes - below->bytes) / double(above->bytes - below->bytes);
  auto between = [&](double low, double high) {
    return (low + (high - low) * place) * 1e-6;
  };
  return {between(below->linked, above->linked),
          between(below->looped, above->looped)};
}

} // namespace saddle::tools
