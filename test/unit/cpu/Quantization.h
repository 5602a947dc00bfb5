// An independent model of dynamic activation quantisation: e4m3 rounding by
// search over all finite codes.

#ifndef SADDLE_TEST_UNIT_CPU_QUANTIZATION_H
#define SADDLE_TEST_UNIT_CPU_QUANTIZATION_H

#include <cmath>
#include <vector>

namespace saddle::cpu {

/// The nearest e4m3 value, ties to the even code, saturating at 448.
inline double roundToE4m3(double value) {
  double magnitude = std::fabs(value), best = 0;
  unsigned bestCode = 0;
  for (unsigned code = 0; code < 0x7f; ++code) {
    unsigned exponent = code / 8, mantissa = code % 8;
    double candidate = exponent == 0
                           ? std::ldexp(mantissa, -9)
                           : std::ldexp(8 + mantissa, int(exponent) - 10);
    double gain =
        std::fabs(best - magnitude) - std::fabs(candidate - magnitude);
    if (gain > 0 || (gain == 0 && code % 2 == 0 && bestCode % 2 == 1)) {
      best = candidate;
      bestCode = code;
    }
  }
  return std::copysign(best, value);
}

/// Quantises and restores each group of `group` values; fp32 scales.
inline std::vector<double> quantized(std::vector<double> values, size_t group) {
  if (group == 0)
    return values;
  for (size_t start = 0; start < values.size(); start += group) {
    size_t end = std::min(start + group, values.size());
    double amax = 0;
    for (size_t i = start; i < end; ++i)
      amax = std::fmax(amax, std::fabs(values[i]));
    float scale = amax == 0 ? 1.0f : float(amax) / 448.0f;
    for (size_t i = start; i < end; ++i)
      values[i] = roundToE4m3(float(values[i]) / scale) * scale;
  }
  return values;
}

} // namespace saddle::cpu

#endif // SADDLE_TEST_UNIT_CPU_QUANTIZATION_H
