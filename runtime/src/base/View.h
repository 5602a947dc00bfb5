// A typed, strided range of memory: what kernels and collectives work on.

#ifndef SADDLE_RUNTIME_BASE_VIEW_H
#define SADDLE_RUNTIME_BASE_VIEW_H

#include "runtime/src/base/DType.h"

#include <array>
#include <cstdint>

namespace saddle {

/// Most dimensions that an operand has.
constexpr unsigned kMaxRank = 5;

/// Where an operand is and how it is laid out. Does not own its memory. Shape
/// and strides count elements; the last stride is 1.
struct View {
  uint8_t *data = nullptr;
  schema::DType dtype = schema::DType::UNKNOWN;
  unsigned rank = 0;
  std::array<uint64_t, kMaxRank> shape{};
  std::array<uint64_t, kMaxRank> strides{};

  /// Start of entry `index` of dimension 0.
  uint8_t *row(uint64_t index) const {
    return data + index * strides[0] * elementBytes(dtype);
  }
};

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_VIEW_H
