// Views of operands that tests hand to ops.

#ifndef SADDLE_TEST_UNIT_OPS_VIEWS_H
#define SADDLE_TEST_UNIT_OPS_VIEWS_H

#include "runtime/ops/Op.h"

#include <cstdint>
#include <vector>

namespace saddle::ops {

/// Row-major, without gaps.
inline View denseView(schema::DType dtype, const std::vector<uint64_t> &shape,
                      void *data = nullptr) {
  View view;
  view.data = static_cast<uint8_t *>(data);
  view.dtype = dtype;
  view.rank = shape.size();
  uint64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0; stride *= shape[i]) {
    view.shape[i] = shape[i];
    view.strides[i] = stride;
  }
  return view;
}

} // namespace saddle::ops

#endif // SADDLE_TEST_UNIT_OPS_VIEWS_H
