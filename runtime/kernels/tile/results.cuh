// Results of a tile of tokens and rows of weights (tile/product.cuh) on their
// way to memory, by warps of 16 tokens: 128 bytes of a token as one access of
// eight lanes.

#pragma once

#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/ptx/load_matrix.cuh"
#include "runtime/kernels/tile/quantize.cuh"

#include <type_traits>

namespace saddle::device {

/// Where 16 bytes, of which a token has eight, lie in a warp's scratch: such
/// that neither way of access meets a bank twice.
__device__ __forceinline__ uint32_t scratchPlace(int token, int piece) {
  return token * 128 + (piece ^ token % 8) * 16;
}
/// The place that this lane names for storeMatrices(): matrices of tokens 0 to
/// 7 and 8 to 15 of `piece`, then of the next one.
__device__ __forceinline__ uint32_t scratchMatrix(int piece) {
  int lane = threadIdx.x % 32;
  return scratchPlace(lane % 16, piece + lane / 16);
}

/// Calls store(token, piece, bytes) for each 16 bytes of the scratch; a lane's
/// piece is always the same.
template <typename Store>
__device__ __forceinline__ void forEachPiece(const uint8_t *scratch,
                                             Store store) {
  int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 16; i += 4) {
    int token = i + lane / 8;
    store(token, lane % 8,
          *reinterpret_cast<const uint4 *>(scratch +
                                           scratchPlace(token, lane % 8)));
  }
}

/// Writes the results, 8 * `columns`, of the warp's first `count` tokens,
/// rounded: those of token i from rowOf(i) on, a multiple of 16 bytes, as many
/// as are `left`. By whole warps; `scratch` is TileProduct::scratch().
template <int columns, typename RowOf>
__device__ __forceinline__ void storeResults(const float (&sums)[columns][4],
                                             uint8_t *scratch, int count,
                                             int left, RowOf rowOf) {
  using To = std::remove_pointer_t<decltype(rowOf(0))>;
  if constexpr (std::is_same_v<To, bf16>) {
    uint32_t base = sharedAddress(scratch);
#pragma unroll
    for (int first = 0; first < columns; first += 8) {
      __syncwarp();
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        uint32_t values[4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
          values[i] = bf16Pair(sums[first + j + i / 2][i % 2 * 2],
                               sums[first + j + i / 2][i % 2 * 2 + 1]);
        storeMatrices(base + scratchMatrix(j), values);
      }
      __syncwarp();
      forEachPiece(scratch, [&](int token, int piece, uint4 values) {
        int column = first * 8 + piece * 8;
        if (token >= count || column >= left)
          return;
        To *to = rowOf(token) + column;
        if (column + 8 <= left)
          *reinterpret_cast<uint4 *>(to) = values;
        else
#pragma unroll
          for (int k = 0; k < 8; ++k)
            if (column + k < left)
              to[k] = reinterpret_cast<const bf16 *>(&values)[k];
      });
    }
  } else {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      int token = lane / 4 + i * 8;
      if (token >= count)
        continue;
      To *to = rowOf(token) + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int k = 0; k < 2; ++k)
          if (j * 8 + lane % 4 * 2 + k < left)
            to[j * 8 + k] = fromFloat<To>(sums[j][i * 2 + k]);
    }
  }
}

/// The same as e4m3 codes of one group, or of a part of one, with its factor at
/// factorOf(i); `left` is a multiple of 16. share(largest) makes the largest
/// magnitudes of a part, of the lane's two tokens, those of the group.
template <int columns, typename Share, typename CodesOf, typename FactorOf>
__device__ __forceinline__ void
storeEncoded(const float (&values)[columns][4], uint8_t *scratch, int count,
             int left, Share share, CodesOf codesOf, FactorOf factorOf) {
  int lane = threadIdx.x % 32;
  float largest[2] = {};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < columns; ++j)
      if (j * 8 < left)
        largest[i] = fmaxf(largest[i], fmaxf(fabsf(values[j][2 * i]),
                                             fabsf(values[j][2 * i + 1])));
    largest[i] = fmaxf(largest[i], __shfl_xor_sync(kFullWarp, largest[i], 1));
    largest[i] = fmaxf(largest[i], __shfl_xor_sync(kFullWarp, largest[i], 2));
  }
  share(largest);
  uint32_t codes[2][columns]; // two of a token and j
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float scale = groupScale(largest[i]);
    Divisor divisor(scale);
#pragma unroll
    for (int j = 0; j < columns; ++j)
      codes[i][j] = e4m3Pair(divisor.divide(values[j][2 * i]),
                             divisor.divide(values[j][2 * i + 1]));
    int token = lane / 4 + i * 8;
    if (lane % 4 == 0 && token < count)
      *factorOf(token) = scale;
  }
  // 16 bytes of the scratch have codes of j and j + 1 in turn, two of each.
  __syncwarp();
#pragma unroll
  for (int piece = 0; piece < columns / 2; piece += 2) {
    uint32_t pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int j = (piece + i / 2) * 2;
      pairs[i] = codes[i % 2][j] | codes[i % 2][j + 1] << 16;
    }
    storeMatrices(sharedAddress(scratch) + scratchMatrix(piece), pairs);
  }
  __syncwarp();
  forEachPiece(scratch, [&](int token, int piece, uint4 pairs) {
    if (token < count && piece < columns / 2 && piece * 16 < left)
      *reinterpret_cast<uint4 *>(codesOf(token) + piece * 16) = {
          __byte_perm(pairs.x, pairs.y, 0x5410),
          __byte_perm(pairs.z, pairs.w, 0x5410),
          __byte_perm(pairs.x, pairs.y, 0x7632),
          __byte_perm(pairs.z, pairs.w, 0x7632)};
  });
}

} // namespace saddle::device
