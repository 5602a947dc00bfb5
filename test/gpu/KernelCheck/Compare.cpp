#include "test/gpu/KernelCheck/Compare.h"

#include "runtime/src/base/Convert.h"
#include "runtime/src/cpu/Binding.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

namespace saddle::check {

using schema::DType;

/// Whether attention whose weights are rounded before they meet the values is
/// encoded to e4m3 before its output projection, so that its results, and then
/// codes, may be others: to bf16 where several tokens are of one sequence, to
/// f16 for caches of e4m3.
static bool encodesRoundedAttention(const LaunchCase &launch) {
  const auto &operands = *launch.launch->operands();
  auto slice = [&](uint32_t operand) {
    return launch.entry->slices()->Get(operands.Get(operand));
  };
  std::string op = launch.kernel->op()->str();
  constexpr uint32_t kQ = 0, kCache = 1, kBlockTable = 5, kWithScale = 9;
  if (op == "attention_linear")
    return operands.size() == kWithScale &&
           (slice(kQ)->shape()->Get(0) > slice(kBlockTable)->shape()->Get(0) ||
            slice(kCache)->dtype() == DType::F8E4M3);
  // With QK norm in front, caches are the last ones.
  return op.find("_attention_linear") != std::string::npos &&
         slice(operands.size() - 1)->dtype() == DType::F8E4M3;
}

double boundOf(const LaunchCase &launch, size_t output) {
  std::string op = launch.kernel->op()->str();
  // Values only move.
  if (op == "embedding" || op == "select_rows" || op == "top_candidates" ||
      op == "merge_candidates")
    return 0;
  const schema::Slice &slice = *launch.entry->slices()->Get(
      launch.launch->operands()->Get(uint32_t(output)));
  // Experts quantise in the middle, in sums of some 14 bits; RoundingSlack.h
  // has what jumps besides.
  const schema::Attribute *group =
      ops::AttributeList(launch.kernel->attributes()).find("act_group");
  bool quantises = group && group->int_value() > 0;
  if (quantises && (op == "experts" || op == "experts_of_codes"))
    return 1e-2;
  // Rows that were rounded one step apart have other factors, and then codes;
  // the largest of them is 448, whose steps are 32.
  if (op == "add_rms_norm_encode" || op == "add_rms_norm_and_encode") {
    if (slice.dtype() == DType::F8E4M3)
      return 32.0 / 448 * 1.01;
    if (slice.dtype() == DType::F32)
      return 0x1p-7 * 1.01;
  }
  // 1.42e-2 at most in 12 runs of 16 tokens and 6144 columns, 1.20e-2 in 12 of
  // one token with a cache of e4m3 (H200).
  if (encodesRoundedAttention(launch))
    return 2.5e-2;
  switch (slice.dtype()) {
  case DType::F8E4M3: // one step of three mantissa bits
    return 0.0625 * 1.01;
  case DType::BF16: // one step of seven
    return 0x1p-7 * 1.01;
  default:
    // Order of addition: eps * sqrt(terms), terms up to some thousand.
    return 2e-5;
  }
}

namespace {

/// Rows of the last dimension, counted over all others.
class Rows {
public:
  explicit Rows(const View &view) : view(view) {
    for (unsigned i = 1; i + 1 < view.rank; ++i)
      inner *= view.shape[i];
  }
  uint64_t innerRows() const { return inner; }
  uint64_t columns() const { return view.shape[view.rank - 1]; }
  uint64_t bytes() const { return columns() * elementBytes(view.dtype); }
  uint8_t *start(uint64_t row) const {
    uint64_t offset = row / inner * view.strides[0], rest = row % inner;
    for (unsigned i = view.rank - 1; i-- > 1;) {
      offset += rest % view.shape[i] * view.strides[i];
      rest /= view.shape[i];
    }
    return view.data + offset * elementBytes(view.dtype);
  }

private:
  View view;
  uint64_t inner = 1;
};

} // namespace

static Status differ(const LaunchCase &launch, size_t output, uint64_t row,
                     uint64_t column, double found, double expected) {
  return makeError(StatusCode::Internal,
                   "%s: output %zu, row %llu, column %llu: found %.9g, "
                   "expected %.9g",
                   launch.kernel->name()->c_str(), output,
                   (unsigned long long)row, (unsigned long long)column, found,
                   expected);
}

/// The largest relative error of a row, which may be `bound`.
static StatusOr<double> compareRow(const LaunchCase &launch, size_t output,
                                   double bound, uint64_t row, DType dtype,
                                   uint64_t width, const uint8_t *expected,
                                   const uint8_t *found, const float *slack) {
  if (std::memcmp(expected, found, width * elementBytes(dtype)) == 0)
    return 0.0;
  if (dtype == DType::I32)
    for (uint64_t i = 0; i < width; ++i) {
      int32_t wanted, got;
      std::memcpy(&wanted, expected + 4 * i, 4);
      std::memcpy(&got, found + 4 * i, 4);
      if (wanted != got)
        return differ(launch, output, row, i, got, wanted);
    }
  std::vector<float> a(width), b(width);
  loadRow(expected, dtype, a.data(), width);
  loadRow(found, dtype, b.data(), width);
  double largest = 1e-30, worst = 0, squares = 0;
  for (float value : a)
    largest = std::max(largest, std::fabs(double(value)));
  // The element that goes farthest beyond what it may.
  uint64_t farthest = width;
  double excess = 0, errorThere = 0, allowedThere = 0;
  for (uint64_t i = 0; i < width; ++i) {
    double error = std::fabs(double(a[i]) - double(b[i])) / largest;
    if (std::isnan(error))
      return differ(launch, output, row, i, b[i], a[i]);
    double allowed = bound + (slack ? double(slack[i]) / largest : 0);
    worst = std::max(worst, error);
    squares += error * error;
    if (error - allowed > excess) {
      farthest = i;
      excess = error - allowed;
      errorThere = error;
      allowedThere = allowed;
    }
  }
  if (farthest == width)
    return worst;
  Status status =
      differ(launch, output, row, farthest, b[farthest], a[farthest]);
  return makeError(
      status.code(),
      "%s; %.2e of the row's largest value, which is %.3g; allowed "
      "%.2e, the row's root mean square is %.2e",
      status.message().c_str(), errorThere, largest, allowedThere,
      std::sqrt(squares / double(width)));
}

/// A row that has no expectation: written, and finite where inputs are.
static Status checkWritten(const LaunchCase &launch, size_t output,
                           uint64_t row, DType dtype, uint64_t width,
                           const uint8_t *found) {
  std::string op = launch.kernel->op()->str();
  bool takesNan = op == "top_candidates" || op == "merge_candidates";
  uint64_t bytes = elementBytes(dtype);
  std::vector<float> values(width);
  if (dtype != DType::I32)
    loadRow(found, dtype, values.data(), width);
  for (uint64_t i = 0; i < width; ++i) {
    const uint8_t *element = found + i * bytes;
    bool poisoned = std::all_of(element, element + bytes, [](uint8_t byte) {
      return byte == OperandBuffer::kPoison;
    });
    if (poisoned ||
        (dtype != DType::I32 && !takesNan && !std::isfinite(values[i])))
      return makeError(StatusCode::Internal,
                       "%s: output %zu, row %llu, column %llu: found %s, "
                       "expected a number (the row is not one of the sample)",
                       launch.kernel->name()->c_str(), output,
                       (unsigned long long)row, (unsigned long long)i,
                       poisoned ? "what was there before"
                                : "NaN or an infinity");
  }
  return {};
}

Status compareBytes(const LaunchCase &launch, size_t operand,
                    const OperandBuffer &before, const OperandBuffer &after) {
  const std::vector<uint8_t> &x = before.bytes(), &y = after.bytes();
  if (std::memcmp(x.data(), y.data(), x.size()) == 0)
    return {};
  auto [at, there] = std::mismatch(x.begin(), x.end(), y.begin());
  return makeError(StatusCode::Internal,
                   "%s: operand %zu: byte %lld of %zu, outside the real rows "
                   "of outputs, is %#x, expected %#x",
                   launch.kernel->name()->c_str(), operand,
                   (long long)(at - x.begin()) -
                       (long long)OperandBuffer::kGuard,
                   x.size() - 2 * OperandBuffer::kGuard, *there, *at);
}

StatusOr<double>
compareOutput(const LaunchCase &launch, size_t output, uint64_t count,
              const std::vector<uint64_t> &sample, const View &expected,
              const OperandBuffer &before, OperandBuffer &found,
              const std::vector<std::vector<float>> &slack) {
  Rows wanted(expected), got(found.view()), old(before.view());
  uint64_t inner = got.innerRows(), width = got.columns();
  DType dtype = expected.dtype;
  double worst = 0, bound = boundOf(launch, output);
  size_t next = 0; // of the sample
  for (uint64_t entry = 0; entry < count; ++entry) {
    bool sampled = next < sample.size() && sample[next] == entry;
    for (uint64_t i = 0; i < inner; ++i) {
      uint64_t row = entry * inner + i;
      uint8_t *there = got.start(row);
      if (sampled) {
        const uint8_t *wantedRow = wanted.start(next * inner + i);
        // Rows of caches that nothing is written to do not change at all.
        bool untouched =
            std::memcmp(wantedRow, old.start(row), got.bytes()) == 0;
        SADDLE_ASSIGN_OR_RETURN(
            double error,
            compareRow(launch, output, untouched ? 0 : bound, row, dtype, width,
                       wantedRow, there,
                       slack.empty() ? nullptr : slack[next].data()));
        worst = std::max(worst, error);
      } else {
        SADDLE_RETURN_IF_ERROR(
            checkWritten(launch, output, row, dtype, width, there));
      }
      std::memcpy(there, old.start(row), got.bytes());
    }
    next += sampled;
  }
  SADDLE_RETURN_IF_ERROR(compareBytes(launch, output, before, found));
  return worst;
}

} // namespace saddle::check
