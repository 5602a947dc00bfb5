// What exchanges between ranks take, with links and without, as measured with
// SaddleExchangeCheck --bench.

#ifndef SADDLE_TOOLS_SADDLE_BENCH_LINKS_H
#define SADDLE_TOOLS_SADDLE_BENCH_LINKS_H

#include <saddle/session.h>

namespace saddle::tools {

/// Seconds of one exchange, one after the other in a graph.
struct ExchangeTime {
  /// Among GPUs that NVLink joins all to all.
  double linked = 0;
  /// On one GPU, whose peers are itself.
  double looped = 0;
  /// What links add.
  double missing() const { return linked > looped ? linked - looped : 0; }
};

/// Of `bytes` (saddle_trace_event_t::exchange_bytes) in a group of `ranks`.
/// Between measured sizes it grows evenly with the bytes (an inner row of the
/// table, made from its neighbours, is off by 1.8 % in the median and 18 % at
/// most), beyond the largest with all of them; groups of other sizes take the
/// times of the next larger measured one, or of the largest. Nothing for no
/// exchange.
ExchangeTime exchangeTime(saddle_exchange_t kind, uint32_t ranks,
                          uint64_t bytes);

} // namespace saddle::tools

#endif // SADDLE_TOOLS_SADDLE_BENCH_LINKS_H
