// Writes safetensors files for tests: honest ones from tensors, lying ones from
// a hand-written header.

#ifndef SADDLE_TEST_UNIT_CHECKPOINT_SAFETENSORSWRITER_H
#define SADDLE_TEST_UNIT_CHECKPOINT_SAFETENSORSWRITER_H

#include <cstdint>
#include <string>
#include <vector>

namespace saddle {

/// Header length, header and data glued together, whatever they say.
inline std::string rawSafetensors(const std::string &header,
                                  const std::string &data) {
  std::string file;
  for (unsigned i = 0; i < 8; ++i)
    file += char(uint64_t(header.size()) >> (8 * i));
  return file + header + data;
}

struct TestTensor {
  std::string name;
  std::string dtype; // "F32"
  std::vector<uint64_t> shape;
  std::string data;
};

/// A correct file with `tensors` in the given order.
inline std::string safetensors(const std::vector<TestTensor> &tensors) {
  std::string header = "{", data;
  for (const TestTensor &tensor : tensors) {
    std::string shape;
    for (uint64_t dim : tensor.shape)
      shape += (shape.empty() ? "" : ",") + std::to_string(dim);
    header += (header.size() > 1 ? ",\"" : "\"") + tensor.name +
              "\":{\"dtype\":\"" + tensor.dtype + "\",\"shape\":[" + shape +
              "],\"data_offsets\":[" + std::to_string(data.size()) + "," +
              std::to_string(data.size() + tensor.data.size()) + "]}";
    data += tensor.data;
  }
  return rawSafetensors(header + "}", data);
}

/// Bytes of a vector's elements.
template <typename T>
std::string bytesOf(const std::vector<T> &values) {
  return std::string(reinterpret_cast<const char *>(values.data()),
                     values.size() * sizeof(T));
}

} // namespace saddle

#endif // SADDLE_TEST_UNIT_CHECKPOINT_SAFETENSORSWRITER_H
