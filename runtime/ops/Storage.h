// How the elements of a stored weight become its values: companions that
// operands carry behind the weight, as an engine file says them.

#ifndef SADDLE_RUNTIME_OPS_STORAGE_H
#define SADDLE_RUNTIME_OPS_STORAGE_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Status.h"

#include <cstdint>
#include <vector>

namespace saddle::ops {

/// What the elements of a weight hold: one number of their dtype each, or codes
/// of `perElement` values, the first in the lowest bits, `zero` of which is
/// taken off unless a companion says what is.
struct Encoding {
  schema::Codes codes = schema::Codes::ELEMENTS;
  uint32_t perElement = 1; // 1 or 2
  uint32_t zero = 0;
  /// Columns that are rotated together (engine.fbs `Storage`); 0: none.
  uint32_t rotated = 0;
};

/// Columns that a weight may rotate together: a power of two within these.
constexpr uint32_t kLeastRotated = 32, kMostRotated = 1024;
constexpr bool canRotate(uint64_t columns) {
  return columns >= kLeastRotated && columns <= kMostRotated &&
         (columns & (columns - 1)) == 0;
}

/// One element of a companion serves a block of its weight.
struct Companion {
  schema::CompanionKind kind;
  uint64_t blockRows, blockCols; // 1 or more
  bool divides = false;          // of a global scale

  /// What it adds to the name of its weight: "_scale".
  const char *suffix() const;
};

/// Of one weight operand. Without companions its elements are its values.
struct Storage {
  std::vector<Companion> companions;
  Encoding encoding;

  /// Null when there is none.
  const Companion *find(schema::CompanionKind kind) const;

  using Tables = flatbuffers::Vector<flatbuffers::Offset<schema::Storage>>;
  /// Those of a call, in order; none when `tables` is null. Unsupported for
  /// what no op of this runtime reads, InvalidArgument for blocks of 0 and
  /// companions given twice; `op` begins the message.
  static StatusOr<std::vector<Storage>> of(const Tables *tables,
                                           const char *op);
};

} // namespace saddle::ops

#endif // SADDLE_RUNTIME_OPS_STORAGE_H
