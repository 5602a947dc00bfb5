// How the kernel of impls/norm_router.cuh divides its work.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_NORM_ROUTER_H
#define SADDLE_RUNTIME_KERNELS_SHARED_NORM_ROUTER_H

#include "runtime/kernels/shared/sizes.h"

namespace saddle::device {

struct NormRouterLayout {
  /// A warp holds weights of one expert in registers, a CTA has this many
  /// warps, and a cluster at most this many CTAs.
  static constexpr int64_t kWarps = 16, kMostCtas = 16;
  static constexpr int64_t kThreads = kWarps * 32;
  /// Weights of a warp: 96 registers of a lane, which has four at a time. Wider
  /// rows are of several warps, in equal parts.
  static constexpr int64_t kColsOfWarp = 3072, kColumnUnit = 128;
  /// Products of several tokens follow one another: at 8 tokens 18.7 us on an
  /// H200, where the ops one by one take 13; at one token 9.4 for 12.7.
  static constexpr int64_t kMostTokens = 2;
  /// Of sums, and as many of norms, in shared memory.
  static constexpr int64_t kMostElements = 24576;

  /// Warps that share an expert.
  static constexpr int64_t parts(int64_t cols) {
    return ceilDiv(cols, kColsOfWarp);
  }
  /// CTAs of the cluster, a power of two.
  static constexpr int64_t ctas(int64_t experts, int64_t cols) {
    return powerOfTwo(ceilDiv(experts * parts(cols), kWarps));
  }
  /// Tokens that there is room for, a power of two.
  static constexpr int64_t places(int64_t tokens) { return powerOfTwo(tokens); }

  static constexpr bool fits(int64_t tokens, int64_t cols, int64_t experts) {
    return tokens <= kMostTokens && cols % (parts(cols) * kColumnUnit) == 0 &&
           experts * parts(cols) <= kWarps * kMostCtas &&
           places(tokens) * cols <= kMostElements;
  }

  /// Sums and norms of all tokens.
  static constexpr int64_t sharedBytes(int64_t tokens, int64_t cols,
                                       int64_t sumBytes, int64_t normBytes) {
    return places(tokens) * cols * (sumBytes + normBytes);
  }

private:
  static constexpr int64_t powerOfTwo(int64_t atLeast) {
    int64_t result = 1;
    while (result < atLeast)
      result *= 2;
    return result;
  }
};

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_NORM_ROUTER_H
