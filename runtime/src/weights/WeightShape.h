// A weight's slice as a stack of matrices.

#ifndef SADDLE_RUNTIME_WEIGHTS_WEIGHTSHAPE_H
#define SADDLE_RUNTIME_WEIGHTS_WEIGHTSHAPE_H

#include "runtime/src/base/DType.h"

namespace saddle::weights {

/// Sizes and strides in elements; `unit` in bytes.
struct WeightShape {
  explicit WeightShape(const schema::Slice &slice)
      : unit(elementBytes(slice.dtype())) {
    const auto &shape = *slice.shape();
    const auto &strides = *slice.strides();
    uint32_t dims = shape.size();
    cols = dims >= 1 ? shape.Get(dims - 1) : 1;
    rows = dims >= 2 ? shape.Get(dims - 2) : 1;
    members = dims >= 3 ? shape.Get(dims - 3) : 1;
    rowStride = dims >= 2 ? strides.Get(dims - 2) : 0;
    memberStride = dims >= 3 ? strides.Get(dims - 3) : 0;
  }

  uint64_t unit, members, rows, cols, rowStride, memberStride;
};

} // namespace saddle::weights

#endif // SADDLE_RUNTIME_WEIGHTS_WEIGHTSHAPE_H
