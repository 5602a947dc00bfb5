// Random contents of large operands: a function of seed and place, so that any
// number of threads writes the same bytes, quick enough for gigabytes.

#ifndef SADDLE_TEST_GPU_KERNELCHECK_INPUTS_H
#define SADDLE_TEST_GPU_KERNELCHECK_INPUTS_H

#include "runtime/src/base/View.h"

#include <array>
#include <functional>

namespace saddle::check {

/// Values of a distribution at equally likely places; drawing is a look-up. A
/// check needs inputs of the right size and sign that differ from place to
/// place, which 4096 values do: bf16 has no more between 2^-15 and 1, e4m3 has
/// 254 in all.
using Quantiles = std::array<float, 4096>;

/// Of the normal distribution around 0. The largest is 3.67 deviations away.
Quantiles normalQuantiles(float deviation);
Quantiles uniformQuantiles(float least, float most);

/// 64 random bits, different for each `counter` of a seed (splitmix64).
inline uint64_t randomBits(uint64_t seed, uint64_t counter) {
  uint64_t bits = seed + (counter + 1) * 0x9e3779b97f4a7c15u;
  bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
  return bits ^ bits >> 31;
}

/// Gives every element of `view` (f32, bf16, f16 or f8e4m3) a value of `from`.
/// Gaps between rows keep their bytes.
void fillElements(const View &view, const Quantiles &from, uint64_t seed,
                  unsigned threads);

/// The same for elements of one byte, whatever it means: each is one of least
/// .. most.
void fillBytes(const View &view, unsigned least, unsigned most, uint64_t seed,
               unsigned threads);

/// Calls work(i) for each i below `count`, on up to `threads` threads.
void forEachIndex(uint64_t count, unsigned threads,
                  const std::function<void(uint64_t)> &work);

} // namespace saddle::check

#endif // SADDLE_TEST_GPU_KERNELCHECK_INPUTS_H
