// A warp multiplies 16 rows of codes with one token on the tensor cores,
// exactly: integer codes are bytes, and the token is in fixed point; e4m3 codes
// are f16, and so is the token.
//
// Four lanes read 16 bytes of a row each, a stretch. The token has an exponent
// for each stretch, and two parts for each column: digits of eight bits, or f16
// numbers. Rows are the 16-row operand of mma.sync; of the eight columns of the
// other, two are the parts of the first lane's stretch and zero for all others,
// two those of the second's, and so on. So lane 4 g + t has the sums of its own
// stretches of rows g and g + 8, and meets only their scales and zeros. A
// number of the token is off by at most 2^-16 of the largest of its stretch; of
// f16 parts 2^-22 of itself, or 2^-39 of the largest.
//
// Codes come by cp.async, where rows allow it in whole lines of 128 bytes,
// which eight lanes copy; then a warp meets before it reads. Else what a lane
// copies, no other lane reads, and nobody waits for anybody.

#pragma once

#include "runtime/kernels/ptx/copy_async.cuh"
#include "runtime/kernels/ptx/fragments.cuh"
#include "runtime/kernels/ptx/mma.cuh"
#include "runtime/kernels/shared/digits.h"
#include "runtime/kernels/tile/weights.cuh"

#include <type_traits>

namespace saddle::device {

//===--- Codes ------------------------------------------------------------===//

/// How codes become numbers of the tensor cores: operands() makes a step of
/// kStep columns of a stretch, in each of kSets operands whose products are
/// added. Bytes stand for eight columns, of which column i
/// is byte place(i); a code's value is (byte - kZero) * kUnit. Made from a zero
/// that the assembler does not know.
template <typename Codes>
struct CodeBytes;

template <int zero>
struct CodeBytes<Nibbles<zero>> {
  static constexpr int kBits = 4, kStep = 8, kZero = zero, kSets = 1;
  using Part = int8_t;
  static constexpr bool kSigned = false;
  static constexpr float kUnit = 1;
  explicit __device__ __forceinline__ CodeBytes(uint32_t) {}
  /// Even columns are low halves of bytes.
  static __host__ __device__ constexpr int place(int i) {
    return i % 2 * 4 + i / 2;
  }
  __device__ __forceinline__ void operands(const Vector<uint32_t, 4> &words,
                                           int step, int, uint32_t &low,
                                           uint32_t &high) const {
    low = words[step] & 0x0f0f0f0fu;
    high = words[step] >> 4 & 0x0f0f0f0fu;
  }
};

/// Twice the number is an integer of at most 12. prmt looks a code's low three
/// bits up; with the fourth bit it takes the sign of what it finds, eight
/// times. So the first operand has four times the numbers of codes without a
/// sign and zeros for the others, the second one minus twice the magnitudes of
/// all: the tensor cores have time to add them.
template <>
struct CodeBytes<E2M1> {
  static constexpr int kBits = 4, kStep = 8, kZero = 0, kSets = 2;
  using Part = int8_t;
  static constexpr bool kSigned = true;
  static constexpr float kUnit = 0.5f;
  /// An instruction has one constant; the assembler would make the other anew
  /// for each, if it could know it.
  explicit __device__ __forceinline__ CodeBytes(uint32_t nothing)
      : positives(0x06040200u + nothing), all(0xfdfeff00u + nothing) {}
  static __host__ __device__ constexpr int place(int i) { return i; }
  __device__ __forceinline__ void operands(const Vector<uint32_t, 4> &words,
                                           int step, int set, uint32_t &low,
                                           uint32_t &high) const {
    uint32_t codes = set == 0 ? words[step] : words[step] & 0x77777777u;
    low = bytesOf(codes, set);
    high = bytesOf(codes >> 16, set);
  }

private:
  uint32_t positives, all;

  /// The bytes of four codes.
  __device__ __forceinline__ uint32_t bytesOf(uint32_t codes, int set) const {
    uint32_t bytes, first = set == 0 ? positives : all,
                    last = set == 0 ? 0x18100c08u : 0xf4f8fafcu;
    asm("prmt.b32 %0, %1, %2, %3;"
        : "=r"(bytes)
        : "r"(first), "r"(last), "r"(codes));
    return bytes;
  }
};

template <int zero>
struct CodeBytes<Bytes<zero>> {
  static constexpr int kBits = 8, kStep = 8, kZero = zero, kSets = 1;
  using Part = int8_t;
  static constexpr bool kSigned = false;
  static constexpr float kUnit = 1;
  explicit __device__ __forceinline__ CodeBytes(uint32_t) {}
  static __host__ __device__ constexpr int place(int i) { return i; }
  __device__ __forceinline__ void operands(const Vector<uint32_t, 4> &words,
                                           int step, int, uint32_t &low,
                                           uint32_t &high) const {
    low = words[step * 2];
    high = words[step * 2 + 1];
  }
};

/// Integers with a sign.
template <>
struct CodeBytes<Numbers> : CodeBytes<Bytes<0>> {
  static constexpr bool kSigned = true;
  using CodeBytes<Bytes<0>>::CodeBytes;
};

/// Floats of eight bits, each of which is an f16 number.
template <>
struct CodeBytes<e4m3> {
  static constexpr int kBits = 8, kStep = 4, kZero = 0, kSets = 1;
  static constexpr float kUnit = 1;
  using Part = f16;
  explicit __device__ __forceinline__ CodeBytes(uint32_t) {}
  __device__ __forceinline__ void operands(const Vector<uint32_t, 4> &words,
                                           int step, int, uint32_t &low,
                                           uint32_t &high) const {
    e4m3PairsToF16(words[step], low, high);
  }
};

/// Those of a weight.
template <typename Weights>
using CodeBytesOf = CodeBytes<std::conditional_t<
    std::is_same_v<typename Weights::Elements::Element, e4m3>, e4m3,
    typename Weights::Codes>>;

//===--- The product ------------------------------------------------------===//

/// `Weights` are StoredWeights with a scale for each row, or for blocks of its
/// columns that are whole stretches or half of one. A warp has `units` units of
/// its rows and a ring of `depth` stages of them.
template <typename Weights, int units, int depth>
struct DigitProduct {
  using Codes = CodeBytesOf<Weights>;
  using Part = typename Codes::Part;
  /// Whether parts are floats and not digits.
  static constexpr bool kFloats = std::is_same_v<Part, f16>;
  /// Whether sums of the token take the zero off.
  static constexpr bool kSummed = Weights::Zero::kIsThere || Codes::kZero != 0;
  using Scale = typename Weights::Scale;
  using Zero = typename Weights::Zero;
  using Global = typename Weights::Global;
  /// Of a companion in the ring: bytes of a row, or 0.
  template <typename C>
  static constexpr int pieceOf() {
    if constexpr (C::kIsThere)
      return digitPiece(units, 512 / Codes::kBits, C::kBlockCols,
                        sizeof(typename C::Element), C::kRowBytes);
    else
      return 0;
  }
  /// One scale for all columns multiplies the sums of all.
  static constexpr bool kRowScale = Scale::kBlockCols >= Weights::kCols;
  static constexpr int kScalePiece = kRowScale ? 0 : pieceOf<Scale>(),
                       kZeroPiece = pieceOf<Zero>();
  static constexpr DigitLayout kLayout = {Codes::kBits, sizeof(Part), units,
                                          depth, kScalePiece + kZeroPiece};
  static constexpr int kDepth = depth;
  static constexpr int kStageBytes = kLayout.stageBytes(),
                       kRingBytes = kLayout.ringBytes();
  /// Of a stage: pieces of companions stand behind the codes.
  static constexpr int kScalePiecesAt = kLayout.codeBytes(),
                       kZeroPiecesAt = kScalePiecesAt + 16 * kScalePiece;
  /// Of a unit of a token, and of this warp's units.
  static constexpr int kUnitBytes = kLayout.unitBytes(),
                       kTokenBytes = kLayout.tokenBytes();
  static constexpr int kZerosAt = kLayout.zerosAt(),
                       kFactorsAt = kLayout.factorsAt(),
                       kSumsAt = kLayout.sumsAt();
  static constexpr int kColumns = kLayout.stretchColumns(); // of a stretch
  static constexpr int kUnitColumns = 4 * kColumns;
  /// Of a part of a stretch.
  static constexpr int kPartBytes = kColumns * static_cast<int>(sizeof(Part));
  static constexpr int kStretches = Weights::kCols / kColumns;
  static_assert(kStretches * kColumns == Weights::kCols,
                "stretches are never cut");
  /// Scales of a stretch.
  static constexpr int kParts =
      Scale::kBlockCols < kColumns ? kColumns / Scale::kBlockCols : 1;
  static_assert(kParts <= 2 && Scale::kBlockCols * kParts % kColumns == 0,
                "a stretch has one scale or two");
  static constexpr int kSteps = kColumns / Codes::kStep;
  /// Whether four lanes have one number for each unit. Then they divide the
  /// units, and each unit's lane tells the others.
  template <typename C>
  static constexpr bool kIsOfUnits =
      C::kBlockCols % (4 * kColumns) == 0 || C::kBlockCols >= Weights::kCols;
  /// Numbers of a companion that a lane holds of a row.
  template <typename C>
  static constexpr int kHeld = kIsOfUnits<C> ? (units + 3) / 4 : units;
  static constexpr int kScales = kRowScale || kScalePiece ? 1 : kHeld<Scale>;
  static constexpr int kZeros = Zero::kIsThere && !kZeroPiece ? kHeld<Zero> : 1;
  static_assert(kParts == 1 || Scale::kRowBytes % 2 == 0,
                "two scales are read at a time");
  /// The scales of a stretch as they are stored.
  using ScaleBits =
      std::conditional_t<std::is_same_v<typename Scale::Element, float>, float,
                         std::conditional_t<kParts == 2, uint16_t, uint8_t>>;
  static_assert(sizeof(ScaleBits) == kParts * sizeof(typename Scale::Element));

  /// Whether a warp has whole lines of a row, so that eight lanes copy one:
  /// from halves of lines the memory gives less.
  static constexpr bool kLines = units % 2 == 0 && kStretches % 8 == 0;
  /// Whether lanes read what others have copied.
  static constexpr bool kMeets = kLines || kScalePiece + kZeroPiece > 0;

  /// The first of each eight rows, among those of all members.
  struct Rows {
    int first[2];
  };
  /// Scales and zeros of a lane's stretches of a warp's rows that are not in
  /// the ring, and the global scale.
  struct Companions {
    ScaleBits scales[kScales][2];
    uint8_t zeros[kZeros][2];
    float globals[2];
  };

  /// `ring` is this warp's; its units begin at `firstUnit` of a row.
  __device__ __forceinline__ DigitProduct(void *const *operands, uint8_t *ring,
                                          int firstUnit)
      : operands(operands), ring(sharedAddress(ring)),
        firstStretch(firstUnit * 4 + threadIdx.x % 4),
        bytes(unknownZero(operands[0])) {
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    if constexpr (kLines) {
      codesFrom = reinterpret_cast<const uint8_t *>(
                      Weights::Elements::row(operands[0], lane / 8)) +
                  firstUnit * 64 + lane % 8 * 16;
      codesTo =
          this->ring + lane / 8 * 128 + (lane % 8 ^ lane / 8 % 2 * 4) * 16;
      for (int odd = 0; odd < 2; ++odd)
        codesAt[odd] = this->ring + g * 128 + (odd ^ g % 2) * 64 + t * 16;
    } else {
      codesTo = codesAt[0] = codesAt[1] = this->ring + lane * 16;
    }
    // The parts of lane t's stretch are columns 2 t and 2 t + 1 of the token.
    digitsAt = g / 2 == t ? (t * 2 + g % 2) * kPartBytes : kZerosAt;
    // Else the assembler computes them anew for each stage, between the wait
    // for one and the copies of the next.
    asm volatile("" : "+l"(codesFrom), "+r"(codesTo), "+r"(codesAt[0]));
    asm volatile("" : "+r"(codesAt[1]), "+r"(digitsAt));
  }

  /// Starts to copy the codes of `rows` to a stage, as one group of copies.
  /// What the stage held has been read, and the warp has met.
  __device__ __forceinline__ void fetch(const Rows &rows, int stage) const {
    int lane = threadIdx.x % 32;
    if constexpr (kLines) {
      // A lane has a sixteenth of lines of four rows.
      constexpr int kRowBytes =
          static_cast<int>(Weights::Elements::kStride *
                           sizeof(typename Weights::Elements::Element));
      int firstUnit = firstStretch / 4;
      uint32_t to = codesTo + stage * kStageBytes;
#pragma unroll
      for (int fours = 0; fours < 4; ++fours) {
        const uint8_t *from =
            codesFrom +
            static_cast<int64_t>(rows.first[fours / 2]) * kRowBytes +
            fours % 2 * 4 * kRowBytes;
#pragma unroll
        for (int u = 0; u < units; u += 2)
          copyAsync16(to + u * 1024 + fours * 512,
                      from + (kStretches % (units * 4) == 0 ||
                                      firstUnit + u < kStretches / 4
                                  ? u * 64
                                  : -firstUnit * 64));
      }
    } else {
      uint32_t to = codesTo + stage * kStageBytes;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        auto *row = reinterpret_cast<const uint8_t *>(Weights::Elements::row(
                        operands[0], rows.first[half] + lane / 4)) +
                    firstStretch * 16;
#pragma unroll
        for (int u = 0; u < units; ++u)
          copyAsync16(to + (u * 2 + half) * 512,
                      row + (isThere(u) ? u * 64 : -firstStretch * 16));
      }
    }
    uint32_t to = ring + stage * kStageBytes;
    if constexpr (kScalePiece > 0)
      fetchPieces<Scale, kScalePiece>(operands[1], rows, to + kScalePiecesAt);
    if constexpr (kZeroPiece > 0)
      fetchPieces<Zero, kZeroPiece>(operands[2], rows, to + kZeroPiecesAt);
    commitCopies();
  }
  /// Until at most the last `pending` groups are under way, and all lanes are
  /// done with what they have read.
  template <int pending>
  static __device__ __forceinline__ void wait() {
    waitCopies<pending>();
    if constexpr (kMeets)
      __syncwarp();
  }

  __device__ __forceinline__ Companions companionsOf(const Rows &rows) const {
    Companions result;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      int row = rows.first[half] + threadIdx.x % 32 / 4;
      if constexpr (kScalePiece == 0) {
        auto *scales = Scale::row(operands[1], 0, row);
#pragma unroll
        for (int i = 0; i < kScales; ++i)
          result.scales[i][half] = __ldg(reinterpret_cast<const ScaleBits *>(
              kRowScale ? scales : entryOf<Scale>(scales, i)));
      }
      if constexpr (Zero::kIsThere && kZeroPiece == 0) {
        auto *zeros = Zero::row(operands[2], 0, row);
#pragma unroll
        for (int i = 0; i < kHeld<Zero>; ++i)
          result.zeros[i][half] = __ldg(entryOf<Zero>(zeros, i));
      }
      result.globals[half] = globalOf(row);
    }
    return result;
  }
  /// The global scale of a row; 1 where there is none.
  __device__ __forceinline__ float globalOf(int row) const {
    if constexpr (Global::kIsThere)
      return __ldg(Global::row(operands[Weights::kOperands - 1], 0, row));
    else
      return 1;
  }

  /// Eight columns for each of 32 lanes: what a warp encodes at a time.
  static constexpr int kEights = units * kUnitColumns / 8;
  static constexpr int kRounds = (kEights + 31) / 32;
  template <int count>
  using Values = float[count][8];

  /// Reads `count` times 32 eights of this warp's units of a token, from number
  /// `first` on: read(column, values) are eight columns.
  template <int count, typename Read>
  static __device__ __forceinline__ void read(Values<count> &values, int first,
                                              int firstUnit, Read read) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      int at = (first + i) * 32 + threadIdx.x % 32;
      int column = firstUnit * kUnitColumns + at * 8;
#pragma unroll
      for (int k = 0; k < 8; ++k)
        values[i][k] = 0;
      if (at < kEights && column < Weights::kCols)
        read(column, values[i]);
    }
  }
  /// The largest magnitude of what read() would read, but for NaN.
  template <typename Read>
  static __device__ __forceinline__ float largest(int firstUnit, Read from) {
    float most = 0;
#pragma unroll 2
    for (int first = 0; first < kRounds; ++first) {
      Values<1> values;
      read<1>(values, first, firstUnit, from);
#pragma unroll
      for (int k = 0; k < 8; ++k)
        most = fmaxf(most, fabsf(values[0][k]));
    }
    return warpMax(most);
  }
  /// Writes them in two parts. By the whole warp.
  template <int count>
  static __device__ __forceinline__ void write(uint8_t *token, int first,
                                               const Values<count> &values) {
#pragma unroll
    for (int i = 0; i < count; ++i)
      if (first + i < kRounds)
        encodeEight(token, (first + i) * 32 + threadIdx.x % 32, values[i]);
  }
  /// Both, for all of this warp's units. They are there when it has met.
  template <typename Read>
  static __device__ __forceinline__ void encode(uint8_t *token, int firstUnit,
                                                Read from) {
    // As many loads at a time as registers hold.
    constexpr int kBatch = kRounds < 2 ? 1 : 2;
#pragma unroll 1
    for (int first = 0; first < kRounds; first += kBatch) {
      Values<kBatch> values;
      read<kBatch>(values, first, firstUnit, from);
      write<kBatch>(token, first, values);
    }
    __syncwarp();
  }

  /// sums[half] = row g + 8 half of a stage times the token, for all four lanes
  /// of g.
  __device__ __forceinline__ void multiply(const uint8_t *token, int stage,
                                           const Companions &companions,
                                           float (&sums)[2]) const {
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const uint8_t *digits = token + digitsAt;
    const int next = kFloats && g / 2 != t ? 0 : kUnitBytes;
    sums[0] = sums[1] = 0;
#pragma unroll
    for (int u = 0; u < units; ++u) {
      Vector<uint32_t, 4> b[kPartBytes / 16]; // two steps each
#pragma unroll
      for (int i = 0; i < kPartBytes / 16; ++i)
        b[i] =
            reinterpret_cast<const Vector<uint32_t, 4> *>(digits + u * next)[i];
      const uint8_t *unit = token + u * kUnitBytes;
      float unitSums[2] = {};
      float factor = reinterpret_cast<const float *>(unit + kFactorsAt)[t];
      Vector<uint32_t, 4> codes[2];
#pragma unroll
      for (int half = 0; half < 2; ++half)
        codes[half] = loadCodes(placeOf(stage, u, half));
      float scales[2][kParts];
      if constexpr (!kRowScale)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          scalesOf(scaleBits(companions, stage, u, half), scales[half]);
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        std::conditional_t<kFloats, float, int> d[4] = {};
#pragma unroll
        for (int i = 0; i < kSteps / kParts; ++i) {
          int step = part * (kSteps / kParts) + i;
          uint32_t b0 = b[step / 2][step % 2 * 2],
                   b1 = b[step / 2][step % 2 * 2 + 1];
#pragma unroll
          for (int set = 0; set < Codes::kSets; ++set) {
            uint32_t a[2][2];
#pragma unroll
            for (int half = 0; half < 2; ++half)
              bytes.operands(codes[half], step, set, a[half][0], a[half][1]);
            if constexpr (kFloats)
              mmaF16(d, a[0][0], a[1][0], a[0][1], a[1][1], b0, b1);
            else if constexpr (Codes::kSigned)
              mmaS8(d, a[0][0], a[1][0], a[0][1], a[1][1], b0, b1);
            else
              mmaU8(d, a[0][0], a[1][0], a[0][1], a[1][1], b0, b1);
          }
        }
        int sum = 0;
        if constexpr (kSummed)
          sum = reinterpret_cast<const int *>(unit + kSumsAt)[t * 2 + part];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          int zero = Codes::kZero;
          if constexpr (Zero::kIsThere)
            zero = zeroOf(companions, stage, u, half);
          float product;
          if constexpr (kFloats)
            product = d[half * 2] + d[half * 2 + 1];
          else
            product = static_cast<float>(d[half * 2] * 256 + d[half * 2 + 1] -
                                         zero * sum);
          if constexpr (kRowScale)
            unitSums[half] += product;
          else
            unitSums[half] += product * scales[half][part];
        }
      }
#pragma unroll
      for (int half = 0; half < 2; ++half)
        sums[half] += unitSums[half] * factor;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float scale = Codes::kUnit;
      if constexpr (kRowScale)
        scale *= rowScaleOf(companions.scales[0][half]);
      if constexpr (Global::kIsThere)
        scale = Weights::kGlobalDivides ? scale / companions.globals[half]
                                        : scale * companions.globals[half];
      sums[half] *= scale;
#pragma unroll
      for (int other = 1; other < 4; other *= 2)
        sums[half] += __shfl_xor_sync(kFullWarp, sums[half], other);
    }
  }

private:
  /// Where this lane finds its codes. Halves of a line change places in every
  /// other row, so that eight lanes that read half of two lines meet all banks.
  __device__ __forceinline__ uint32_t placeOf(int stage, int unit,
                                              int half) const {
    uint32_t from = codesAt[unit % 2] + stage * kStageBytes;
    return kLines ? from + unit / 2 * 2048 + half * 1024
                  : from + (unit * 2 + half) * 512;
  }

  /// Encodes the eight columns of that number. For whole warps.
  static __device__ __forceinline__ void encodeEight(uint8_t *token, int at,
                                                     const float (&values)[8]) {
    constexpr int kEach = kColumns / 8;        // of a stretch
    int eighth = at % kEach, its = at / kEach; // of the warp's stretches
    uint32_t most = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i)
      most = max(most, __float_as_uint(values[i]) & 0x7fffffffu);
#pragma unroll
    for (int other = 1; other < kEach; other *= 2)
      most = max(most, __shfl_xor_sync(kFullWarp, most, other));
    // The largest becomes less than 2^15 - 2^7, so that both digits fit.
    uint32_t exponent =
        __float_as_uint(__uint_as_float(most) * (1 + 0x1p-7f)) >> 23;
    bool isNumber = most < 0x7f800000u && exponent < 255;
    exponent = min(max(exponent, 30u), 254u);
    float toInteger = __uint_as_float((268 - exponent) << 23);
    float factor = isNumber ? __uint_as_float((exponent - 14) << 23)
                            : __uint_as_float(0x7fffffffu);
    int sum = 0;
    Vector<Part, 8> low, high;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float scaled = values[i] * toInteger;
      if constexpr (kFloats) {
        high[i] = fromFloat<f16>(isNumber ? scaled : 0);
        low[i] = fromFloat<f16>(isNumber ? scaled - toFloat(high[i]) : 0);
      } else {
        int number = isNumber ? __float2int_rn(scaled) : 0;
        sum += number;
        int place = Codes::place(i);
        low[place] = static_cast<int8_t>(number);
        high[place] = static_cast<int8_t>(number + 128 >> 8);
      }
    }
    if constexpr (kSummed)
#pragma unroll
      for (int other = 1; other < kEach / kParts; other *= 2)
        sum += __shfl_xor_sync(kFullWarp, sum, other);
    if (at >= kEights)
      return;
    uint8_t *unit = token + its / 4 * kUnitBytes;
    auto *parts =
        reinterpret_cast<Vector<Part, 8> *>(unit + its % 4 * 2 * kPartBytes);
    parts[eighth] = high;
    parts[kEach + eighth] = low;
    if (eighth == 0)
      reinterpret_cast<float *>(unit + kFactorsAt)[its % 4] = factor;
    if (kSummed && eighth % (kEach / kParts) == 0)
      reinterpret_cast<int *>(
          unit + kSumsAt)[its % 4 * 2 + eighth / (kEach / kParts)] = sum;
    if (its % (kFloats ? units * 4 : 4) == 0)
      reinterpret_cast<Vector<Part, 8> *>((kFloats ? token : unit) +
                                          kZerosAt)[eighth] = {};
  }

  void *const *operands;
  uint32_t ring;
  int firstStretch; // this lane's, of a row
  Codes bytes;
  /// Of this lane: its sixteenth of the first four rows of all, the place of
  /// its first copies and of its codes of even and odd units in the ring's
  /// first stage, and its part of the token.
  const uint8_t *codesFrom = nullptr;
  uint32_t codesTo, codesAt[2];
  int digitsAt;

  /// Rows begin at multiples of 16 bytes, which the assembler does not know;
  /// and what depends on the lane has a register of each. One for all lanes
  /// would be copied to a register before each use, as prmt cannot read it.
  static __device__ __forceinline__ uint32_t unknownZero(const void *row) {
    return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(row)) & 15u &
           threadIdx.x;
  }
  /// Whether this lane has a stretch of a unit. Behind the last column the
  /// token is zero: any stretch will do, and the row's first is there.
  __device__ __forceinline__ bool isThere(int unit) const {
    return kStretches % (units * 4) == 0 ||
           firstStretch + unit * 4 < kStretches;
  }

  /// This lane's number `i` of a row of a companion. What does not depend on
  /// `i` stands apart, so that it is computed once.
  template <typename C>
  __device__ __forceinline__ const typename C::Element *
  entryOf(const typename C::Element *row, int i) const {
    constexpr int kBlock = static_cast<int>(
        C::kBlockCols < Weights::kCols ? C::kBlockCols : Weights::kCols);
    if constexpr (kIsOfUnits<C>) {
      int lane = threadIdx.x % 4, unit = i * 4 + lane;
      int first = firstStretch - lane + (unit < units ? unit : 0) * 4;
      return row + (first < kStretches ? first : 0) * kColumns / kBlock;
    } else {
      static_assert(4 * kColumns % kBlock == 0, "a unit has whole blocks");
      return row + firstStretch * kColumns / kBlock +
             (isThere(i) ? i * (4 * kColumns / kBlock)
                         : -firstStretch * kColumns / kBlock);
    }
  }
  /// Copies the pieces that 16 rows have of a companion to `to`, one behind the
  /// other.
  template <typename C, int piece>
  __device__ __forceinline__ void
  fetchPieces(const void *companion, const Rows &rows, uint32_t to) const {
    constexpr int kStep = piece % 16 == 0 && C::kRowBytes % 16 == 0 ? 16
                          : piece % 8 == 0 && C::kRowBytes % 8 == 0 ? 8
                                                                    : 4;
    constexpr int kEach = piece / kStep, kCopies = 16 * kEach;
    int lane = threadIdx.x % 32, begin = firstStretch / 4 * (piece / units);
#pragma unroll
    for (int first = 0; first < kCopies; first += 32) {
      int copy = first + lane, row = copy / kEach;
      int at = begin + copy % kEach * kStep;
      // Behind the last column the token is zero: any numbers will do.
      if (kStretches % (units * 4) != 0 && at + kStep > C::kRowBytes)
        at = 0;
      auto *from = reinterpret_cast<const uint8_t *>(
          C::row(companion, 0,
                 (row % 16 < 8 ? rows.first[0] : rows.first[1]) + row % 8));
      if (kCopies % 32 == 0 || copy < kCopies)
        copyAsync<kStep>(to + copy * kStep, from + at);
    }
  }
  /// Where this lane's numbers of a unit are in such a piece of row g + 8 half.
  template <typename C, int piece>
  static __device__ __forceinline__ uint32_t inPiece(int unit, int half) {
    int lane = threadIdx.x % 32;
    constexpr int kBytes = sizeof(typename C::Element);
    return (half * 8 + lane / 4) * piece + unit * (piece / units) +
           lane % 4 * kColumns / static_cast<int>(C::kBlockCols) * kBytes;
  }
  __device__ __forceinline__ ScaleBits scaleBits(const Companions &companions,
                                                 int stage, int unit,
                                                 int half) const {
    return numberOf<Scale, kScalePiece>(
        companions.scales, ring + stage * kStageBytes + kScalePiecesAt, unit,
        half);
  }
  __device__ __forceinline__ uint8_t zeroOf(const Companions &companions,
                                            int stage, int unit,
                                            int half) const {
    return numberOf<Zero, kZeroPiece>(
        companions.zeros, ring + stage * kStageBytes + kZeroPiecesAt, unit,
        half);
  }
  /// This lane's number of a unit of a row, from the pieces in the ring where
  /// there are some, else of those that lanes hold.
  template <typename C, int piece, typename T, int count>
  static __device__ __forceinline__ T numberOf(const T (&held)[count][2],
                                               uint32_t pieces, int unit,
                                               int half) {
    if constexpr (piece > 0)
      return loadSharedAs<T>(pieces + inPiece<C, piece>(unit, half));
    else
      return ofUnit<C>(held, unit, half);
  }

  /// The number of a unit of a row, of those that lanes hold.
  template <typename C, typename T, int count>
  static __device__ __forceinline__ T ofUnit(const T (&held)[count][2],
                                             int unit, int half) {
    if constexpr (!kIsOfUnits<C>)
      return held[unit][half];
    else if constexpr (std::is_same_v<T, float>)
      return __shfl_sync(kFullWarp, held[unit / 4][half], unit % 4, 4);
    else
      return static_cast<T>(__shfl_sync(
          kFullWarp, static_cast<uint32_t>(held[unit / 4][half]), unit % 4, 4));
  }

  static __device__ __forceinline__ float rowScaleOf(ScaleBits bits) {
    float scales[kParts];
    scalesOf(bits, scales);
    return scales[0];
  }
  /// The scales of a stretch.
  static __device__ __forceinline__ void scalesOf(ScaleBits bits,
                                                  float (&scales)[kParts]) {
    if constexpr (std::is_same_v<ScaleBits, float>) {
      scales[0] = bits;
    } else if constexpr (kParts == 2 &&
                         std::is_same_v<typename Scale::Element, e4m3>) {
      float2 both = f16Values(e4m3PairToF16(bits));
      scales[0] = both.x;
      scales[1] = both.y;
    } else {
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        typename Scale::Element scale;
        reinterpret_cast<uint8_t &>(scale) =
            static_cast<uint8_t>(bits >> part * 8);
        scales[part] = toFloat(scale);
      }
    }
  }
  static __device__ __forceinline__ Vector<uint32_t, 4>
  loadCodes(uint32_t from) {
    Vector<uint32_t, 4> words;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]),
                   "=r"(words[3])
                 : "r"(from)
                 : "memory");
    return words;
  }
};

} // namespace saddle::device
