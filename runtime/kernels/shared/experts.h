// What the functions of experts with sorted tokens (impls/experts_stream.cuh)
// hand on in the workspace.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_EXPERTS_H
#define SADDLE_RUNTIME_KERNELS_SHARED_EXPERTS_H

#include <cstdint>

namespace saddle::device {

/// Blocks of tokens that share an expert, at most: the last block of each
/// expert may be short.
constexpr int64_t mostExpertBlocks(int64_t held, int64_t pairs,
                                   int64_t tokensPerBlock) {
  return (held < pairs ? held : pairs) + pairs / tokensPerBlock;
}

/// Some (token, choice) pairs of one expert: order[first .. first + count - 1].
struct ExpertBlock {
  int32_t expert, first, count, unused;
};

/// What ExpertPlan takes.
constexpr int64_t expertPlanBytes(int64_t held, int64_t pairs,
                                  int64_t tokensPerBlock) {
  return 4 * static_cast<int64_t>(sizeof(int32_t)) +
         mostExpertBlocks(held, pairs, tokensPerBlock) *
             static_cast<int64_t>(sizeof(ExpertBlock)) +
         pairs * static_cast<int64_t>(sizeof(int32_t));
}

/// Pairs sorted by expert. A pair is token * slots + slot. From `wideFrom`
/// pairs on, if that is not 0, blocks are of twice as many tokens.
template <int64_t held, int64_t pairs, int tokensPerBlock, int64_t wideFrom = 0>
struct ExpertPlan {
  static constexpr int64_t kHeld = held, kWideFrom = wideFrom;
  static constexpr int kTokens = tokensPerBlock;
  static constexpr int64_t kBytes =
      expertPlanBytes(held, pairs, tokensPerBlock);

  int32_t blockCount, pairCount, unused[2];
  ExpertBlock blocks[mostExpertBlocks(held, pairs, tokensPerBlock)];
  int32_t order[pairs];
};

/// Shared memory of a CTA that sorts: five integers for each expert.
constexpr int64_t expertSortBytes(int64_t held) {
  return held * 5 * static_cast<int64_t>(sizeof(int32_t));
}

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_EXPERTS_H
