// Vectors of numbers for the hot loops, and the order in which the lanes of a
// sum are added.

#ifndef SADDLE_RUNTIME_CPU_LANES_H
#define SADDLE_RUNTIME_CPU_LANES_H

#include <cstdint>
#include <cstring>

// Clones differ in register width only: same operations, same order.
#if defined(__x86_64__)
#define SADDLE_HOT                                                             \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SADDLE_HOT
#endif
// What a clone calls must become part of it. A clone itself may not call what
// takes or gives lanes, because its registers would be those of its own width.
#define SADDLE_PART __attribute__((always_inline)) static inline
// So that sums of several rows stay in registers.
#define SADDLE_UNROLL _Pragma("unroll")

namespace saddle::cpu {

constexpr unsigned kLanes = 16;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using Integers = int32_t __attribute__((vector_size(kLanes * sizeof(float))));

SADDLE_PART Lanes lanesAt(const float *address) {
  Lanes lanes;
  std::memcpy(&lanes, address, sizeof lanes);
  return lanes;
}

SADDLE_PART void storeLanes(float *address, Lanes lanes) {
  std::memcpy(address, &lanes, sizeof lanes);
}

/// The sum of the lanes of each of 16 registers: upper halves are added to the
/// lower ones until one is left, for two registers side by side.
SADDLE_PART Lanes foldSixteen(const Lanes *sums) {
  Lanes eights[8], fours[4], twos[2];
  SADDLE_UNROLL for (unsigned i = 0; i < 8; ++i) {
    Lanes a = sums[2 * i], b = sums[2 * i + 1];
    eights[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17,
                                        18, 19, 20, 21, 22, 23) +
                __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24,
                                        25, 26, 27, 28, 29, 30, 31);
  }
  SADDLE_UNROLL for (unsigned i = 0; i < 4; ++i) {
    Lanes a = eights[2 * i], b = eights[2 * i + 1];
    fours[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17,
                                       18, 19, 24, 25, 26, 27) +
               __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21,
                                       22, 23, 28, 29, 30, 31);
  }
  SADDLE_UNROLL for (unsigned i = 0; i < 2; ++i) {
    Lanes a = fours[2 * i], b = fours[2 * i + 1];
    twos[i] = __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17,
                                      20, 21, 24, 25, 28, 29) +
              __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19,
                                      22, 23, 26, 27, 30, 31);
  }
  return __builtin_shufflevector(twos[0], twos[1], 0, 2, 4, 6, 8, 10, 12, 14,
                                 16, 18, 20, 22, 24, 26, 28, 30) +
         __builtin_shufflevector(twos[0], twos[1], 1, 3, 5, 7, 9, 11, 13, 15,
                                 17, 19, 21, 23, 25, 27, 29, 31);
}

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_LANES_H
