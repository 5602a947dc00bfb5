// Cosine and sine of an fp32 angle of any size, without the library's slow path
// for large arguments (which needs local memory).

#pragma once

namespace saddle::device {

struct Rotation {
  float cosine, sine;
};

/// Of `angle` as it stands: fp64 takes whole turns off, so that positions of a
/// million keep the precision of small ones. Error below 2 ulp of the result
/// or 1e-8.
__device__ __forceinline__ Rotation rotationBy(float angle) {
  constexpr double kTurn = 6.283185307179586476925;      // 2 pi
  constexpr double kTurnRest = 2.4492935982947064e-16;   // 2 pi - kTurn
  constexpr double kPerTurn = 0.15915494309189533576888; // 1 / (2 pi)
  constexpr double kPerHalfTurn = 2 * kPerTurn;
  constexpr float kHalfTurn = 3.14159265f;
  double turns = rint(static_cast<double>(angle) * kPerTurn);
  double rest = fma(-turns, kTurnRest, fma(-turns, kTurn, double(angle)));
  // In half turns, which reduce exactly, as high + low.
  double halfTurns = rest * kPerHalfTurn;
  auto high = static_cast<float>(halfTurns);
  float low = static_cast<float>(halfTurns - high) * kHalfTurn;
  float sine, cosine;
  sincospif(high, &sine, &cosine);
  return {fmaf(-low, sine, cosine), fmaf(low, cosine, sine)};
}

/// (low, high) turned: each product and each sum is rounded, as in the
/// reference, so that nothing is contracted.
__device__ __forceinline__ void rotate(Rotation by, float &low, float &high) {
  float turnedLow =
      __fsub_rn(__fmul_rn(low, by.cosine), __fmul_rn(high, by.sine));
  float turnedHigh =
      __fadd_rn(__fmul_rn(high, by.cosine), __fmul_rn(low, by.sine));
  low = turnedLow;
  high = turnedHigh;
}

} // namespace saddle::device
