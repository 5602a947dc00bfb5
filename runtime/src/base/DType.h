// Sizes and names of the engine's element types, for messages and checks.

#ifndef SADDLE_RUNTIME_BASE_DTYPE_H
#define SADDLE_RUNTIME_BASE_DTYPE_H

#include "runtime/schema/engine_generated.h"

#include <cstdint>

namespace saddle {

/// Bytes per element; 0 for UNKNOWN and for values outside the enum.
inline uint64_t elementBytes(schema::DType dtype) {
  switch (dtype) {
  case schema::DType::I64:
    return 8;
  case schema::DType::F32:
  case schema::DType::I32:
    return 4;
  case schema::DType::BF16:
  case schema::DType::F16:
    return 2;
  case schema::DType::F8E4M3:
  case schema::DType::U8:
  case schema::DType::F8E8M0:
  case schema::DType::I8:
    return 1;
  case schema::DType::UNKNOWN:
    break;
  }
  return 0;
}

/// "f32", "f8e4m3", ...; "unknown" for everything else.
inline const char *dtypeName(schema::DType dtype) {
  switch (dtype) {
  case schema::DType::F32:
    return "f32";
  case schema::DType::BF16:
    return "bf16";
  case schema::DType::F16:
    return "f16";
  case schema::DType::F8E4M3:
    return "f8e4m3";
  case schema::DType::I32:
    return "i32";
  case schema::DType::U8:
    return "u8";
  case schema::DType::F8E8M0:
    return "f8e8m0";
  case schema::DType::I8:
    return "i8";
  case schema::DType::I64:
    return "i64";
  case schema::DType::UNKNOWN:
    break;
  }
  return "unknown";
}

} // namespace saddle

#endif // SADDLE_RUNTIME_BASE_DTYPE_H
