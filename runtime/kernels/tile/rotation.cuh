// Cosine and sine of an fp32 angle of any size, without the library's slow path
// for large arguments (which needs local memory) and without fp64 (whose
// latency shows in kernels of a few microseconds).

#pragma once

namespace saddle::device {

struct Rotation {
  float cosine, sine;
};

/// Of `angle` as it stands, to 1e-7; 3e-7 above 2^20, where fp64 takes whole
/// turns off first.
__device__ __forceinline__ Rotation rotationBy(float angle) {
  if (fabsf(angle) > 1048576.0f) {
    constexpr double kTurn = 6.283185307179586476925;    // 2 pi
    constexpr double kTurnRest = 2.4492935982947064e-16; // 2 pi - kTurn
    double exact = angle, turns = rint(exact * (1 / kTurn));
    angle =
        static_cast<float>(fma(-turns, kTurnRest, fma(-turns, kTurn, exact)));
  }
  // A quarter turn in two parts.
  constexpr float kQuarter = 1.57079637f, kQuarterRest = -4.37113883e-8f;
  constexpr float kPerQuarter = 0.636619747f;
  float quarters = rintf(angle * kPerQuarter);
  // The first difference is exact: a multiple of 2^-23 below 2. The second goes
  // to high + low.
  float rest = fmaf(-quarters, kQuarter, angle);
  float correction = -quarters * kQuarterRest;
  float high = rest + correction;
  float low = correction - (high - rest);
  // Taylor series, good to 2e-9 for |high| < 0.8.
  float square = high * high;
  float sine = 2.75573192e-6f;                // 1 / 9!
  sine = fmaf(sine, square, -1.98412698e-4f); // 1 / 7!
  sine = fmaf(sine, square, 8.33333377e-3f);  // 1 / 5!
  sine = fmaf(sine, square, -1.66666672e-1f); // 1 / 3!
  sine = fmaf(sine * square, high, high);
  float cosine = -2.75573188e-7f;                 // 1 / 10!
  cosine = fmaf(cosine, square, 2.48015876e-5f);  // 1 / 8!
  cosine = fmaf(cosine, square, -1.38888892e-3f); // 1 / 6!
  cosine = fmaf(cosine, square, 4.16666679e-2f);  // 1 / 4!
  cosine = fmaf(cosine, square, -0.5f);
  cosine = fmaf(cosine, square, 1.0f);
  float turnedSine = fmaf(low, cosine, sine);
  float turnedCosine = fmaf(-low, sine, cosine);
  int quadrant = static_cast<int>(quarters) & 3;
  bool swapped = quadrant & 1;
  float x = swapped ? turnedSine : turnedCosine;
  float y = swapped ? turnedCosine : turnedSine;
  return {quadrant == 1 || quadrant == 2 ? -x : x, quadrant >= 2 ? -y : y};
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
