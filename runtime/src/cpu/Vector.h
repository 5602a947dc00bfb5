// The hot loops of single rows.
//
// Every dot product adds in one fixed order that depends on its length only, so
// a row's result has the same bits whatever the batch, the chunking and the
// instruction set.

#ifndef SADDLE_RUNTIME_CPU_VECTOR_H
#define SADDLE_RUNTIME_CPU_VECTOR_H

#include "runtime/src/base/Convert.h"

#include <cstdint>

namespace saddle::cpu {

/// The row itself when it is f32 already, else its widened copy in `scratch`.
const float *asFloats(const uint8_t *source, schema::DType dtype,
                      float *scratch, uint64_t count);

float dot(const float *a, const float *b, uint64_t count);

/// dest += factor * source, rounded once.
void addScaled(float factor, const float *source, float *dest, uint64_t count);

/// values = softmax(values * scale), in place. Exponentials are within two
/// units of the last place, 0 below e^-87.
void softmax(float *values, uint64_t count, float scale);

/// values = silu(values) * up, with such exponentials.
void gate(float *values, const float *up, uint64_t count);

/// Cosines and sines of position * frequencies, whose products are rounded to
/// fp32 before; exact to the last place up to angles of a million.
void rotations(float position, const float *frequencies, uint64_t count,
               float *cosines, float *sines);

/// Where the largest value stands, the first of equal ones; the first NaN, if
/// there is one. `count` is not zero.
uint64_t largest(const float *values, uint64_t count);

/// Dynamic quantisation of activations: each group of `group` consecutive
/// values is divided by amax / 448 (1 for an all-zero group), rounded to e4m3
/// and multiplied back.
void quantizeGroups(float *values, uint64_t count, uint64_t group);

/// The e4m3 codes of such a row, and what each group was divided by.
void encodeGroups(const float *values, uint64_t count, uint64_t group,
                  uint8_t *codes, float *factors);

/// The row that has these codes and factors.
void decodeGroups(const uint8_t *codes, const float *factors, uint64_t count,
                  uint64_t group, float *values);

} // namespace saddle::cpu

#endif // SADDLE_RUNTIME_CPU_VECTOR_H
