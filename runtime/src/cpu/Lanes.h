// Vectors of numbers for the hot loops, and the order in which the lanes of a
// sum are added.

#ifndef SADDLE_RUNTIME_CPU_LANES_H
#define SADDLE_RUNTIME_CPU_LANES_H

#include <cstdint>
#include <cstring>

// Clones differ in register width only: same operations, same order.
#if defined(__x86_64__)
#define SADDLE_HOT __attribute__((target_clones("avx512f", "avx2", "default")))
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
using Eight = float __attribute__((vector_size(8 * sizeof(float))));
using Four = float __attribute__((vector_size(4 * sizeof(float))));
using Integers = int32_t __attribute__((vector_size(kLanes * sizeof(float))));

SADDLE_PART Lanes lanesAt(const float *address) {
  Lanes lanes;
  std::memcpy(&lanes, address, sizeof lanes);
  return lanes;
}

SADDLE_PART void storeLanes(float *address, Lanes lanes) {
  std::memcpy(address, &lanes, sizeof lanes);
}

// A sum of lanes adds their upper half to the lower one until one is left. Of
// several, the halves are added side by side; a step takes two registers to
// one, which holds the first one's lanes in front.

SADDLE_PART Lanes halvesOf(Lanes a, Lanes b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19,
                                 20, 21, 22, 23) +
         __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26,
                                 27, 28, 29, 30, 31);
}

SADDLE_PART Lanes quartersOf(Lanes a, Lanes b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19,
                                 24, 25, 26, 27) +
         __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22,
                                 23, 28, 29, 30, 31);
}

/// The sums of four, and of eight, registers.
SADDLE_PART Four foldFour(const Lanes *sums) {
  Lanes fours =
      quartersOf(halvesOf(sums[0], sums[1]), halvesOf(sums[2], sums[3]));
  Eight twos =
      __builtin_shufflevector(fours, fours, 0, 1, 4, 5, 8, 9, 12, 13) +
      __builtin_shufflevector(fours, fours, 2, 3, 6, 7, 10, 11, 14, 15);
  return __builtin_shufflevector(twos, twos, 0, 2, 4, 6) +
         __builtin_shufflevector(twos, twos, 1, 3, 5, 7);
}

SADDLE_PART Eight foldEight(const Lanes *sums) {
  Lanes a = quartersOf(halvesOf(sums[0], sums[1]), halvesOf(sums[2], sums[3]));
  Lanes b = quartersOf(halvesOf(sums[4], sums[5]), halvesOf(sums[6], sums[7]));
  Lanes twos = __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17,
                                       20, 21, 24, 25, 28, 29) +
               __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19,
                                       22, 23, 26, 27, 30, 31);
  return __builtin_shufflevector(twos, twos, 0, 2, 4, 6, 8, 10, 12, 14) +
         __builtin_shufflevector(twos, twos, 1, 3, 5, 7, 9, 11, 13, 15);
}

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_LANES_H
