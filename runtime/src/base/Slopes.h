// How fast heads forget, by their number: shared by the recurrence and by the
// import, which compares what a checkpoint holds.

#ifndef SADDLE_RUNTIME_BASE_SLOPES_H
#define SADDLE_RUNTIME_BASE_SLOPES_H

#include <cmath>
#include <cstdint>

namespace saddle {

/// ALiBi's slope of one of `heads` heads, at least one. Those beyond the
/// largest power of two take every second slope of twice as many heads.
inline double alibiSlope(uint64_t head, uint64_t heads) {
  uint64_t power = 1;
  while (power <= heads / 2)
    power *= 2;
  if (head < power)
    return std::exp2(-8.0 * double(head + 1) / double(power));
  return std::exp2(-4.0 * double(2 * (head - power) + 1) / double(power));
}

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_SLOPES_H
