#include "test/gpu/KernelCheck/Operands.h"

#include "runtime/ops/Body.h"
#include "runtime/src/engine/Engine.h"
#include "runtime/src/engine/Validate.h"
#include "test/gpu/KernelCheck/Inputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <string>

namespace saddle::check {

using schema::DType;

static ops::Body bodyOf(const LaunchCase &launch) {
  // The engine has been validated.
  return *ops::Body::of(*launch.kernel, launch.launch->operands()->size());
}

engine::StateCounts statesOf(const LaunchCase &launch) {
  constexpr uint64_t kMostPages = 16384;
  const schema::Limits &limits = *launch.engine->limits();
  engine::StateCounts counts;
  counts.pages = std::min(engine::mostPages(limits), kMostPages);
  counts.sequences = limits.max_batch();
  return counts;
}

static View operandView(const LaunchCase &launch, size_t operand) {
  return engine::viewOf(*launch.engine,
                        *launch.entry->slices()->Get(
                            launch.launch->operands()->Get(uint32_t(operand))),
                        statesOf(launch));
}

namespace {

uint64_t spanOf(const View &view) {
  uint64_t last = 0;
  for (unsigned i = 0; i < view.rank; ++i)
    last += (view.shape[i] - 1) * view.strides[i];
  return (last + 1) * elementBytes(view.dtype);
}

/// Fills the operands of one launch, step by step of its body, by op and place:
/// the shared ones or the others. Operands of the other kind are passed over,
/// and so are those that an earlier step has filled or that some step writes.
/// Operands are numbered as the current step has them.
class Filler {
public:
  Filler(const LaunchCase &launch, Pattern pattern, bool shared, uint64_t seed,
         unsigned threads, Operands &operands)
      : launch(launch), pattern(pattern), shared(shared), random(seed),
        threads(threads), operands(operands), body(bodyOf(launch)),
        done(body.operands() + body.temporaries()) {
    for (const ops::Step &each : body.steps())
      for (size_t i = 0; i < each.operands.size(); ++i)
        if (each.definitions[i].role == ops::Role::Output)
          done[each.operands[i]] = true;
  }

  void fill() {
    for (const ops::Step &each : body.steps()) {
      step = &each;
      fillStep(each.op->name);
      for (uint32_t operand : each.operands)
        done[operand] = true;
    }
  }

private:
  void fillStep(const std::string &op);
  size_t at(size_t operand) const { return step->operands[operand]; }
  View view(size_t operand) const { return operandView(launch, at(operand)); }
  OperandBuffer &buffer(size_t operand) { return *operands[at(operand)]; }
  uint64_t below(uint64_t bound) { return random() % bound; }
  bool isOurs(size_t operand) const {
    return !done[at(operand)] && isShared(launch, at(operand)) == shared;
  }

  void draw(size_t operand, const Quantiles &from) {
    if (isOurs(operand))
      fillElements(buffer(operand).view(), from, random(), threads);
  }
  void normal(size_t operand, float scale = 1) {
    draw(operand, normalQuantiles(scale));
  }
  void positive(size_t operand, float least, float most) {
    draw(operand, uniformQuantiles(least, most));
  }
  /// element = change(element, its number) for all of an fp32 matrix.
  void change(size_t operand,
              const std::function<float(float, uint64_t)> &change);
  void indices(size_t operand, const std::function<int64_t(uint64_t)> &value);

  void fillContext(size_t positions, size_t sequences, size_t table,
                   const View &cache);
  void fillScan(size_t positions, size_t sequences, const View &state);
  int64_t sparsePosition(uint64_t row, uint64_t page, uint64_t longest) const;
  void fillChoices(size_t weights, size_t experts, uint64_t held);
  void fillSlots(size_t operand, const View &cache);
  void fillLogits(size_t operand);
  /// Matrices: rows of length one on average; e4m3 spread over its codes.
  void weight(size_t operand) {
    View w = view(operand);
    if (w.dtype == DType::U8 || w.dtype == DType::I8)
      return bytes(operand, 0, 255);
    normal(operand, w.dtype == DType::F8E4M3
                        ? 60
                        : 1 / std::sqrt(float(w.shape[w.rank - 1])));
  }

  /// Rows of values of some size, and their factors.
  void codes() {
    normal(0, 120);
    positive(1, 0.2e-2f, 2e-2f);
  }

  void bytes(size_t operand, unsigned least, unsigned most) {
    if (isOurs(operand))
      fillBytes(buffer(operand).view(), least, most, random(), threads);
  }
  /// Such that a weight's rows of a few thousand values are of length one or
  /// so, and values of a row differ in size.
  void companion(size_t operand) {
    bool hasGlobal = false; // behind it
    for (size_t i = operand + 1;
         i < step->operands.size() && step->definitions[i].companion; ++i)
      hasGlobal = hasGlobal || step->definitions[i].companion->kind ==
                                   schema::CompanionKind::GLOBAL_SCALE;
    switch (step->definitions[operand].companion->kind) {
    case schema::CompanionKind::ZERO:
      return bytes(operand, 0, 15);
    case schema::CompanionKind::GLOBAL_SCALE:
      return step->definitions[operand].companion->divides
                 ? positive(operand, 100, 400)
                 : positive(operand, 2e-3f, 8e-3f);
    default:
      break;
    }
    if (view(operand).dtype == DType::F8E8M0)
      return bytes(operand, 127 - 11, 127 - 7);
    if (hasGlobal)
      return positive(operand, 0.25f, 2);
    positive(operand, 0.2e-3f, 2e-3f);
  }

  /// Those of any storage, with their companions.
  void weights() {
    for (size_t i = 0; i < step->operands.size(); ++i)
      if (step->definitions[i].companion)
        companion(i);
      else if (step->definitions[i].type == ops::Type::W)
        weight(i);
  }

  const LaunchCase &launch;
  Pattern pattern;
  bool shared;
  std::mt19937_64 random;
  unsigned threads;
  Operands &operands;
  const ops::Body body;
  std::vector<bool> done; // by value of the body
  const ops::Step *step = nullptr;
};

void Filler::change(size_t operand,
                    const std::function<float(float, uint64_t)> &change) {
  if (!isOurs(operand))
    return;
  View matrix = buffer(operand).view();
  uint64_t number = 0;
  for (uint64_t row = 0; row < matrix.shape[0]; ++row) {
    auto *values = reinterpret_cast<float *>(matrix.row(row));
    for (uint64_t j = 0; j < matrix.shape[1]; ++j)
      values[j] = change(values[j], number++);
  }
}

void Filler::indices(size_t operand,
                     const std::function<int64_t(uint64_t)> &value) {
  if (!isOurs(operand))
    return;
  View view = buffer(operand).view();
  uint64_t columns = view.rank > 1 ? view.shape[1] : 1;
  for (uint64_t i = 0; i < view.shape[0] * columns; ++i) {
    auto stored = int32_t(value(i));
    std::memcpy(view.row(i / columns) + 4 * (i % columns), &stored, 4);
  }
}

/// On, before and behind page boundaries: in turn at the halves of the longest
/// context (32768 of 65536 first) and at the first pages.
int64_t Filler::sparsePosition(uint64_t row, uint64_t page,
                               uint64_t longest) const {
  uint64_t group = row / 6, edge = page * (1 + group);
  if (row / 3 % 2 == 0)
    edge = longest >> (1 + group % 12) > page ? longest >> (1 + group % 12)
                                              : longest - page;
  return int64_t(std::min(edge + row % 3 - 1, longest - 1));
}

/// Positions up to the longest context, sequences, and pages for them.
void Filler::fillContext(size_t positions, size_t sequences, size_t table,
                         const View &cache) {
  if (shared)
    return;
  uint64_t batch = view(table).shape[0], blocks = view(table).shape[1];
  uint64_t page = cache.shape[1], longest = blocks * page;
  // Random ones are chunks of prompts: tokens that follow one another.
  constexpr uint64_t kChunk = 37;
  uint64_t rotated = below(3), start = below(longest), first = below(batch);
  indices(positions, [&](uint64_t i) -> int64_t {
    switch (pattern) {
    case Pattern::Crowded:
      return int64_t(longest - 1 - i % 3);
    case Pattern::Sparse:
      return sparsePosition(i + rotated, page, longest);
    case Pattern::Random:
      break;
    }
    if (i % kChunk == 0)
      start = below(longest);
    return int64_t((start + i % kChunk) % longest);
  });
  indices(sequences, [&](uint64_t i) -> int64_t {
    if (pattern == Pattern::Random)
      return int64_t((first + i / kChunk) % batch);
    if (pattern == Pattern::Sparse && i % 7 == 6)
      return -1;
    return int64_t(i % batch);
  });
  std::vector<uint64_t> pages(cache.shape[0]);
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), random);
  indices(table, [&](uint64_t i) { return int64_t(pages[i % pages.size()]); });
}

/// Prompts and decodes of sequences with recurrent state. Crowded: one
/// sequence, token by token. Sparse: tokens of all take turns, some sequences
/// begin anew, and some tokens have no position or no sequence.
void Filler::fillScan(size_t positions, size_t sequences, const View &state) {
  if (shared)
    return;
  uint64_t slots = state.shape[0], first = below(slots), start = below(2) * 700;
  // Chunks of prompts, as many tokens apart as positions are numbered.
  constexpr uint64_t kChunk = 37, kLongest = 41;
  indices(positions, [&](uint64_t i) -> int64_t {
    switch (pattern) {
    case Pattern::Crowded:
      return int64_t(start + i);
    case Pattern::Sparse:
      return i % 11 == 5 ? -1 : i % 13 == 7 ? 0 : int64_t(start + i + 1);
    case Pattern::Random:
      break;
    }
    return int64_t((start + i % kChunk) % kLongest);
  });
  indices(sequences, [&](uint64_t i) -> int64_t {
    switch (pattern) {
    case Pattern::Crowded:
      return int64_t(first);
    case Pattern::Sparse:
      return i % 7 == 6 ? -1 : i % 9 == 8 ? int64_t(slots) : int64_t(i % slots);
    case Pattern::Random:
      break;
    }
    return int64_t((first + i / kChunk) % slots);
  });
}

/// Distinct experts for each token, some of them not held here.
void Filler::fillChoices(size_t weights, size_t experts, uint64_t held) {
  positive(weights, 0.05f, 1);
  if (shared)
    return;
  uint64_t k = view(experts).shape[1];
  uint64_t start = firstExpert(*launch.kernel, launch.rank);
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

/// Logits; crowded ones are whole numbers, so there are many ties. A sparse row
/// of three has NaN and infinities, one infinities, and all have zeros of both
/// signs and numbers below the normal ones: at most some 25 of a kind, so that
/// candidates are of several kinds.
void Filler::fillLogits(size_t operand) {
  normal(operand, 4);
  if (pattern == Pattern::Crowded)
    return change(operand,
                  [](float value, uint64_t) { return std::round(value); });
  if (pattern != Pattern::Sparse)
    return;
  uint64_t columns = view(operand).shape[1];
  uint64_t apart = std::max<uint64_t>(columns / 25, 8);
  change(operand, [=](float value, uint64_t i) {
    uint64_t kind = i / columns % 3;
    switch (i % columns % apart) {
    case 1:
      return kind == 0 ? std::numeric_limits<float>::quiet_NaN() : value;
    case 2:
      return kind <= 1 ? INFINITY : value;
    case 3:
      return -INFINITY;
    case 4:
      return value * 1e-40f;
    case 5:
      return value < 0 ? -0.0f : 0.0f;
    default:
      return value;
    }
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

void Filler::fillStep(const std::string &op) {
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
  if (op == "scale") {
    normal(0);
    return positive(1, 0.01f, 4);
  }
  if (op == "kv_append") {
    normal(0);
    normal(1);
    fillSlots(2, view(3));
    normal(3);
    return normal(4);
  }
  if (op == "keep_rows") {
    normal(0);
    fillSlots(1, view(2));
    return normal(2);
  }
  if (op == "kept_rows") {
    fillSlots(0, view(1));
    return normal(1);
  }
  if (op == "keep_next_rows") { // each row to a slot of its own
    normal(0);
    indices(1, [&](uint64_t i) {
      return pattern == Pattern::Sparse && i % 5 == 4 ? -1 : int64_t(i);
    });
    indices(2, [](uint64_t i) { return int64_t(i); });
    indices(3, [](uint64_t) { return 0; });
    uint64_t pages = view(5).shape[0];
    indices(4, [&](uint64_t i) { return int64_t(i % pages); });
    return normal(5);
  }
  if (op == "attention") {
    normal(0);
    normal(1);
    normal(2);
    return fillContext(3, 4, 5, view(1));
  }
  if (op == "decay_scan") {
    normal(0);
    fillScan(1, 2, view(3));
    return normal(3);
  }
  if (op == "router_topk" || op == "softmax_topk") {
    normal(0, 2);
    if (pattern == Pattern::Crowded)
      change(0, [](float value, uint64_t) { return std::round(value); });
    if (op == "router_topk")
      normal(1, pattern == Pattern::Crowded ? 0.f : 0.3f);
    return;
  }
  if (op == "top_candidates" || op == "merge_candidates") {
    fillLogits(0);
    if (op == "merge_candidates")
      indices(1, [&](uint64_t) { return int64_t(below(200064)); });
    return;
  }
  if (op == "experts") {
    normal(0);
    fillChoices(1, 2, view(3).shape[0]);
    return weights();
  }
  if (op == "experts_of_codes") {
    codes();
    fillChoices(2, 3, view(4).shape[0]);
    return weights();
  }
  if (op == "linear") {
    normal(0);
    return weights();
  }
  if (op == "linear_of_codes") {
    codes();
    return weights();
  }
  if (op == "rms_scale") {
    normal(0);
    positive(1, 0.5f, 500);
    return positive(2, 0.5f, 1.5f);
  }
  // Norms, sums, additions: floats of any size do.
  for (size_t i = 0; i < step->operands.size(); ++i)
    if (!step->definitions[i].isWritten())
      normal(i);
}

} // namespace

OperandBuffer::OperandBuffer(const View &shape)
    : storage(spanOf(shape) + 2 * kGuard, kPoison), own(shape) {
  std::memset(storage.data(), kGuardByte, kGuard);
  std::memset(storage.data() + storage.size() - kGuard, kGuardByte, kGuard);
  own.data = storage.data() + kGuard;
}

OperandBuffer::OperandBuffer(const OperandBuffer &other)
    : storage(other.storage), own(other.own) {
  own.data = storage.data() + kGuard;
}

size_t firstOutput(const LaunchCase &launch) {
  ops::Body body = bodyOf(launch);
  return body.operands() - body.outputs();
}

uint64_t firstExpert(const schema::Kernel &kernel, uint32_t rank) {
  return ops::AttributeList(kernel.attributes())
      .rankValue("expert_start", rank);
}

bool updatesCaches(const LaunchCase &launch) {
  ops::Body body = bodyOf(launch);
  for (size_t i = firstOutput(launch); i < body.operands(); ++i)
    if (body.definition(i).isState())
      return true;
  return false;
}

bool isRowWise(const LaunchCase &launch, size_t operand) {
  return bodyOf(launch).definition(operand).isCounted();
}

bool isShared(const LaunchCase &launch, size_t operand) {
  const schema::Slice &slice = *launch.entry->slices()->Get(
      launch.launch->operands()->Get(uint32_t(operand)));
  // Block tables, and the biases of routers, are part of a pattern.
  return !isRowWise(launch, operand) && slice.dtype() != DType::I32 &&
         bodyOf(launch).steps().front().op->name != std::string("router_topk");
}

bool isReadOnly(const LaunchCase &launch, size_t operand) {
  return isShared(launch, operand) && operand < firstOutput(launch);
}

static std::shared_ptr<OperandBuffer> makeBuffer(const LaunchCase &launch,
                                                 size_t operand) {
  return std::make_shared<OperandBuffer>(operandView(launch, operand));
}

Operands makeShared(const LaunchCase &launch, uint64_t seed, unsigned threads) {
  Operands operands(launch.launch->operands()->size());
  for (size_t i = 0; i < operands.size(); ++i)
    if (isShared(launch, i))
      operands[i] = makeBuffer(launch, i);
  Filler(launch, Pattern::Random, true, seed, threads, operands).fill();
  return operands;
}

Operands makeOperands(const LaunchCase &launch, const Operands &shared,
                      Pattern pattern, uint64_t seed) {
  Operands operands = shared;
  for (size_t i = 0; i < operands.size(); ++i)
    if (!operands[i])
      operands[i] = makeBuffer(launch, i);
  Filler(launch, pattern, false, seed, 1, operands).fill();
  return operands;
}

} // namespace saddle::check
