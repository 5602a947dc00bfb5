// Weights from a seed: every element is a hash of (seed, tensor name, index),
// so any slice can be made without the rest. A device makes the same bits
// (runtime/kernels/impls/synthetic_weights.cuh): change both or none.

#include "runtime/src/base/DType.h"
#include "runtime/src/base/Float.h"
#include "runtime/src/base/Hash.h"
#include "runtime/src/weights/RecipeSource.h"
#include "runtime/src/weights/SourceUses.h"

#include <cmath>
#include <cstring>

namespace saddle::weights {

using schema::DType;

namespace {

/// Elements that have a scale are spread by this factor, and their scales take
/// it back: fp8 codes would sit among the subnormals without.
constexpr float kCodeSpread = 256;
/// The byte of e8m0 that is 1 / kCodeSpread.
constexpr uint32_t kScaleByte = 127 - 8;

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

/// The codes of a word: any but the lowest, so that as many are above the
/// middle as below it and their mean is 0. A mean would make all tokens alike.
/// Four of them come from one random number, the others from the next.
uint64_t codesAt(uint64_t stream, uint64_t index,
                 const schema::Unpacking &unpacking) {
  uint64_t random[2] = {mix(stream + index * 0x9e3779b97f4a7c15u)};
  random[1] = mix(random[0]);
  uint64_t codes = (uint64_t(1) << unpacking.bits()) - 1, result = 0;
  for (uint32_t i = 0; i < unpacking.order()->size(); ++i)
    result |= (1 + (random[i / 4] >> (16 * (i % 4)) & 0xffff) % codes)
              << (i * unpacking.bits());
  return result;
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

/// Chooses each tensor's distribution so that tokens stay as different from
/// each other as they are in a trained model, and so choose different experts
/// in every layer (test/e2e/synthetic_routing.py counts them).
class Distributions {
public:
  explicit Distributions(const schema::Engine &engine)
      : engine(engine), uses(usesOfSources(engine)) {}

  Distribution of(uint32_t index) const;

private:
  /// Standard deviation of a matrix's elements.
  float deviationOf(uint32_t index) const;
  uint64_t columnsOf(uint32_t index) const {
    const auto &shape = *engine.sources()->Get(index)->shape();
    return shape.size() == 0 ? 1 : shape.Get(shape.size() - 1);
  }
  /// Whether some source is the scale of source `index`.
  bool hasScale(uint32_t index) const;

  const schema::Engine &engine;
  const std::vector<SourceUse> uses;
};

bool Distributions::hasScale(uint32_t index) const {
  for (const schema::Source *source : *engine.sources())
    if (source->companion() == schema::CompanionKind::SCALE &&
        source->companion_of() == index + 1)
      return true;
  return false;
}

float Distributions::deviationOf(uint32_t index) const {
  // What a layer adds to a token is at most of size 1. Attention adds a mean
  // over the context, most of which all tokens of a sequence have in common: a
  // token that does not begin larger is soon outweighed by it, and from then on
  // all of them choose the same experts. After 62 layers of at most 1 each a
  // token of size 8 is still mostly itself.
  if (uses[index] == SourceUse::Table)
    return 8;
  // Keeps the size of what a matrix multiplies.
  return 1 / std::sqrt(float(columnsOf(index)));
}

Distribution Distributions::of(uint32_t index) const {
  const schema::Source &source = *engine.sources()->Get(index);
  const float columns = float(columnsOf(index));
  if (source.companion() == schema::CompanionKind::SCALE) {
    uint32_t scaled = source.companion_of() - 1;
    float unit = deviationOf(scaled) * std::sqrt(float(columnsOf(scaled)));
    return {unit / kCodeSpread, 0.25f * unit / kCodeSpread};
  }
  if (source.companion() == schema::CompanionKind::GLOBAL_SCALE ||
      uses[index] == SourceUse::Scale)
    return {1, 0};
  if (uses[index] == SourceUse::Factor)
    return {1, 0.1f};
  // A large router's bias would choose for all tokens alike: 0.1 moves the
  // threshold in the tail of a sigmoid by most of a deviation.
  if (uses[index] == SourceUse::Bias)
    return {0, 0.01f};
  if (source.shape()->size() <= 1)
    return {0, 0.1f};
  if (hasScale(index))
    return {0, kCodeSpread * std::sqrt(3 / columns)};
  return {0, std::sqrt(3.0f) * deviationOf(index)};
}

class SyntheticSource : public RecipeSource {
public:
  SyntheticSource(const schema::Engine &engine, uint64_t seed)
      : RecipeSource(engine) {
    Distributions distributions(engine);
    for (uint32_t s = 0; s < engine.sources()->size(); ++s) {
      const schema::Source *source = engine.sources()->Get(s);
      SyntheticValues::Tensor tensor;
      Distribution distribution = distributions.of(s);
      tensor.center = distribution.center;
      tensor.spread = distribution.spread;
      tensor.dtype = source->dtype();
      if (source->companion() == schema::CompanionKind::SCALE &&
          source->unpacking() && source->unpacking()->bits() != 0)
        tensor.constant = kScaleByte;
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
      for (uint64_t j = 0; j < range.count; ++j) {
        uint64_t index = row * tensor.cols + range.col + j;
        uint64_t bits = tensor.constant ? tensor.constant
                                        : codesAt(stream, index, *unpacking);
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

protected:
  bool isStored() const override { return false; }

private:
  SyntheticValues values;
};

} // namespace

std::unique_ptr<RecipeSource> makeSynthetic(const schema::Engine &engine,
                                            uint64_t seed) {
  return std::make_unique<SyntheticSource>(engine, seed);
}

} // namespace saddle::weights
