// An engine whose weights of one rank are loaded, readable as floats.

#ifndef SADDLE_TEST_UNIT_WEIGHTS_LOADEDWEIGHTS_H
#define SADDLE_TEST_UNIT_WEIGHTS_LOADEDWEIGHTS_H

#include "runtime/src/base/Float.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/Programs.h"
#include "runtime/src/weights/WeightLoader.h"
#include "test/unit/engine/TinyEngine.h"

#include <gtest/gtest.h>

#include <cstring>

namespace saddle {

class LoadedWeights {
public:
  LoadedWeights(const schema::EngineT &tree, const std::string &spec,
                uint32_t rank,
                const std::vector<CheckpointPlace> &others = {}) {
    auto file = engineFileOf(tree);
    auto loaded = Engine::fromBytes(file.data(), file.size(), "t");
    EXPECT_TRUE(loaded.ok()) << loaded.status().message();
    engine = std::move(*loaded);
    auto source = WeightSource::open(engine->root(), spec, others);
    if (!source.ok()) {
      status = source.status();
      return;
    }
    std::vector<uint8_t *> bases;
    for (const schema::Arena *arena : *engine->root().arenas())
      arenas.emplace_back(arena->bytes(), uint8_t(0xff)); // NaN if untouched
    for (auto &arena : arenas)
      bases.push_back(arena.data());
    weights = engine::weightsOf(engine->root(),
                                rank / engine->root().topology()->tp());
    status = (*source)->load(weights, rank, bases);
  }

  /// Of all rows of all weights, without what lies between.
  std::vector<std::vector<uint8_t>> bytes() const {
    std::vector<std::vector<uint8_t>> all;
    for (const schema::Weight *weight : weights) {
      const schema::Slice &slice = *weight->slice();
      const uint8_t *begin = arenas[slice.arena()].data() + slice.offset();
      for (const WeightPart &part : splitWeight(slice, 1)) // rows
        all.emplace_back(begin + partOffset(slice, part),
                         begin + partOffset(slice, part) +
                             partBytes(slice, part));
    }
    return all;
  }

  /// Elements of a dense weight of a program in order.
  std::vector<float> values(const std::string &name,
                            const char *program = engine::kMainProgram) const {
    for (const schema::Weight *weight :
         *engine::findProgram(engine->root(), program, 0)->weights())
      if (weight->name()->str() == name)
        return values(*weight->slice());
    ADD_FAILURE() << "no weight " << name;
    return {};
  }

  Status status;
  std::unique_ptr<Engine> engine;

private:
  std::vector<const schema::Weight *> weights;
  std::vector<float> values(const schema::Slice &slice) const {
    uint64_t count = 1;
    for (uint64_t dim : *slice.shape())
      count *= dim;
    const uint8_t *data = arenas[slice.arena()].data() + slice.offset();
    std::vector<float> values(count);
    for (uint64_t i = 0; i < count; ++i) {
      uint16_t half;
      switch (slice.dtype()) {
      case schema::DType::F32:
        std::memcpy(&values[i], data + 4 * i, 4);
        break;
      case schema::DType::F8E4M3:
        values[i] = e4m3ToFloat(data[i]);
        break;
      default:
        std::memcpy(&half, data + 2 * i, 2);
        values[i] = slice.dtype() == schema::DType::BF16 ? bf16ToFloat(half)
                                                         : f16ToFloat(half);
      }
    }
    return values;
  }

  std::vector<std::vector<uint8_t>> arenas;
};

} // namespace saddle

#endif // SADDLE_TEST_UNIT_WEIGHTS_LOADEDWEIGHTS_H
