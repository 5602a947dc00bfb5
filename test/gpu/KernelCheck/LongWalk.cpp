#include "test/gpu/KernelCheck/LongWalk.h"

#include "runtime/ops/Body.h"
#include "runtime/src/base/Convert.h"
#include "runtime/src/base/Slopes.h"
#include "runtime/src/engine/Extents.h"
#include "test/gpu/KernelCheck/Inputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

namespace saddle::check {

namespace {

/// Where a launch has the operands of its decay_scan.
struct ScanOperands {
  size_t qkv, positions, sequences, state, out;
  bool activates = false; // qkv is SiLU's operand, whose result is scanned
  ops::AttributeList attributes;
};

/// Of decay_scan, alone or behind SiLU in one launch.
std::optional<ScanOperands> scanOf(const schema::Kernel &kernel,
                                   size_t operands) {
  StatusOr<ops::Body> body = ops::Body::of(kernel, operands);
  if (!body.ok())
    return std::nullopt;
  const std::vector<ops::Step> &steps = body->steps();
  const ops::Step &scan = steps.back();
  if (scan.op->name != std::string("decay_scan") || steps.size() > 2)
    return std::nullopt;
  ScanOperands result = {scan.operands[0], scan.operands[1], scan.operands[2],
                         scan.operands[3], scan.operands[4], steps.size() == 2,
                         scan.attributes};
  if (!result.activates)
    return result;
  const ops::Step &silu = steps.front();
  if (silu.op->name != std::string("silu") || silu.operands[1] != result.qkv)
    return std::nullopt;
  result.qkv = silu.operands[0];
  return result;
}
ScanOperands scanOf(const LaunchCase &launch) {
  return *scanOf(*launch.kernel, launch.launch->operands()->size());
}

/// Copies `count` rows, each as long as the narrower of the two.
void copyRows(const View &from, uint64_t first, const View &to, uint64_t start,
              uint64_t count) {
  uint64_t bytes =
      std::min(from.shape[1], to.shape[1]) * elementBytes(from.dtype);
  for (uint64_t i = 0; i < count; ++i)
    std::memcpy(to.row(start + i), from.row(first + i), bytes);
}

/// A dense matrix of as many rows.
OperandBuffer rowsLike(const View &view, uint64_t rows) {
  View shape = view;
  shape.shape[0] = rows;
  shape.strides[0] = shape.shape[1];
  return OperandBuffer(shape);
}

class Walk {
public:
  Walk(const std::vector<LaunchCase> &launches, const LongWalk &way)
      : launches(launches), way(way), first(scanOf(launches[0])),
        operands(operandsOf(launches, way.seed)),
        state(operands[0][first.state]->view()),
        qkv(rowsLike(operands[0][first.qkv]->view(), way.tokens)),
        out(rowsLike(operands[0][first.out]->view(), way.tokens)),
        slots(state.shape[0]), heads(state.shape[1]), rows(state.shape[2]),
        cols(state.shape[3]) {
    fillElements(qkv.view(), normalQuantiles(1), way.seed, way.threads);
    std::memset(state.data, OperandBuffer::kPoison,
                slots * state.strides[0] * sizeof(float));
  }

  StatusOr<LongWalkErrors> run(const Executor &execute) {
    LongWalkErrors errors;
    for (uint64_t done = 0; done < way.tokens; ++errors.launches) {
      uint64_t count = std::min(stepOf(errors.launches), way.tokens - done);
      SADDLE_RETURN_IF_ERROR(step(done, count, execute));
      done += count;
    }
    SADDLE_RETURN_IF_ERROR(checkOtherSlots());
    std::vector<LongWalkErrors> each(heads);
    forEachIndex(heads, way.threads,
                 [&](uint64_t head) { each[head] = errorsOf(head); });
    for (const LongWalkErrors &head : each) {
      errors.state = std::max(errors.state, head.state);
      errors.outputs = std::max(errors.outputs, head.outputs);
    }
    return errors;
  }

private:
  /// Of each launch, all with one state.
  static std::vector<Operands>
  operandsOf(const std::vector<LaunchCase> &launches, uint64_t seed) {
    std::vector<Operands> result;
    for (const LaunchCase &launch : launches) {
      Operands none(launch.launch->operands()->size());
      result.push_back(makeOperands(launch, none, Pattern::Random, seed));
      result.back()[scanOf(launch).state] =
          result.front()[scanOf(launches[0]).state];
    }
    return result;
  }

  uint64_t stepOf(uint64_t number) const {
    uint64_t most = 0;
    for (const LaunchCase &launch : launches)
      most = std::max(most, launch.capacity);
    switch (way.gait) {
    case Gait::Chunks:
      return most;
    case Gait::Decodes:
      return 1;
    case Gait::Odd:
      break;
    }
    return number % 3 == 2 ? 1 : 1 + randomBits(way.seed, number) % most;
  }

  /// The smallest launch that has room.
  size_t launchOf(uint64_t count) const {
    size_t best = launches.size();
    for (size_t i = 0; i < launches.size(); ++i)
      if (launches[i].capacity >= count &&
          (best == launches.size() ||
           launches[i].capacity < launches[best].capacity))
        best = i;
    return best;
  }

  Status step(uint64_t first, uint64_t count, const Executor &execute) {
    size_t which = launchOf(count);
    const Operands &now = operands[which];
    ScanOperands scan = scanOf(launches[which]);
    copyRows(qkv.view(), first, now[scan.qkv]->view(), 0, count);
    auto *positions =
        reinterpret_cast<int32_t *>(now[scan.positions]->view().data);
    auto *sequences =
        reinterpret_cast<int32_t *>(now[scan.sequences]->view().data);
    for (uint64_t i = 0; i < count; ++i) {
      positions[i] = int32_t(first + i);
      sequences[i] = int32_t(slots - 1);
    }
    SADDLE_RETURN_IF_ERROR(execute(launches[which], count, now));
    copyRows(now[scan.out]->view(), 0, out.view(), first, count);
    return {};
  }

  Status checkOtherSlots() const {
    uint64_t bytes = (slots - 1) * state.strides[0] * sizeof(float);
    for (uint64_t i = 0; i < bytes; ++i)
      if (state.data[i] != OperandBuffer::kPoison)
        return Status(StatusCode::Internal,
                      "byte " + std::to_string(i) +
                          " of the states has changed, of a slot that no "
                          "token names");
    return {};
  }

  /// q, k and v of a token's head as they are scanned.
  void load(uint64_t token, uint64_t head, std::vector<float> &values) const {
    View view = qkv.view();
    uint64_t bytes = values.size() * elementBytes(view.dtype);
    loadRow(view.row(token) + head * bytes, view.dtype, values.data(),
            values.size());
    if (!first.activates)
      return;
    for (float &value : values)
      value = value / (1 + std::exp(-value));
    std::vector<uint8_t> rounded(bytes);
    storeRow(values.data(), view.dtype, rounded.data(), values.size());
    loadRow(rounded.data(), view.dtype, values.data(), values.size());
  }

  /// The definition, in fp64: S = d S + k v^T, out = q S.
  LongWalkErrors errorsOf(uint64_t head) const {
    uint64_t start = first.attributes.rankValue("head_start", launches[0].rank);
    auto all = uint64_t(first.attributes.integer("heads"));
    double decay = std::exp(-first.attributes.real("rate") *
                            alibiSlope(start + head, all));
    std::vector<double> exact(rows * cols), asked(cols);
    std::vector<float> values(2 * rows + cols), found(cols);
    LongWalkErrors errors;
    for (uint64_t t = 0; t < way.tokens; ++t) {
      load(t, head, values);
      const float *q = values.data(), *k = q + rows, *v = k + rows;
      std::fill(asked.begin(), asked.end(), 0);
      for (uint64_t row = 0; row < rows; ++row) {
        double *held = exact.data() + row * cols;
        for (uint64_t col = 0; col < cols; ++col) {
          held[col] = decay * held[col] + double(k[row]) * double(v[col]);
          asked[col] += double(q[row]) * held[col];
        }
      }
      loadRow(out.view().row(t) + head * cols * elementBytes(out.view().dtype),
              out.view().dtype, found.data(), cols);
      errors.outputs = std::max(errors.outputs, relative(found.data(), asked));
    }
    errors.state =
        relative(reinterpret_cast<const float *>(state.row(slots - 1)) +
                     head * state.strides[1],
                 exact);
    return errors;
  }

  /// The largest difference; infinite if any value is no number.
  static double relative(const float *found, const std::vector<double> &exact) {
    double worst = 0, largest = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      double difference = std::fabs(double(found[i]) - exact[i]);
      worst =
          std::isfinite(difference) ? std::max(worst, difference) : INFINITY;
      largest = std::max(largest, std::fabs(exact[i]));
    }
    return worst / largest;
  }

  const std::vector<LaunchCase> &launches;
  const LongWalk &way;
  ScanOperands first; // of the first launch
  std::vector<Operands> operands;
  View state;
  OperandBuffer qkv, out;
  uint64_t slots, heads, rows, cols;
};

} // namespace

std::vector<LaunchCase> slowestScan(const schema::Engine &engine, uint32_t rank,
                                    std::string &place) {
  std::vector<LaunchCase> result;
  double slowest = INFINITY;
  uint32_t stage = rank / engine.topology()->tp();
  for (const schema::Program *program : *engine.programs())
    for (const schema::Entry *entry : *program->entries())
      for (const schema::Command *command : *entry->commands()) {
        const schema::Launch *launch = command->action_as_Launch();
        if (!launch || program->stage() != stage)
          continue;
        const schema::Kernel *kernel = engine.kernels()->Get(launch->kernel());
        std::optional<ScanOperands> scan =
            scanOf(*kernel, launch->operands()->size());
        if (!scan)
          continue;
        double rate = scan->attributes.real("rate");
        if (rate < slowest) {
          slowest = rate;
          place = command->place()->str();
          result.clear();
        }
        if (rate == slowest && command->place()->str() == place)
          result.push_back(
              {&engine, entry, command, launch, kernel,
               engine::capacityOf(launch->extent(), *engine.topology(), *entry),
               rank});
      }
  return result;
}

size_t outputOf(const LaunchCase &launch) { return scanOf(launch).out; }

StatusOr<LongWalkErrors> walk(const std::vector<LaunchCase> &launches,
                              const LongWalk &way, const Executor &execute) {
  return Walk(launches, way).run(execute);
}

} // namespace saddle::check
