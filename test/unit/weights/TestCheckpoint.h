// A checkpoint folder that fits an engine, with values that tell where they
// come from.

#ifndef SADDLE_TEST_UNIT_WEIGHTS_TESTCHECKPOINT_H
#define SADDLE_TEST_UNIT_WEIGHTS_TESTCHECKPOINT_H

#include "runtime/schema/engine_generated.h"
#include "runtime/src/base/Float.h"
#include "test/unit/checkpoint/SafetensorsWriter.h"

#include <cstring>

namespace saddle {

/// Element `index` of tensor `name`: an integer below 200, which every float
/// dtype but f8e4m3 holds exactly.
inline float testValue(const std::string &name, uint64_t index) {
  uint64_t start = 0;
  for (char c : name)
    start = start * 31 + uint8_t(c);
  return float((start + index) % 200);
}

inline TestTensor testTensor(const std::string &name, schema::DType dtype,
                             const std::vector<uint64_t> &shape) {
  uint64_t count = 1;
  for (uint64_t dim : shape)
    count *= dim;
  if (dtype == schema::DType::F32) {
    std::vector<float> values(count);
    for (uint64_t i = 0; i < count; ++i)
      values[i] = testValue(name, i);
    return {name, "F32", shape, bytesOf(values)};
  }
  if (dtype == schema::DType::BF16) {
    std::vector<uint16_t> values(count);
    for (uint64_t i = 0; i < count; ++i)
      values[i] = floatToBf16(testValue(name, i));
    return {name, "BF16", shape, bytesOf(values)};
  }
  if (dtype == schema::DType::F16) {
    std::vector<uint16_t> values(count);
    for (uint64_t i = 0; i < count; ++i)
      values[i] = floatToF16(testValue(name, i));
    return {name, "F16", shape, bytesOf(values)};
  }
  // Codes instead of values: 0 .. 125 are finite.
  std::string codes(count, 0);
  for (uint64_t i = 0; i < count; ++i)
    codes[i] = char(uint64_t(testValue(name, i)) % 126);
  return {name, "F8_E4M3", shape, codes};
}

/// All tensors that `engine` reads.
inline std::vector<TestTensor> testTensors(const schema::EngineT &engine) {
  std::vector<TestTensor> tensors;
  for (const auto &source : engine.sources) {
    if (!source->ignored_reason.empty())
      continue;
    for (uint64_t i = 0; i < std::max<uint64_t>(1, source->stack); ++i) {
      std::string name = source->name;
      if (source->stack)
        name.replace(name.find("{}"), 2, std::to_string(i));
      tensors.push_back(testTensor(name, source->dtype, source->shape));
    }
  }
  return tensors;
}

} // namespace saddle

#endif // SADDLE_TEST_UNIT_WEIGHTS_TESTCHECKPOINT_H
