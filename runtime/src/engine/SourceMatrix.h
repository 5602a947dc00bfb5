// A source as the pieces of recipes see it.

#ifndef SADDLE_RUNTIME_ENGINE_SOURCEMATRIX_H
#define SADDLE_RUNTIME_ENGINE_SOURCEMATRIX_H

#include "runtime/src/base/DType.h"

namespace saddle::engine {

/// A stack of matrices, whether it lies so in the checkpoint or its values are
/// unpacked into one (engine.fbs `Unpacking`).
struct SourceMatrix {
  explicit SourceMatrix(const schema::Source &source) : dtype(source.dtype()) {
    const auto &shape = *source.shape();
    uint32_t rank = shape.size();
    if (rank >= 1)
      cols = shape.Get(rank - 1);
    if (rank >= 2)
      rows = shape.Get(rank - 2);
    if (rank >= 3)
      stack = shape.Get(rank - 3);
    if (source.stack() > 0)
      stack = source.stack();
    if (const schema::Unpacking *unpacking = source.unpacking()) {
      rows = unpacking->rows();
      cols = unpacking->cols();
      if (unpacking->bits() != 0)
        dtype = schema::DType::U8;
    }
  }

  schema::DType dtype;
  uint64_t stack = 1, rows = 1, cols = 1;
};

} // namespace saddle::engine

#endif // SADDLE_RUNTIME_ENGINE_SOURCEMATRIX_H
