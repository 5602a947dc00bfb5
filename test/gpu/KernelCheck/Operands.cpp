#include "test/gpu/KernelCheck/Operands.h"

#include "runtime/src/base/Convert.h"
#include "runtime/src/base/Float.h"
#include "runtime/src/cpu/Binding.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/Validate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <string>

namespace saddle::check {

using schema::DType;

namespace {

uint64_t spanOf(const View &view) {
  uint64_t last = 0;
  for (unsigned i = 0; i < view.rank; ++i)
    last += (view.shape[i] - 1) * view.strides[i];
  return (last + 1) * elementBytes(view.dtype);
}

/// Fills the operands of one launch, by op and place.
class Filler {
public:
  Filler(const LaunchCase &launch, Pattern pattern, std::mt19937_64 &random,
         std::vector<OperandBuffer> &operands)
      : launch(launch), pattern(pattern), random(random), operands(operands),
        op(launch.kernel->op()->str()) {}

  void fill();

private:
  View view(size_t operand) const { return operands[operand].view(); }
  uint64_t below(uint64_t bound) { return random() % bound; }

  /// Calls f(row start address, column) for each element.
  void forEach(size_t operand, const std::function<float(uint64_t)> &value);
  void normal(size_t operand, float scale = 1) {
    std::normal_distribution<float> distribution(0, scale);
    forEach(operand, [&](uint64_t) { return distribution(random); });
  }
  void positive(size_t operand, float least, float most) {
    std::uniform_real_distribution<float> distribution(least, most);
    forEach(operand, [&](uint64_t) { return distribution(random); });
  }
  void indices(size_t operand, const std::function<int64_t(uint64_t)> &value);

  void fillContext(size_t positions, size_t sequences, size_t table,
                   const View &cache);
  void fillChoices(size_t weights, size_t experts, uint64_t held);
  void fillSlots(size_t operand, const View &cache);
  void fillLogits(size_t operand);
  /// Matrices: rows of length one on average; e4m3 spread over its codes.
  void weight(size_t operand);

  const LaunchCase &launch;
  Pattern pattern;
  std::mt19937_64 &random;
  std::vector<OperandBuffer> &operands;
  std::string op;
};

void Filler::forEach(size_t operand,
                     const std::function<float(uint64_t)> &value) {
  View view = operands[operand].view();
  std::array<uint64_t, kMaxRank> index{};
  uint64_t bytes = elementBytes(view.dtype), number = 0;
  while (true) {
    uint64_t offset = 0;
    for (unsigned i = 0; i + 1 < view.rank; ++i)
      offset += index[i] * view.strides[i];
    for (uint64_t j = 0; j < view.shape[view.rank - 1]; ++j) {
      float element = value(number++);
      storeRow(&element, view.dtype, view.data + (offset + j) * bytes, 1);
    }
    unsigned i = view.rank - 1;
    while (i > 0 && ++index[i - 1] == view.shape[i - 1])
      index[--i] = 0;
    if (i == 0)
      return;
  }
}

void Filler::indices(size_t operand,
                     const std::function<int64_t(uint64_t)> &value) {
  View view = operands[operand].view();
  uint64_t count = view.shape[0] * (view.rank > 1 ? view.shape[1] : 1);
  for (uint64_t i = 0; i < count; ++i) {
    auto stored = int32_t(value(i));
    std::memcpy(view.data + 4 * i, &stored, 4);
  }
}

void Filler::weight(size_t operand) {
  View w = view(operand);
  float length = std::sqrt(float(w.shape[w.rank - 1]));
  if (w.dtype != DType::F8E4M3)
    return normal(operand, 1 / length);
  // Drawing from a table keeps gigabytes of experts cheap.
  std::array<uint8_t, 4096> codes;
  std::normal_distribution<float> distribution(0, 60);
  for (uint8_t &code : codes)
    code = floatToE4m3(distribution(random));
  uint64_t bytes = spanOf(w), state = random();
  for (uint64_t i = 0; i < bytes; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    w.data[i] = codes[state >> 52];
  }
}

/// Positions up to the longest context, sequences, and pages for them.
void Filler::fillContext(size_t positions, size_t sequences, size_t table,
                         const View &cache) {
  uint64_t batch = view(table).shape[0], blocks = view(table).shape[1];
  uint64_t page = cache.shape[1], longest = blocks * page;
  indices(positions, [&](uint64_t i) -> int64_t {
    switch (pattern) {
    case Pattern::Crowded:
      return int64_t(longest - 1 - i % 3);
    case Pattern::Sparse: {
      // On, before and behind page boundaries.
      uint64_t edge = page * (1 + i % std::max<uint64_t>(blocks / 4, 1));
      return int64_t(std::min(edge + i % 3 - 1, longest - 1));
    }
    case Pattern::Random:
      break;
    }
    return int64_t(below(longest));
  });
  indices(sequences, [&](uint64_t i) -> int64_t {
    if (pattern == Pattern::Sparse && i % 7 == 6)
      return -1;
    return int64_t(i % batch);
  });
  std::vector<uint64_t> pages(cache.shape[0]);
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), random);
  indices(table, [&](uint64_t i) { return int64_t(pages[i % pages.size()]); });
}

/// Distinct experts for each token, some of them not held here.
void Filler::fillChoices(size_t weights, size_t experts, uint64_t held) {
  positive(weights, 0.05f, 1);
  uint64_t k = view(experts).shape[1];
  uint64_t start =
      evaluate(cpu::findAttribute(*launch.kernel, "expert_start")->rank_value(),
               launch.rank);
  uint64_t total = std::max(start + held + held / 2, k + 1);
  std::vector<uint64_t> ids(total);
  std::iota(ids.begin(), ids.end(), 0);
  indices(experts, [&](uint64_t i) -> int64_t {
    if (i % k == 0)
      std::shuffle(ids.begin(), ids.end(), random);
    uint64_t id = ids[i % k];
    if (pattern == Pattern::Crowded)
      return int64_t((start + i % k) % total);
    if (pattern == Pattern::Sparse && i % k != 0)
      return id % 5 == 0 ? int64_t(id) : -1;
    return int64_t(id);
  });
}

/// Logits; crowded ones are whole numbers, so there are many ties; among sparse
/// ones are NaN and infinities.
void Filler::fillLogits(size_t operand) {
  std::normal_distribution<float> distribution(0, 4);
  forEach(operand, [&](uint64_t i) {
    float value = distribution(random);
    if (pattern == Pattern::Sparse && i % 23 == 7)
      return std::numeric_limits<float>::quiet_NaN();
    if (pattern == Pattern::Sparse && i % 23 < 3)
      return i % 2 ? -INFINITY : INFINITY;
    return pattern == Pattern::Crowded ? std::round(value) : value;
  });
}

/// Distinct token slots; a few point nowhere.
void Filler::fillSlots(size_t operand, const View &cache) {
  uint64_t slots = cache.shape[0] * cache.shape[1];
  uint64_t first = below(slots);
  indices(operand, [&](uint64_t i) -> int64_t {
    if (pattern == Pattern::Sparse && i % 5 == 4)
      return i % 2 ? -1 : int64_t(slots);
    return int64_t((first + i * 7919) % slots);
  });
}

void Filler::fill() {
  if (op == "embedding") {
    uint64_t vocab = view(1).shape[0];
    indices(0, [&](uint64_t i) {
      return pattern == Pattern::Sparse && i % 3 == 0
                 ? -1
                 : int64_t(below(vocab + vocab / 2));
    });
    return weight(1);
  }
  if (op == "select_rows") {
    normal(0);
    uint64_t rows = view(0).shape[0];
    return indices(1, [&](uint64_t i) {
      return pattern == Pattern::Sparse && i % 3 == 0 ? -1
                                                      : int64_t(below(rows));
    });
  }
  if (op == "rope") {
    normal(0);
    return indices(1, [&](uint64_t) {
      return int64_t(below(pattern == Pattern::Crowded ? 190000 : 4000));
    });
  }
  if (op == "kv_append") {
    normal(0);
    normal(1);
    fillSlots(2, view(3));
    normal(3);
    return normal(4);
  }
  if (op == "qk_norm_rope_kv_append") {
    for (size_t i = 0; i < 3; ++i)
      normal(i);
    positive(3, 0.5f, 1.5f);
    positive(4, 0.5f, 1.5f);
    indices(5, [&](uint64_t) { return int64_t(below(4000)); });
    fillSlots(6, view(8));
    normal(8);
    return normal(9);
  }
  if (op == "attention") {
    normal(0);
    normal(1);
    normal(2);
    return fillContext(3, 4, 5, view(1));
  }
  if (op == "router_topk") {
    std::normal_distribution<float> distribution(0, 2);
    forEach(0, [&](uint64_t i) {
      float value = distribution(random);
      return pattern == Pattern::Crowded ? std::round(value) : value;
    });
    return normal(1, pattern == Pattern::Crowded ? 0.f : 0.3f);
  }
  if (op == "top_candidates" || op == "merge_candidates") {
    fillLogits(0);
    if (op == "merge_candidates")
      indices(1, [&](uint64_t) { return int64_t(below(200064)); });
    return;
  }
  if (op == "experts" || op == "experts_scaled") {
    normal(0);
    fillChoices(1, 2, view(3).shape[0]);
    weight(3);
    if (op == "experts")
      return weight(4);
    positive(4, 0.2e-3f, 2e-3f);
    weight(5);
    return positive(6, 0.2e-3f, 2e-3f);
  }
  if (op == "linear_scaled") {
    normal(0);
    weight(1);
    return positive(2, 0.2e-3f, 2e-3f);
  }
  if (op == "linear") {
    normal(0);
    return weight(1);
  }
  if (op == "rms_scale") {
    normal(0);
    positive(1, 0.5f, 500);
    return positive(2, 0.5f, 1.5f);
  }
  // Norms, sums, additions: floats of any size do.
  for (size_t i = 0; i < firstOutput(launch); ++i)
    normal(i);
}

} // namespace

OperandBuffer::OperandBuffer(const View &shape)
    : storage(spanOf(shape) + 2 * kGuard, kGuardByte), own(shape) {
  own.data = storage.data() + kGuard;
}

void OperandBuffer::poison() {
  std::memset(storage.data() + kGuard, kPoison, storage.size() - 2 * kGuard);
}

size_t firstOutput(const LaunchCase &launch) {
  return launch.launch->operands()->size() -
         cpu::factsOf(*launch.kernel).outputs;
}

bool updatesCaches(const LaunchCase &launch) {
  return cpu::factsOf(*launch.kernel).cache >= firstOutput(launch) &&
         cpu::factsOf(*launch.kernel).cache != cpu::OpFacts::kNone;
}

std::vector<OperandBuffer> makeOperands(const LaunchCase &launch,
                                        Pattern pattern,
                                        std::mt19937_64 &random) {
  std::vector<OperandBuffer> operands;
  for (uint32_t index : *launch.launch->operands())
    operands.emplace_back(engine::viewOf(*launch.entry->slices()->Get(index)));
  // The filler gives caches their contents.
  for (size_t i = firstOutput(launch); i < operands.size(); ++i)
    operands[i].poison();
  Filler(launch, pattern, random, operands).fill();
  return operands;
}

} // namespace saddle::check
