// Weights from a seed: every element is a hash of (seed, tensor name, index),
// so any slice can be made without the rest. A device makes the same bits
// (runtime/kernels/impls/synthetic_weights.cuh): change both or none.

#include "runtime/src/base/DType.h"
#include "runtime/src/base/Float.h"
#include "runtime/src/base/Hash.h"
#include "runtime/src/weights/RecipeSource.h"

#include <cmath>
#include <cstring>

namespace saddle::weights {

using schema::DType;

namespace {

/// Elements that have a scale are spread by this factor, and their scales take
/// it back: fp8 codes would sit among the subnormals without.
constexpr float kCodeSpread = 256;

/// Finalizer of the splitmix64 generator: neighbouring indices give unrelated
/// bits.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// Uniform in [-1, 1).
float uniform(uint64_t stream, uint64_t index) {
  uint64_t bits = mix(stream + index * 0x9e3779b97f4a7c15u);
  return float(int64_t(bits) >> 40) * 0x1p-23f;
}

void store(float value, DType dtype, uint8_t *out) {
  switch (dtype) {
  case DType::F32:
    std::memcpy(out, &value, 4);
    return;
  case DType::BF16: {
    uint16_t bits = floatToBf16(value);
    std::memcpy(out, &bits, 2);
    return;
  }
  case DType::F16: {
    uint16_t bits = floatToF16(value);
    std::memcpy(out, &bits, 2);
    return;
  }
  case DType::F8E4M3:
    *out = floatToE4m3(value);
    return;
  case DType::I8:
    *out = uint8_t(int8_t(std::lrint(std::fmin(std::fmax(value, -127), 127))));
    return;
  default: // integers are tables of the model, which have no random stand-in
    std::memset(out, 0, elementBytes(dtype));
  }
}

/// Values of a tensor are center + spread * uniform.
struct Distribution {
  float center;
  float spread;
};

/// Whether some source is the scale of source `index`.
bool hasScale(const schema::Engine &engine, uint32_t index) {
  for (const schema::Source *source : *engine.sources())
    if (source->companion() == schema::CompanionKind::SCALE &&
        source->companion_of() == index + 1)
      return true;
  return false;
}

Distribution distributionOf(const schema::Engine &engine, uint32_t index) {
  const schema::Source &source = *engine.sources()->Get(index);
  const auto &shape = *source.shape();
  const std::string name = source.name()->str();
  if (source.companion() == schema::CompanionKind::SCALE)
    return {1 / kCodeSpread, 0.25f / kCodeSpread};
  if (source.companion() == schema::CompanionKind::GLOBAL_SCALE)
    return {1, 0};
  if (shape.size() <= 1)
    return name.find("norm") != std::string::npos ? Distribution{1, 0.1f}
                                                  : Distribution{0, 0.1f};
  // Variance 1 / columns keeps the size of what a matrix multiplies.
  float spread = std::sqrt(3.0f / float(shape.Get(shape.size() - 1)));
  if (hasScale(engine, index))
    spread *= kCodeSpread;
  return {0, spread};
}

class SyntheticSource : public RecipeSource {
public:
  SyntheticSource(const schema::Engine &engine, uint64_t seed)
      : RecipeSource(engine) {
    for (uint32_t s = 0; s < engine.sources()->size(); ++s) {
      const schema::Source *source = engine.sources()->Get(s);
      SyntheticValues::Tensor tensor;
      Distribution distribution = distributionOf(engine, s);
      tensor.center = distribution.center;
      tensor.spread = distribution.spread;
      tensor.dtype = source->dtype();
      const auto &shape = *source->shape();
      uint32_t rank = shape.size();
      tensor.cols = rank >= 1 ? shape.Get(rank - 1) : 1;
      tensor.rows = rank >= 2 ? shape.Get(rank - 2) : 1;
      uint64_t members = source->stack() ? source->stack() : 1;
      for (uint64_t i = 0; i < members; ++i) {
        // The main checkpoint's names stand alone.
        std::string name = memberName(*source, i);
        if (source->checkpoint() != 0)
          name =
              engine.checkpoints()->Get(source->checkpoint())->name()->str() +
              "/" + name;
        tensor.streams.push_back(hash64(name.data(), name.size(), seed));
      }
      values.tensors.push_back(std::move(tensor));
    }
  }

  const SyntheticValues *syntheticValues() const override { return &values; }

  void readCells(const CellRange &range, uint8_t *out) const override {
    const SyntheticValues::Tensor &tensor = values.tensors[range.source];
    // Members of a rank-3 tensor are consecutive parts of one stream.
    bool isStack = tensor.streams.size() > 1;
    uint64_t stream = tensor.streams[isStack ? range.member : 0];
    uint64_t row = range.row + (isStack ? 0 : range.member * tensor.rows);
    uint64_t unit = elementBytes(tensor.dtype);
    const schema::Source &source = *engine.sources()->Get(range.source);
    if (const auto *unpacking = source.unpacking();
        unpacking && unpacking->bits() != 0) {
      // Any codes will do, but bytes of scales are exponents.
      bool isScale = source.companion() == schema::CompanionKind::SCALE;
      for (uint64_t j = 0; j < range.count; ++j) {
        uint64_t index = row * tensor.cols + range.col + j;
        uint64_t bits = isScale
                            ? 127 - 8 // 1 / kCodeSpread
                            : mix(stream + index * 0x9e3779b97f4a7c15u) >> 32;
        std::memcpy(out + j * unit, &bits, unit);
      }
      return;
    }
    for (uint64_t j = 0; j < range.count; ++j) {
      float value =
          tensor.center +
          tensor.spread * uniform(stream, row * tensor.cols + range.col + j);
      store(value, tensor.dtype, out + j * unit);
    }
  }

private:
  SyntheticValues values;
};

} // namespace

std::unique_ptr<RecipeSource> makeSynthetic(const schema::Engine &engine,
                                            uint64_t seed) {
  return std::make_unique<SyntheticSource>(engine, seed);
}

} // namespace saddle::weights
