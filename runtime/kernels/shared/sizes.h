// What the headers of this folder are written with. They are plain C++: to nvcc
// their functions are the host's, so device code names their results as
// constants of its classes and templates, where nothing is called.

#ifndef SADDLE_RUNTIME_KERNELS_SHARED_SIZES_H
#define SADDLE_RUNTIME_KERNELS_SHARED_SIZES_H

#include <cstdint>

namespace saddle::device {

constexpr int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t roundUp(int64_t a, int64_t unit) {
  return ceilDiv(a, unit) * unit;
}

} // namespace saddle::device

#endif // SADDLE_RUNTIME_KERNELS_SHARED_SIZES_H
