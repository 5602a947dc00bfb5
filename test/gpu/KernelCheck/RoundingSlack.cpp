#include "test/gpu/KernelCheck/RoundingSlack.h"

#include "runtime/src/base/Float.h"
#include "runtime/src/cpu/Binding.h"
#include "runtime/src/cpu/Matrix.h"
#include "test/gpu/KernelCheck/Operands.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace saddle::check {

/// How uncertain the sums in front of the rounding are, relative to sums of
/// their row: Hopper's e4m3 products keep some 14 bits of a group's sum, and
/// errors of groups add up like a walk. Measured on an H200
/// (docs/benchmarks.md): 1.26e-4 of the sums' root mean square for 24 groups of
/// 128, 7.8e-4 at most of a million. This is four times the former.
static constexpr float kNoise = 0x1p-11f;
/// Jumps are independent, so many of them add up like a walk, too.
static constexpr float kWalk = 4;

namespace {

float rootMeanSquare(const float *values, uint64_t count) {
  double sum = 0;
  for (uint64_t i = 0; i < count; ++i)
    sum += double(values[i]) * values[i];
  return float(std::sqrt(sum / double(count)));
}

/// How far each of the hidden values may jump; zero for most. `sums`: gates,
/// then ups.
std::vector<float> jumpsOf(const float *sums, uint64_t inner, uint64_t group) {
  const float *gate = sums, *up = sums + inner;
  float gateSize = rootMeanSquare(gate, inner),
        upSize = rootMeanSquare(up, inner);
  std::vector<float> hidden(inner), noise(inner), jumps(inner);
  for (uint64_t j = 0; j < inner; ++j) {
    float silu = gate[j] / (1 + std::exp(-gate[j]));
    hidden[j] = std::fabs(silu * up[j]);
    // The slope of silu is at most 1.1.
    noise[j] = kNoise * (1.1f * std::max(gateSize, std::fabs(gate[j])) *
                             std::fabs(up[j]) +
                         std::max(upSize, std::fabs(up[j])) * std::fabs(silu));
  }
  for (uint64_t start = 0; start < inner; start += group) {
    uint64_t end = std::min(start + group, inner), top = start;
    for (uint64_t j = start; j < end; ++j)
      top = hidden[j] > hidden[top] ? j : top;
    float scale = hidden[top] / 448;
    if (scale == 0)
      continue;
    for (uint64_t j = start; j < end; ++j) {
      // The scale is uncertain as its largest value is.
      float value = hidden[j] / scale;
      float slack = noise[j] / scale + value * noise[top] / hidden[top];
      float low = e4m3ToFloat(floatToE4m3(std::max(value - slack, 0.0f)));
      float high = e4m3ToFloat(floatToE4m3(value + slack));
      jumps[j] = (high - low) * scale;
    }
  }
  return jumps;
}

} // namespace

std::vector<std::vector<float>> roundingSlack(const schema::Kernel &kernel,
                                              const std::vector<View> &operands,
                                              uint32_t rank, uint64_t count) {
  std::string op = kernel.op()->str();
  bool ofCodes = op == "experts_of_codes";
  if (op != "experts" && !ofCodes)
    return {};
  auto integer = [&](const char *name) {
    return uint64_t(ops::AttributeList(kernel.attributes()).integer(name));
  };
  uint64_t group = integer("act_group");
  if (group == 0)
    return {};
  auto start = int64_t(firstExpert(kernel, rank));
  // The engine has been validated.
  ops::Body body = *ops::Body::of(kernel, operands.size());
  const std::vector<ops::Operand> &definitions = body.steps()[0].definitions;
  cpu::StoredWeight w13(definitions, operands, 0), w2(definitions, operands, 1);
  cpu::ProductRows x{operands[0], ofCodes ? operands[1] : View{}, group};
  const View &factors = operands[ofCodes ? 2 : 1],
             &chosen = operands[ofCodes ? 3 : 2];
  uint64_t hidden = x.width(), inner = w2.columns();

  std::vector<std::vector<float>> inputs, slack, squares;
  for (uint64_t t = 0; t < count; ++t) {
    inputs.emplace_back(hidden);
    x.row(t, inputs[t].data()); // there, since it is made in groups
    slack.emplace_back(hidden);
    squares.emplace_back(hidden);
  }
  std::vector<float> scratch(cpu::multiplyScratch(hidden));
  // As the reference does: an expert's weights are widened once for all.
  for (uint64_t expert = 0; expert < w13.members(); ++expert) {
    std::vector<const float *> rows;
    std::vector<std::pair<uint64_t, float>> choices; // token, weight
    for (uint64_t t = 0; t < count; ++t)
      for (uint64_t j = 0; j < chosen.shape[1]; ++j)
        if (reinterpret_cast<const int32_t *>(chosen.row(t))[j] - start ==
            int64_t(expert)) {
          rows.push_back(inputs[t].data());
          choices.emplace_back(
              t, reinterpret_cast<const float *>(factors.row(t))[j]);
        }
    std::vector<float> sums(rows.size() * 2 * inner);
    std::vector<float *> results;
    for (size_t i = 0; i < rows.size(); ++i)
      results.push_back(&sums[i * 2 * inner]);
    cpu::multiply(w13.matrix(expert), rows.data(), rows.size(), scratch.data(),
                  results.data());
    // Of each choice: which hidden values may jump, and how far.
    std::vector<std::vector<std::pair<uint64_t, float>>> jumps(choices.size());
    for (uint64_t i = 0; i < choices.size(); ++i) {
      std::vector<float> all = jumpsOf(&sums[i * 2 * inner], inner, group);
      for (uint64_t j = 0; j < inner; ++j)
        if (all[j] != 0)
          jumps[i].emplace_back(j, choices[i].second * all[j]);
    }
    cpu::Matrix down = w2.matrix(expert);
    std::vector<float> widened(inner);
    for (uint64_t c = 0; c < hidden && !choices.empty(); ++c) {
      const float *row = down.row(c, widened.data());
      for (uint64_t i = 0; i < choices.size(); ++i)
        for (auto [j, jump] : jumps[i]) {
          float moved = std::fabs(row[j] * jump);
          slack[choices[i].first][c] += moved;
          squares[choices[i].first][c] += moved * moved;
        }
    }
  }
  for (uint64_t t = 0; t < count; ++t)
    for (uint64_t c = 0; c < hidden; ++c)
      slack[t][c] = std::min(slack[t][c], kWalk * std::sqrt(squares[t][c]));
  return slack;
}

} // namespace saddle::check
