#include "runtime/src/checkpoint/Fingerprint.h"

#include <cstring>

namespace saddle {

void Fingerprint::add(const std::string &name, TensorDType dtype,
                      const std::vector<uint64_t> &shape) {
  addText(name.c_str(), name.size());
  const char *type = dtypeName(dtype);
  addText(type, std::strlen(type));
  addNumber(shape.size());
  for (uint64_t dim : shape)
    addNumber(dim);
}

// Every part carries its length, so that no two descriptions hash the same
// bytes.
void Fingerprint::addText(const char *text, size_t size) {
  addNumber(size);
  hasher.update(text, size);
}

void Fingerprint::addNumber(uint64_t value) {
  uint8_t bytes[8];
  for (unsigned i = 0; i < 8; ++i)
    bytes[i] = uint8_t(value >> (8 * i));
  hasher.update(bytes, sizeof bytes);
}

std::string fingerprintOf(const Checkpoint &checkpoint) {
  Fingerprint fingerprint;
  for (const auto &[name, info] : checkpoint.tensors)
    fingerprint.add(name, info.dtype, info.shape);
  return fingerprint.hex();
}

} // namespace saddle
